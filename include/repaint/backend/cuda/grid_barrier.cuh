#pragma once

#include <repaint/backend/cuda/runtime.cuh>

/// Where the blocks of a cooperative launch wait for each other.
namespace repaint::detail::cuda {

/// The state of one barrier in global memory: zeros before its first use, ready for the next after each.
struct alignas(32) grid_barrier {
    unsigned arrived;
    unsigned opened;
};

/// How often the barrier has opened so far, which it does not again before this block waits at it: to be asked for some
/// time before wait_at, since the answer comes from beyond the caches. Only that of the first thread counts.
__device__ inline unsigned times_opened(const grid_barrier* barrier) {
#if defined(REPAINT_CUDA_ON_HOST)
    (void)barrier;
    return 0;
#else
    const volatile unsigned* const opened = &barrier->opened;
    return threadIdx.x == 0 ? *opened : 0U;
#endif
}

/// Waits until `blocks` blocks are here; what each wrote to global memory before, all see after. All threads of these
/// blocks must call it, and all these blocks must be alive together (launch_cooperative). before: times_opened, asked
/// since this block last waited here. Under the host's substitute every living block of the launch waits, whatever its
/// barrier.
__device__ inline void wait_at(grid_barrier* barrier, unsigned blocks, unsigned before) {
#if defined(REPAINT_CUDA_ON_HOST)
    (void)barrier;
    (void)blocks;
    (void)before;
    cuda_on_host::grid_barrier();
#else
    __syncthreads();
    if (threadIdx.x == 0) {
        __threadfence();
        if (atomicAdd(&barrier->arrived, 1U) + 1U == blocks) {
            barrier->arrived = 0U;
            __threadfence();
            atomicAdd(&barrier->opened, 1U);
        } else {
            const volatile unsigned* const opened = &barrier->opened;
            while (*opened == before) {
            }
        }
        __threadfence();
    }
    __syncthreads();
#endif
}

} // namespace repaint::detail::cuda
