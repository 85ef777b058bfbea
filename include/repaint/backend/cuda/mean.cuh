#pragma once

#include <cstddef>

#include <repaint/backend/cuda/channel_statistics.cuh>

/// Means over pixels, and their vector-Jacobian products. Every function reads its argument once and writes its result
/// once. A block takes all pixels of an image: classifiers pool small ones.
namespace repaint::detail::cuda {

/// means: float [image][channel], or null. tokens: [image][1 + pixels][channel], or null.
template <class T, int Width>
__global__ __launch_bounds__(tiling_threads) void mean_kernel(part<T> x, int pixels, tiling t, float* means,
                                                              T* tokens) {
    const tiling_place<Width> place(t, x.channels, pixels);
    const std::ptrdiff_t image = blockIdx.z;
    const int slots = place.columns * Width;
    float* const of_rows = block_memory<float>();
    const T* const from = x.data + image * pixels * x.stride + place.channel();
    T* const to = tokens == nullptr ? nullptr : tokens + image * (1 + pixels) * x.channels + place.channel();
    channels_of<T, Width> origin; // what distances are summed from
    if (place.works) {
        origin = channels_of<T, Width>::load(from);
        float sum[std::size_t{Width}] = {};
        for (int p = place.row; p < pixels; p += t.rows) {
            const auto value = channels_of<T, Width>::load(from + static_cast<std::ptrdiff_t>(p) * x.stride);
            for (int i = 0; i < Width; ++i) {
                sum[i] += value.values[i] - origin.values[i];
            }
            if (to != nullptr) {
                value.store(to + static_cast<std::ptrdiff_t>(1 + p) * x.channels);
            }
        }
        for (int i = 0; i < Width; ++i) {
            of_rows[place.row * slots + i * place.columns + place.column] = sum[i];
        }
    }
    __syncthreads();
    if (place.row != 0) {
        return;
    }
    for (int i = 0; i < Width; ++i) {
        float sum = 0.0F;
        for (int row = 0; row < t.rows; ++row) {
            sum += of_rows[row * slots + i * place.columns + place.column];
        }
        origin.values[i] += sum / static_cast<float>(pixels);
        if (means != nullptr) {
            means[image * x.channels + place.channel() + i] = origin.values[i];
        }
    }
    if (to != nullptr) {
        origin.store(to);
    }
}

template <class T>
void mean(const char* name, const part<T>& x, int images, int pixels, float* means, T* tokens, cudaStream_t stream) {
    const bool vectors = vectorised(x) && on_vector_border({tokens});
    tiling t = tiling_of(x.channels, vectors ? vector_width<T> : 1, pixels, 1);
    t.pixels = pixels;
    t.chunks = 1;
    launch(name, vectors ? mean_kernel<T, vector_width<T>> : mean_kernel<T, 1>, t.grid(images), tiling_threads,
           static_cast<std::size_t>(t.rows) * static_cast<std::size_t>(t.channels) * sizeof(float), stream, x, pixels,
           t, means, tokens);
}

/// y: float [images][channels]. pixels: of one image.
template <class T> void mean(const part<T>& x, int images, int pixels, float* y, cudaStream_t stream) {
    mean("mean", x, images, pixels, y, static_cast<T*>(nullptr), stream);
}

/// y: [images][1 + pixels][channels], the mean first.
template <class T> void prepend_mean(const part<T>& x, int images, int pixels, T* y, cudaStream_t stream) {
    mean("prepend_mean", x, images, pixels, static_cast<float*>(nullptr), y, stream);
}

/// of_mean: float [image][channel], or null, when dy holds the tokens of prepend_mean.
template <class T, int Width>
__global__ __launch_bounds__(tiling_threads) void mean_vjp_kernel(const float* of_mean, part<T> dy, int channels,
                                                                  int pixels, tiling t, T* dx) {
    const tiling_place<Width> place(t, channels, pixels);
    if (!place.works) {
        return;
    }
    const std::ptrdiff_t image = blockIdx.z;
    T* const to = dx + image * pixels * channels + place.channel();
    const T* const from = of_mean != nullptr ? nullptr : dy.data + image * (1 + pixels) * dy.stride + place.channel();
    channels_of<T, Width> share;
    if (of_mean != nullptr) {
        for (int i = 0; i < Width; ++i) {
            share.values[i] = of_mean[image * channels + place.channel() + i];
        }
    } else {
        share = channels_of<T, Width>::load(from);
    }
    for (int i = 0; i < Width; ++i) {
        share.values[i] /= static_cast<float>(pixels);
    }
    for (int p = place.begin + place.row; p < place.end; p += t.rows) {
        channels_of<T, Width> value = share;
        if (from != nullptr) {
            const auto own = channels_of<T, Width>::load(from + static_cast<std::ptrdiff_t>(1 + p) * dy.stride);
            for (int i = 0; i < Width; ++i) {
                value.values[i] += own.values[i];
            }
        }
        value.store(to + static_cast<std::ptrdiff_t>(p) * channels);
    }
}

template <class T>
void mean_vjp(const char* name, const float* of_mean, const part<T>& dy, int channels, int images, int pixels, T* dx,
              cudaStream_t stream) {
    const bool vectors = vectorised(part<T>{dx, channels, channels}) && vectorised(dy);
    const tiling t = tiling_of(channels, vectors ? vector_width<T> : 1, pixels, 4);
    launch(name, vectors ? mean_vjp_kernel<T, vector_width<T>> : mean_vjp_kernel<T, 1>, t.grid(images), tiling_threads,
           0, stream, of_mean, dy, channels, pixels, t, dx);
}

/// dy: float [images][channels]. dx: NHWC without gaps.
template <class T> void mean_vjp(const float* dy, int channels, int images, int pixels, T* dx, cudaStream_t stream) {
    mean_vjp("mean_vjp", dy, part<T>{nullptr, 0, 0}, channels, images, pixels, dx, stream);
}

/// dy: the tokens, 1 + pixels per image, the mean's first. dx: NHWC without gaps.
template <class T> void prepend_mean_vjp(const part<T>& dy, int images, int pixels, T* dx, cudaStream_t stream) {
    mean_vjp("prepend_mean_vjp", nullptr, dy, dy.channels, images, pixels, dx, stream);
}

} // namespace repaint::detail::cuda
