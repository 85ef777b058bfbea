#pragma once

#include <algorithm>
#include <cstddef>

#include <repaint/backend/cuda/layout.cuh>
#include <repaint/core/options.hpp>

/// What the libraries' convolutions do not do on their way out. A bias that several images share is summed before the
/// convolution; vectors of single images and activations come after it, in one pass that reads and writes y once.
namespace repaint::detail::cuda {

inline constexpr int epilogue_threads = 256;

template <class T> __global__ void summed_bias_kernel(const float* bias, const float* vector, int channels, T* sum) {
    const int c = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
    if (c < channels) {
        sum[c] = from_float<T>((bias == nullptr ? 0.0F : bias[c]) + vector[c]);
    }
}

/// sum = bias + vector, [channels]; bias may be null.
template <class T> void summed_bias(const float* bias, const float* vector, int channels, T* sum, cudaStream_t stream) {
    launch("conv2d", summed_bias_kernel<T>, dim3(static_cast<unsigned>(ceil_div(channels, epilogue_threads))),
           epilogue_threads, 0, stream, bias, vector, channels, sum);
}

/// blockIdx: pixels, image.
template <class T, int Width>
__global__ void finish_conv2d_kernel(T* y, std::size_t images, std::size_t pixels, std::size_t channels,
                                     const float* vectors, activation then) {
    const std::size_t groups = channels / Width;
    const std::size_t step = std::size_t{blockDim.x} * gridDim.x;
    for (std::size_t n = blockIdx.y; n < images; n += gridDim.y) {
        T* const image = y + n * pixels * channels;
        const float* const vector = vectors == nullptr ? nullptr : vectors + n * channels;
        for (std::size_t i = std::size_t{blockIdx.x} * blockDim.x + threadIdx.x; i < pixels * groups; i += step) {
            auto values = channels_of<T, Width>::load(image + i * Width);
            for (int k = 0; k < Width; ++k) {
                const std::size_t c = i % groups * Width + static_cast<std::size_t>(k);
                values.values[k] = activated(then, values.values[k] + (vector == nullptr ? 0.0F : vector[c]));
            }
            values.store(image + i * Width);
        }
    }
}

/// y = then(y + vector of its image), y: [images][pixels][channels]. vectors: [images][channels], or null.
template <class T>
void finish_conv2d(T* y, int images, int pixels, int channels, const float* vectors, activation then,
                   cudaStream_t stream) {
    constexpr std::size_t most = 4096; // blocks of an image
    const bool wide = channels % vector_width<T> == 0 && on_vector_border({y});
    const std::size_t items =
        static_cast<std::size_t>(pixels) * static_cast<std::size_t>(wide ? channels / vector_width<T> : channels);
    const dim3 blocks(static_cast<unsigned>(std::min(ceil_div(items, std::size_t{epilogue_threads}), most)),
                      static_cast<unsigned>(std::min(images, 65535)));
    launch("conv2d", wide ? finish_conv2d_kernel<T, vector_width<T>> : finish_conv2d_kernel<T, 1>, blocks,
           epilogue_threads, 0, stream, y, images, pixels, channels, vectors, then);
}

} // namespace repaint::detail::cuda
