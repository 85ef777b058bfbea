#pragma once

#if defined(REPAINT_CUDA_ON_HOST)
// A host compiler, with a substitute for the CUDA runtime included before (tests/support/cuda_on_host.hpp).
#elif defined(__CUDACC__)
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>
#else
#error "kernels of repaint::cuda: compile this file as CUDA (a .cu file, or LANGUAGE CUDA)"
#endif

#include <cstddef>
#include <tuple>
#include <utility>

#include <repaint/backend/cuda/status.hpp>
#include <repaint/core/host_device.hpp>

/// How host code talks to the device: errors by name, launches, and the memory that a block shares.
namespace repaint::detail::cuda {

/// What most architectures give a block without being asked.
inline constexpr std::size_t usual_block_memory = std::size_t{48} << 10U;

/// Lets the kernel have `bytes` of block memory. name: for the error message. Throws device_error.
template <class... Parameters>
void allow_block_memory(const char* name, void (*kernel)(Parameters...), std::size_t bytes) {
#if !defined(REPAINT_CUDA_ON_HOST)
    if (bytes > usual_block_memory) {
        check(cudaFuncSetAttribute(reinterpret_cast<const void*>(kernel), cudaFuncAttributeMaxDynamicSharedMemorySize,
                                   static_cast<int>(bytes)),
              name);
    }
#endif
    (void)name;
    (void)kernel;
    (void)bytes;
}

/// Blocks of this kernel that one multiprocessor keeps alive together. Throws device_error.
template <class... Parameters>
int blocks_together(const char* name, void (*kernel)(Parameters...), int threads, std::size_t bytes) {
#if defined(REPAINT_CUDA_ON_HOST)
    (void)name;
    (void)kernel;
    (void)threads;
    (void)bytes;
    return 2;
#else
    const auto* function = reinterpret_cast<const void*>(kernel);
    allow_block_memory(name, kernel, bytes);
    check(
        cudaFuncSetAttribute(function, cudaFuncAttributePreferredSharedMemoryCarveout, cudaSharedmemCarveoutMaxShared),
        name);
    int blocks = 0;
    check(cudaOccupancyMaxActiveBlocksPerMultiprocessor(&blocks, function, threads, bytes), name);
    return blocks;
#endif
}

/// Enqueues kernel(arguments...) with `bytes` of block memory. name: for the error message. Throws device_error.
template <class... Parameters, class... Arguments>
void launch(const char* name, void (*kernel)(Parameters...), dim3 blocks, int threads, std::size_t bytes,
            cudaStream_t stream, Arguments&&... arguments) {
    if (blocks.x == 0 || blocks.y == 0 || blocks.z == 0) {
        return; // nothing to do, which CUDA calls an error
    }
#if defined(REPAINT_CUDA_ON_HOST)
    cuda_on_host::launch(name, blocks, threads, bytes, stream, false, kernel, static_cast<Parameters>(arguments)...);
#else
    allow_block_memory(name, kernel, bytes);
    kernel<<<blocks, dim3(static_cast<unsigned>(threads)), bytes, stream>>>(
        static_cast<Parameters>(std::forward<Arguments>(arguments))...);
    check(cudaGetLastError(), name);
#endif
}

/// As launch(), of blocks that are all alive together, so that they may wait for each other. Throws device_error, also
/// when there are more blocks than the device holds at once.
template <class... Parameters, class... Arguments>
void launch_cooperative(const char* name, void (*kernel)(Parameters...), dim3 blocks, int threads, std::size_t bytes,
                        cudaStream_t stream, Arguments&&... arguments) {
    if (blocks.x == 0 || blocks.y == 0 || blocks.z == 0) {
        return;
    }
#if defined(REPAINT_CUDA_ON_HOST)
    cuda_on_host::launch(name, blocks, threads, bytes, stream, true, kernel, static_cast<Parameters>(arguments)...);
#else
    allow_block_memory(name, kernel, bytes);
    std::tuple<Parameters...> values(static_cast<Parameters>(std::forward<Arguments>(arguments))...);
    std::apply(
        [&](auto&... value) {
            void* pointers[] = {&value...};
            check(cudaLaunchCooperativeKernel(reinterpret_cast<const void*>(kernel), blocks,
                                              dim3(static_cast<unsigned>(threads)), pointers, bytes, stream),
                  name);
        },
        values);
#endif
}

/// The memory of this block that the launch asked for. Kernels have no other: so that blocks which wait for each other
/// can all be alive on the host, too.
template <class T> __device__ T* block_memory() {
#if defined(REPAINT_CUDA_ON_HOST)
    return static_cast<T*>(cuda_on_host::block_memory());
#else
    extern __shared__ __align__(16) unsigned char repaint_block_memory[];
    return reinterpret_cast<T*>(repaint_block_memory);
#endif
}

inline constexpr int warp_size = 32;

/// The sum over the lanes of a warp, on every lane. All lanes must call it.
__device__ inline float warp_sum(float value) {
    for (int distance = warp_size / 2; distance > 0; distance /= 2) {
        value += __shfl_xor_sync(0xFFFFFFFFU, value, distance);
    }
    return value;
}

/// The largest value of a warp, on every lane. All lanes must call it.
__device__ inline float warp_max(float value) {
    for (int distance = warp_size / 2; distance > 0; distance /= 2) {
        const float other = __shfl_xor_sync(0xFFFFFFFFU, value, distance);
        value = other > value ? other : value;
    }
    return value;
}

/// The sum over the threads of a block, on every thread, in an order that depends on the block's size alone.
/// scratch: block memory for one float per warp. All threads must call it; blocks are whole warps.
__device__ inline float block_sum(float value, float* scratch) {
    const int lane = static_cast<int>(threadIdx.x) % warp_size;
    const int warp = static_cast<int>(threadIdx.x) / warp_size;
    const int warps = static_cast<int>(blockDim.x) / warp_size;
    value = warp_sum(value);
    __syncthreads(); // whoever used the scratch before is done with it
    if (lane == 0) {
        scratch[warp] = value;
    }
    __syncthreads();
    return warp_sum(lane < warps ? scratch[lane] : 0.0F);
}

/// a / b, rounded up.
template <class I> REPAINT_HOST_DEVICE constexpr I ceil_div(I a, I b) { return (a + b - 1) / b; }

} // namespace repaint::detail::cuda
