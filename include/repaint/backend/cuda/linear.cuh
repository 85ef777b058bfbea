#pragma once

#include <cstddef>
#include <cstdint>

#include <repaint/backend/cuda/element.cuh>
#include <repaint/backend/cuda/runtime.cuh>
#include <repaint/core/options.hpp>

/// Linear layers of float32 vectors, and their vector-Jacobian products. For up to 8 vectors the weights are read once;
/// for more, once for each 8. x is read (from the caches) once for each row of the weights, y is written once.
namespace repaint::detail::cuda {

inline constexpr int linear_threads = 256;
inline constexpr int linear_most = 8; ///< vectors at a time

/// A warp has one row of the weights, [out][in]. vectors: rows of both matrices begin at multiples of sixteen bytes.
template <class W, int most, bool vectors>
__global__ __launch_bounds__(linear_threads) void linear_kernel(const float* x, int count, int in, const W* weights,
                                                                int out, const float* bias, const float* residual,
                                                                bool residual_per_vector, activation then, float* y) {
    const int lane = static_cast<int>(threadIdx.x) % warp_size;
    const std::size_t o = std::size_t{blockIdx.x} * (linear_threads / warp_size) + threadIdx.x / warp_size;
    if (o >= static_cast<std::size_t>(out)) {
        return; // whole warps
    }
    const int first = static_cast<int>(blockIdx.y) * most;
    const int some = count - first < most ? count - first : most;
    const auto row_in = static_cast<std::size_t>(in);
    const W* const row = weights + o * row_in;
    x += static_cast<std::size_t>(first) * row_in;
    float sums[std::size_t{most}] = {};
    constexpr int width = vectors ? vector_width<W> : 1;
    for (int i = lane * width; i < in; i += warp_size * width) {
        float w[std::size_t{width}];
        if constexpr (vectors) {
            const vector_of<W> values = vector_of<W>::load(row + i);
            for (int e = 0; e < width; ++e) {
                w[e] = values.values[e];
            }
        } else {
            w[0] = to_float(row[i]);
        }
        for (int v = 0; v < most; ++v) {
            if (v < some) {
                const float* const from = x + static_cast<std::size_t>(v) * row_in + static_cast<std::size_t>(i);
                if constexpr (vectors) {
                    for (int e = 0; e < width; e += vector_width<float>) {
                        const vector_of<float> values = vector_of<float>::load(from + e);
                        for (int f = 0; f < vector_width<float>; ++f) {
                            sums[v] += w[e + f] * values.values[f];
                        }
                    }
                } else {
                    sums[v] += w[0] * *from;
                }
            }
        }
    }
    for (int v = 0; v < most; ++v) {
        const float sum = warp_sum(sums[v]);
        if (v < some && lane == 0) {
            const std::size_t at = static_cast<std::size_t>(first + v) * static_cast<std::size_t>(out) + o;
            float value = sum;
            if (bias != nullptr) {
                value += bias[o];
            }
            if (residual != nullptr) {
                value += residual[residual_per_vector ? at : o];
            }
            y[at] = activated(then, value);
        }
    }
}

/// A lane has one column of the weights, a warp every 8th row; then the warps' sums are added.
template <class W, int most>
__global__ __launch_bounds__(linear_threads) void linear_vjp_kernel(const float* dy, int count, int out,
                                                                    const W* weights, int in, float* dx) {
    constexpr int warps = linear_threads / warp_size;
    const int lane = static_cast<int>(threadIdx.x) % warp_size;
    const int warp = static_cast<int>(threadIdx.x) / warp_size;
    const int column = static_cast<int>(blockIdx.x) * warp_size + lane;
    const int first = static_cast<int>(blockIdx.y) * most;
    const int some = count - first < most ? count - first : most;
    float sums[std::size_t{most}] = {};
    if (column < in) {
        for (int o = warp; o < out; o += warps) {
            const float w = to_float(
                weights[static_cast<std::size_t>(o) * static_cast<std::size_t>(in) + static_cast<std::size_t>(column)]);
            for (int v = 0; v < most; ++v) {
                if (v < some) {
                    sums[v] += w * dy[static_cast<std::size_t>(first + v) * static_cast<std::size_t>(out) +
                                      static_cast<std::size_t>(o)];
                }
            }
        }
    }
    float* const shared = block_memory<float>(); // [vector][warp][lane]
    for (int v = 0; v < most; ++v) {
        shared[(v * warps + warp) * warp_size + lane] = sums[v];
    }
    __syncthreads();
    for (int v = warp; v < some; v += warps) {
        float sum = 0.0F;
        for (int other = 0; other < warps; ++other) {
            sum += shared[(v * warps + other) * warp_size + lane];
        }
        if (column < in) {
            dx[static_cast<std::size_t>(first + v) * static_cast<std::size_t>(in) + static_cast<std::size_t>(column)] =
                sum;
        }
    }
}

/// y = then(W x + bias + residual). x: [count][in]; weights: [out][in]; bias: [out], or null; residual: [out], or
/// [count][out] when residual_per_vector, or null; y: [count][out], not x.
template <class W>
void linear(const float* x, int count, int in, const W* weights, int out, const float* bias, const float* residual,
            bool residual_per_vector, activation then, float* y, cudaStream_t stream) {
    const auto aligned = [](const void* p) { return reinterpret_cast<std::uintptr_t>(p) % 16 == 0; };
    const bool vectors = in % vector_width<W> == 0 && aligned(weights) && aligned(x);
    const auto blocks = static_cast<unsigned>(ceil_div(out, linear_threads / warp_size));
    const auto enqueue = [&](auto kernel, int most) {
        launch("linear", kernel, dim3(blocks, static_cast<unsigned>(ceil_div(count, most))), linear_threads, 0, stream,
               x, count, in, weights, out, bias, residual, residual_per_vector, then, y);
    };
    if (count == 1) {
        enqueue(vectors ? linear_kernel<W, 1, true> : linear_kernel<W, 1, false>, 1);
    } else {
        enqueue(vectors ? linear_kernel<W, linear_most, true> : linear_kernel<W, linear_most, false>, linear_most);
    }
}

/// dx = W^T dy. dy: [count][out]; weights: [out][in]; dx: [count][in], not dy.
template <class W>
void linear_vjp(const float* dy, int count, int out, const W* weights, int in, float* dx, cudaStream_t stream) {
    const auto enqueue = [&](auto kernel, int most) {
        launch("linear_vjp", kernel,
               dim3(static_cast<unsigned>(ceil_div(in, warp_size)), static_cast<unsigned>(ceil_div(count, most))),
               linear_threads, static_cast<std::size_t>(most) * linear_threads * sizeof(float), stream, dy, count, out,
               weights, in, dx);
    };
    if (count == 1) {
        enqueue(linear_vjp_kernel<W, 1>, 1);
    } else {
        enqueue(linear_vjp_kernel<W, linear_most>, linear_most);
    }
}

} // namespace repaint::detail::cuda
