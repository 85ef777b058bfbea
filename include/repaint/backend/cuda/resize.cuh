#pragma once

#include <cstddef>

#include <repaint/backend/cuda/layout.cuh>
#include <repaint/core/shape.hpp>

/// Nearest-neighbour doubling and the mean of 2x2, and their vector-Jacobian products: of activations (NHWC), and of
/// planar images. Every function reads its argument once and writes its result once. `shape` is that of what is read.
///
/// Row r of all images becomes rows 2r and 2r + 1, or is made of them, whatever the layout; planar images are
/// activations of one channel and as many images as they have planes.
namespace repaint::detail::cuda {

/// rows: of all images of x, of `columns` pixels of `channels`.
template <class T, int Width>
__global__ void double_pixels_kernel(const T* x, std::size_t rows, std::size_t columns, std::size_t channels,
                                     float factor, T* y) {
    const std::size_t of_pixel = channels / Width;
    const std::size_t y_row = 2 * columns * of_pixel;
    for_item(rows * columns * of_pixel, [&](std::size_t i) {
        channels_of<T, Width> value = channels_of<T, Width>::load(x + i * Width);
        for (int k = 0; k < Width; ++k) {
            value.values[k] *= factor;
        }
        const std::size_t pixel = i / of_pixel;
        const std::size_t at = (2 * (pixel / columns) * 2 * columns + 2 * (pixel % columns)) * of_pixel + i % of_pixel;
        // Multiples of Width, every one: nvcc does not see elsewise that sixteen bytes stay together.
        value.store(y + at * Width);
        value.store(y + (at + of_pixel) * Width);
        value.store(y + (at + y_row) * Width);
        value.store(y + (at + y_row + of_pixel) * Width);
    });
}

/// rows: of all images of y, of `columns` pixels of `channels`.
template <class T, int Width>
__global__ void halve_pixels_kernel(const T* x, std::size_t rows, std::size_t columns, std::size_t channels,
                                    float factor, T* y) {
    const std::size_t of_pixel = channels / Width;
    const std::size_t x_row = 2 * columns * channels;
    for_item(rows * columns * of_pixel, [&](std::size_t i) {
        const std::size_t pixel = i / of_pixel;
        const T* from = x + 2 * (pixel / columns) * x_row + 2 * (pixel % columns) * channels + i % of_pixel * Width;
        const auto a = channels_of<T, Width>::load(from);
        const auto b = channels_of<T, Width>::load(from + channels);
        const auto c = channels_of<T, Width>::load(from + x_row);
        const auto d = channels_of<T, Width>::load(from + x_row + channels);
        channels_of<T, Width> result;
        for (int k = 0; k < Width; ++k) {
            result.values[k] = ((a.values[k] + b.values[k]) + (c.values[k] + d.values[k])) * factor;
        }
        result.store(y + i * Width);
    });
}

/// Two neighbouring pixels of a plane.
struct alignas(8) two_pixels {
    float values[2];
};

/// Planes whose rows are pairs of pixels: pair i of x.
static __global__ void double_planes_kernel(const float* x, std::size_t rows, std::size_t pairs, float factor,
                                            float* y) {
    for_item(rows * pairs, [&](std::size_t i) {
        const two_pixels value = reinterpret_cast<const two_pixels*>(x)[i];
        const float a = value.values[0] * factor;
        const float b = value.values[1] * factor;
        const vector_of<float> row = {{a, a, b, b}};
        const std::size_t at = 2 * (i / pairs) * pairs + i % pairs;
        row.store(y + at * 4);
        row.store(y + (at + pairs) * 4);
    });
}

/// Planes whose rows are pairs of pixels: pair i of y.
static __global__ void halve_planes_kernel(const float* x, std::size_t rows, std::size_t pairs, float factor,
                                           float* y) {
    for_item(rows * pairs, [&](std::size_t i) {
        const float* from = x + 4 * (2 * (i / pairs) * pairs + i % pairs);
        const auto above = vector_of<float>::load(from);
        const auto below = vector_of<float>::load(from + 4 * pairs);
        two_pixels result;
        for (int k = 0; k < 2; ++k) {
            result.values[k] =
                ((above.values[2 * k] + above.values[2 * k + 1]) + (below.values[2 * k] + below.values[2 * k + 1])) *
                factor;
        }
        reinterpret_cast<two_pixels*>(y)[i] = result;
    });
}

/// What a launch of this file goes over: the pixels of the smaller side.
struct small_side {
    std::size_t rows;
    std::size_t columns;
    std::size_t channels;

    [[nodiscard]] std::size_t size() const { return rows * columns * channels; }
};

template <class T>
void double_pixels(const char* name, const T* x, const small_side& s, float factor, T* y, cudaStream_t stream) {
    const bool vectors = in_vectors<T>({x, y}, {s.channels});
    launch(name, vectors ? double_pixels_kernel<T, vector_width<T>> : double_pixels_kernel<T, 1>,
           item_grid(s.size() / static_cast<std::size_t>(vectors ? vector_width<T> : 1)), copy_threads, 0, stream, x,
           s.rows, s.columns, s.channels, factor, y);
}

template <class T>
void halve_pixels(const char* name, const T* x, const small_side& s, float factor, T* y, cudaStream_t stream) {
    const bool vectors = in_vectors<T>({x, y}, {s.channels});
    launch(name, vectors ? halve_pixels_kernel<T, vector_width<T>> : halve_pixels_kernel<T, 1>,
           item_grid(s.size() / static_cast<std::size_t>(vectors ? vector_width<T> : 1)), copy_threads, 0, stream, x,
           s.rows, s.columns, s.channels, factor, y);
}

inline void double_planes(const char* name, const float* x, const small_side& s, float factor, float* y,
                          cudaStream_t stream) {
    if (s.columns % 2 == 0 && on_vector_border({x, y})) {
        launch(name, double_planes_kernel, item_grid(s.size() / 2), copy_threads, 0, stream, x, s.rows, s.columns / 2,
               factor, y);
    } else {
        double_pixels(name, x, s, factor, y, stream);
    }
}

inline void halve_planes(const char* name, const float* x, const small_side& s, float factor, float* y,
                         cudaStream_t stream) {
    if (s.columns % 2 == 0 && on_vector_border({x, y})) {
        launch(name, halve_planes_kernel, item_grid(s.size() / 2), copy_threads, 0, stream, x, s.rows, s.columns / 2,
               factor, y);
    } else {
        halve_pixels(name, x, s, factor, y, stream);
    }
}

/// Of activations that are read; `larger` when those are the larger side.
inline small_side small_side_of(const shape4& shape, bool larger) {
    const int by = larger ? 2 : 1;
    return {static_cast<std::size_t>(shape.n) * static_cast<std::size_t>(shape.h / by),
            static_cast<std::size_t>(shape.w / by), static_cast<std::size_t>(shape.c)};
}

/// Of planar images that are read.
inline small_side small_side_of_planes(const shape4& shape, bool larger) {
    small_side s = small_side_of(shape, larger);
    s.rows *= s.channels;
    s.channels = 1;
    return s;
}

template <class T> void nearest_up(const T* x, const shape4& shape, T* y, cudaStream_t stream) {
    double_pixels("nearest_up", x, small_side_of(shape, false), 1.0F, y, stream);
}

/// Rows and columns of `shape` are even.
template <class T> void average_down(const T* x, const shape4& shape, T* y, cudaStream_t stream) {
    halve_pixels("average_down", x, small_side_of(shape, true), 0.25F, y, stream);
}

/// Rows and columns of `shape`, which is dy's, are even.
template <class T> void nearest_up_vjp(const T* dy, const shape4& shape, T* dx, cudaStream_t stream) {
    halve_pixels("nearest_up_vjp", dy, small_side_of(shape, true), 1.0F, dx, stream);
}

/// `shape` is dy's.
template <class T> void average_down_vjp(const T* dy, const shape4& shape, T* dx, cudaStream_t stream) {
    double_pixels("average_down_vjp", dy, small_side_of(shape, false), 0.25F, dx, stream);
}

// ---- the same of planar images ---------------------------------------------------------------------------------------

inline void nearest_up_planar(const float* x, const shape4& shape, float* y, cudaStream_t stream) {
    double_planes("nearest_up", x, small_side_of_planes(shape, false), 1.0F, y, stream);
}

inline void average_down_planar(const float* x, const shape4& shape, float* y, cudaStream_t stream) {
    halve_planes("average_down", x, small_side_of_planes(shape, true), 0.25F, y, stream);
}

inline void nearest_up_vjp_planar(const float* dy, const shape4& shape, float* dx, cudaStream_t stream) {
    halve_planes("nearest_up_vjp", dy, small_side_of_planes(shape, true), 1.0F, dx, stream);
}

inline void average_down_vjp_planar(const float* dy, const shape4& shape, float* dx, cudaStream_t stream) {
    double_planes("average_down_vjp", dy, small_side_of_planes(shape, false), 0.25F, dx, stream);
}

} // namespace repaint::detail::cuda
