#pragma once

#include <algorithm>
#include <cstddef>
#include <memory>
#include <utility>
#include <vector>

#include <repaint/backend/cpu/memory.hpp>
#include <repaint/core/shape.hpp>

/// How cpu_backend lays tensors out. Sixteen channels and more: blocks of sixteen, (n, channels / 16, h, w, 16), the
/// last block filled up with lanes that nobody reads. Fewer, which is what images have: planar, (n, c, h, w).
namespace repaint::detail::cpu {

inline constexpr int lanes = 16;

constexpr int ceil_div(int a, int b) { return (a + b - 1) / b; }

/// Blocks that hold so many channels.
constexpr int blocks_of(int channels) { return ceil_div(channels, lanes); }

/// How the values of a tensor follow each other.
enum class arrangement { planar, blocked };

constexpr arrangement arrangement_of(const shape4& s) {
    return s.c < lanes ? arrangement::planar : arrangement::blocked;
}

constexpr std::size_t size_of(int i) { return static_cast<std::size_t>(i); }

/// Floats from block to block: five cache lines more for every 1024 pixels. Without them planes lie a power of two
/// apart, and the same pixel of all of them competes for the same few places in the second-level cache. In proportion,
/// so that four tensors of half the size still fit exactly where one was.
constexpr std::size_t plane_stride(const shape4& s) { return (s.plane() + s.plane() / 1024 * 5) * lanes; }

/// Floats of a contiguous tensor.
constexpr std::size_t floats_of(const shape4& s, arrangement a) {
    return a == arrangement::planar ? s.size() : size_of(s.n) * size_of(blocks_of(s.c)) * plane_stride(s);
}

/// Channels that lie together. A joined tensor has several; all but the last hold a multiple of sixteen. Their memory
/// may belong to other tensors too: those that this one was cut from, or that were cut from it.
struct channel_range {
    std::shared_ptr<const memory_block> memory;
    float* values = nullptr; ///< the first block of the first image
    int channels = 0;
    int image_blocks = 0; ///< from image to image
};

/// The storage of a tensor.
struct storage {
    shape4 shape;
    arrangement order;
    std::vector<channel_range> ranges;

    storage(const std::shared_ptr<memory_pool>& pool, const shape4& s, arrangement a) : shape(s), order(a) {
        auto memory = std::make_shared<const memory_block>(pool, floats_of(s, a));
        float* const values = memory->data();
        ranges.push_back({std::move(memory), values, s.c, blocks_of(s.c)});
    }
    storage(const shape4& s, arrangement a, std::vector<channel_range> of)
        : shape(s), order(a), ranges(std::move(of)) {}

    storage(storage&&) = default; // moves only: who writes must know whom it shares with
    storage& operator=(storage&&) = default;
    storage(const storage&) = delete;
    storage& operator=(const storage&) = delete;
    ~storage() = default;

    /// The same values in the same memory.
    [[nodiscard]] storage alias() const { return {shape, order, ranges}; }

    /// Channels [first, first + count) in the same memory. For blocked storage, and first a multiple of sixteen.
    [[nodiscard]] storage part(int first, int count) const {
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

    /// True when another tensor has some of this memory too: not to be written to then.
    [[nodiscard]] bool shared() const {
        return std::any_of(ranges.begin(), ranges.end(),
                           [](const auto& range) { return range.memory.use_count() > 1; });
    }

    [[nodiscard]] bool planar() const { return order == arrangement::planar; }
    /// All values, of a contiguous tensor.
    [[nodiscard]] float* data() const { return ranges.front().values; }
    [[nodiscard]] int blocks() const { return blocks_of(shape.c); }

    /// Block `block` of image `n`: h * w vectors of sixteen.
    [[nodiscard]] float* plane(int n, int block) const {
        auto range = ranges.begin();
        while (block >= blocks_of(range->channels)) {
            block -= blocks_of(range->channels);
            ++range;
        }
        return range->values + (size_of(n) * size_of(range->image_blocks) + size_of(block)) * plane_stride(shape);
    }
};

/// Where a channel's values stand: first, and the step from pixel to pixel.
struct channel_values {
    float* first;
    std::size_t step;
};

inline channel_values channel(const storage& x, int n, int c) {
    if (x.planar()) {
        return {x.data() + (size_of(n) * size_of(x.shape.c) + size_of(c)) * x.shape.plane(), 1};
    }
    return {x.plane(n, c / lanes) + c % lanes, lanes};
}

/// Copies values between layouts: NCHW order on the host side.
inline void to_planar(const storage& x, float* values) {
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

inline void from_planar(const float* values, storage& x) {
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

} // namespace repaint::detail::cpu
