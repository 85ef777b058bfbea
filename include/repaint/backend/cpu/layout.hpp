#pragma once

#include <cstddef>
#include <memory>
#include <vector>

#include <repaint/config.hpp>
#include <repaint/core/shape.hpp>

/// How cpu_backend lays tensors out. Sixteen channels and more: blocks of sixteen, (n, channels / 16, h, w, 16), the
/// last block filled up with lanes that nobody reads. Fewer, which is what images have: planar, (n, c, h, w). Memory of
/// the caller's own is planar whatever its channels are.
namespace repaint::detail::cpu {

class memory_block;
class memory_pool;

inline constexpr int lanes = 16;

constexpr int ceil_div(int a, int b) { return (a + b - 1) / b; }

/// Blocks that hold so many channels.
constexpr int blocks_of(int channels) { return ceil_div(channels, lanes); }

/// How the values of a tensor follow each other.
enum class arrangement { planar, blocked };

/// The arrangement of a new tensor.
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
/// may belong to other tensors too: to the tensor that this one was cut from, or to tensors that were cut from this
/// one.
struct channel_range {
    std::shared_ptr<const memory_block> memory; ///< null: the caller's own
    float* values = nullptr;                    ///< the first block of the first image
    int channels = 0;
    int image_blocks = 0; ///< from image to image
};

/// The storage of a tensor.
struct storage {
    shape4 shape;
    arrangement order;
    std::vector<channel_range> ranges;

    storage(const std::shared_ptr<memory_pool>& pool, const shape4& s, arrangement a);
    storage(const shape4& s, arrangement a, std::vector<channel_range> of);
    /// Planar, in memory that the caller owns.
    storage(const shape4& s, float* values);

    storage(storage&&) = default; // moves only: a writer must know with which tensors the memory is shared
    storage& operator=(storage&&) = default;
    storage(const storage&) = delete;
    storage& operator=(const storage&) = delete;
    ~storage() = default;

    /// A storage with these values in this memory.
    [[nodiscard]] storage alias() const { return {shape, order, ranges}; }

    /// Channels [first, first + count) in the same memory. For blocked storage, and first a multiple of sixteen.
    [[nodiscard]] storage part(int first, int count) const;

    /// True when another tensor has some of this memory too: the memory must not be written to then.
    [[nodiscard]] bool shared() const;

    /// True when the memory belongs to the caller, not to the backend.
    [[nodiscard]] bool borrowed() const { return ranges.front().memory == nullptr; }

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

/// Channel c of image n.
inline channel_values channel(const storage& x, int n, int c) {
    if (x.planar()) {
        return {x.data() + (size_of(n) * size_of(x.shape.c) + size_of(c)) * x.shape.plane(), 1};
    }
    return {x.plane(n, c / lanes) + c % lanes, lanes};
}

/// Copies the values of a storage to `values`, in NCHW order.
void to_planar(const storage& x, float* values);

/// Copies `values`, in NCHW order, to a storage.
void from_planar(const float* values, storage& x);

/// Copies the values of x to y, which has the shape of x and any arrangement.
void copy(const storage& x, storage& y);

/// Channels [first, first + count) of x become the channels of y from `to` on.
void copy_channels(const storage& x, int first, int count, storage& y, int to);

} // namespace repaint::detail::cpu

#ifndef REPAINT_COMPILED
#include <repaint/backend/cpu/layout.ipp>
#endif
