#pragma once

#include <cstddef>
#include <memory>

#include <repaint/backend/cpu/kernels.hpp>
#include <repaint/backend/cpu/layout.hpp>
#include <repaint/backend/cpu/memory.hpp>
#include <repaint/backend/cpu/thread_pool.hpp>

namespace repaint::detail::cpu {

/// Blocks of a packed matrix that one product computes: chunks of result channels.
inline constexpr int chunk_blocks = 4;
inline constexpr int chunk_channels = chunk_blocks * lanes;

/// Blocks of a packed matrix whose columns lie together, row by row.
struct block_group {
    int first = 0;
    int count = 0;
};

/// The group of block `block` of a packed matrix that has `blocks`: groups are counted from the beginning of every
/// chunk.
constexpr block_group group_of(int block, int blocks, int widest) {
    int first = block / chunk_blocks * chunk_blocks;
    const int end = first + chunk_blocks < blocks ? first + chunk_blocks : blocks;
    int count = group_blocks(end - first, widest);
    while (block >= first + count) {
        first += count;
        count = group_blocks(end - first, widest);
    }
    return {first, count};
}

/// Values that are summed in one chain where rows are contiguous.
inline constexpr int chain = 64;

/// What every primitive works with.
struct context {
    thread_pool& pool;
    const kernel_table& kernels;
    const std::shared_ptr<memory_pool>& memory;
    bool strict = false; ///< direct convolutions only
    instruction_set instructions = instruction_set::portable;

    [[nodiscard]] const gradient_table& gradient_kernels() const { return gradient_kernels_for(instructions); }

    /// `floats` for each worker of a region; the floats of worker i begin at i times the stride.
    struct scratch {
        memory_block memory;
        std::size_t stride = 0;
        [[nodiscard]] float* of(int worker) const { return memory.data() + size_of(worker) * stride; }
    };
    [[nodiscard]] scratch scratch_for_workers(std::size_t floats) const {
        // A cache line and more between workers, and no power of two: equal addresses in different pages share cache
        // sets.
        const std::size_t stride = (floats + 15) / 16 * 16 + 80;
        return {memory_block(memory, stride * size_of(pool.threads())), stride};
    }
    [[nodiscard]] memory_block block(std::size_t floats) const { return {memory, floats}; }
};

} // namespace repaint::detail::cpu
