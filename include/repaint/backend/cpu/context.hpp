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
/// Values that are summed in one chain where rows are contiguous.
inline constexpr int chain = 64;

/// What every primitive works with.
struct context {
    thread_pool& pool;
    const kernel_table& kernels;
    const std::shared_ptr<memory_pool>& memory;
    bool strict = false; ///< direct convolutions only

    /// `floats` for each worker of a region; worker i's begin at i times the stride.
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
