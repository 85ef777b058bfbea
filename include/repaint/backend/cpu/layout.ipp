#pragma once

#include <algorithm>
#include <utility>

#include <repaint/backend/cpu/layout.hpp>
#include <repaint/backend/cpu/memory.hpp>

namespace repaint::detail::cpu {

REPAINT_INLINE storage::storage(const std::shared_ptr<memory_pool>& pool, const shape4& s, arrangement a)
    : shape(s), order(a) {
    auto memory = std::make_shared<const memory_block>(pool, floats_of(s, a));
    float* const values = memory->data();
    ranges.push_back({std::move(memory), values, s.c, blocks_of(s.c)});
}

REPAINT_INLINE storage::storage(const shape4& s, arrangement a, std::vector<channel_range> of)
    : shape(s), order(a), ranges(std::move(of)) {}

REPAINT_INLINE storage::storage(const shape4& s, float* values) : shape(s), order(arrangement::planar) {
    ranges.push_back({nullptr, values, s.c, blocks_of(s.c)});
}

REPAINT_INLINE storage storage::part(int first, int count) const {
    std::vector<channel_range> cut;
    for (const channel_range& range : ranges) {
        const int begin = std::clamp(first, 0, range.channels);
        const int end = std::clamp(first + count, 0, range.channels);
        if (begin < end) {
            channel_range& piece = cut.emplace_back(range);
            piece.values += size_of(begin / lanes) * plane_stride(shape);
            piece.channels = end - begin;
        }
        first -= range.channels;
    }
    return {{shape.n, count, shape.h, shape.w}, order, std::move(cut)};
}

REPAINT_INLINE bool storage::shared() const {
    return std::any_of(ranges.begin(), ranges.end(), [](const auto& range) { return range.memory.use_count() > 1; });
}

REPAINT_INLINE void to_planar(const storage& x, float* values) {
    const std::size_t plane = x.shape.plane();
    for (int n = 0; n < x.shape.n; ++n) {
        for (int c = 0; c < x.shape.c; ++c) {
            const auto from = channel(x, n, c);
            for (std::size_t i = 0; i < plane; ++i) {
                *values++ = from.first[i * from.step];
            }
        }
    }
}

REPAINT_INLINE void from_planar(const float* values, storage& x) {
    const std::size_t plane = x.shape.plane();
    for (int n = 0; n < x.shape.n; ++n) {
        if (!x.planar() && x.shape.c % lanes != 0) {
            std::fill_n(x.plane(n, x.blocks() - 1), plane * lanes, 0.0F);
        }
        for (int c = 0; c < x.shape.c; ++c) {
            const auto to = channel(x, n, c);
            for (std::size_t i = 0; i < plane; ++i) {
                to.first[i * to.step] = *values++;
            }
        }
    }
}

REPAINT_INLINE void copy(const storage& x, storage& y) {
    if (!x.planar() && !y.planar()) {
        for (int n = 0; n < x.shape.n; ++n) {
            for (int block = 0; block < x.blocks(); ++block) {
                std::copy_n(x.plane(n, block), x.shape.plane() * lanes, y.plane(n, block));
            }
        }
    } else if (y.planar()) {
        to_planar(x, y.data());
    } else {
        from_planar(x.data(), y);
    }
}

REPAINT_INLINE void copy_channels(const storage& x, int first, int count, storage& y, int to) {
    for (int n = 0; n < x.shape.n; ++n) {
        for (int c = 0; c < count; ++c) {
            const auto source = channel(x, n, first + c);
            const auto target = channel(y, n, to + c);
            for (std::size_t i = 0; i < x.shape.plane(); ++i) {
                target.first[i * target.step] = source.first[i * source.step];
            }
        }
    }
}

} // namespace repaint::detail::cpu
