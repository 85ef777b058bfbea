#pragma once

#include <cstddef>

#include <repaint/backend/cuda/layout.cuh>
#include <repaint/core/options.hpp>

/// What happens to every element by itself: of activations in any layout without gaps, and of images (T = float). Every
/// function reads each argument once and writes its result once, in accesses of sixteen bytes where all tensors begin on
/// such a border.
namespace repaint::detail::cuda {

/// y[i] = f(a[i], b[i]); y may be a or b.
template <class T, bool Vectors, class F>
__global__ void map_kernel(F f, const T* a, const T* b, std::size_t count, T* y) {
    constexpr int width = Vectors ? vector_width<T> : 1;
    const std::size_t whole = count / width;
    for_item(whole, [&](std::size_t i) {
        const auto u = channels_of<T, width>::load(a + i * width);
        const auto v = channels_of<T, width>::load(b + i * width);
        channels_of<T, width> result;
        for (int k = 0; k < width; ++k) {
            result.values[k] = f(u.values[k], v.values[k]);
        }
        result.store(y + i * width);
    });
    for_item(count - whole * width, [&](std::size_t k) {
        const std::size_t i = whole * width + k;
        y[i] = from_float<T>(f(to_float(a[i]), to_float(b[i])));
    });
}

template <class T, class F>
void map(const char* name, F f, const T* a, const T* b, std::size_t count, T* y, cudaStream_t stream) {
    const bool vectors = on_vector_border({a, b, y});
    launch(name, vectors ? map_kernel<T, true, F> : map_kernel<T, false, F>,
           item_grid(vectors ? ceil_div(count, static_cast<std::size_t>(vector_width<T>)) : count), copy_threads, 0,
           stream, f, a, b, count, y);
}

struct sum_of_two {
    __device__ float operator()(float a, float b) const { return a + b; }
};

struct vjp_of_activation {
    activation f;
    __device__ float operator()(float x, float dy) const { return activated_vjp(f, x, dy); }
};

/// sum += x
template <class T> void accumulate(T* sum, const T* x, std::size_t count, cudaStream_t stream) {
    map("accumulate", sum_of_two{}, sum, x, count, sum, stream);
}

/// dx = f'(x) dy
template <class T>
void activation_vjp(const T* x, activation f, const T* dy, std::size_t count, T* dx, cudaStream_t stream) {
    map("activation_vjp", vjp_of_activation{f}, x, dy, count, dx, stream);
}

} // namespace repaint::detail::cuda
