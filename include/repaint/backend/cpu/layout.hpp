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

/// Channels that lie together. A joined tensor has several; all but the last hold a multiple of sixteen.
struct channel_range {
    memory_block memory;
    int channels = 0;
};

/// The storage of a tensor.
struct storage {
    shape4 shape;
    arrangement order;
    std::vector<channel_range> ranges;

    storage(const std::shared_ptr<memory_pool>& pool, const shape4& s, arrangement a) : shape(s), order(a) {
        ranges.push_back({memory_block(pool, floats_of(s, a)), s.c});
    }
    storage(const shape4& s, std::vector<channel_range> joined)
        : shape(s), order(arrangement::blocked), ranges(std::move(joined)) {}

    storage(storage&&) = default; // moves only: a vector claims to copy what it cannot
    storage& operator=(storage&&) = default;

    [[nodiscard]] bool planar() const { return order == arrangement::planar; }
    /// All values, of a contiguous tensor.
    [[nodiscard]] float* data() const { return ranges.front().memory.data(); }
    [[nodiscard]] int blocks() const { return blocks_of(shape.c); }

    /// Block `block` of image `n`: h * w vectors of sixteen.
    [[nodiscard]] float* plane(int n, int block) const {
        auto range = ranges.begin();
        while (block >= blocks_of(range->channels)) {
            block -= blocks_of(range->channels);
            ++range;
        }
        return range->memory.data() +
               (size_of(n) * size_of(blocks_of(range->channels)) + size_of(block)) * plane_stride(shape);
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
