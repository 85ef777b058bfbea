#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include <repaint/backend/cuda/conv2d_tile.cuh>
#include <repaint/backend/cuda/layout.cuh>
#include <repaint/backend/cuda/part.cuh>
#include <repaint/backend/cuda/runtime.cuh>
#include <repaint/core/options.hpp>
#include <repaint/core/shape.hpp>

/// Convolutions between images (float32, planar NCHW, fewer than 8 channels) and activations (NHWC in T): the first and
/// the last of a network, and their vector-Jacobian products. Kernels of up to 5x5, stride 1, zero padding. The weights
/// are float32, [out][kernel row][kernel column][in], and forwards and backwards the same.
///
/// From an image: the image is read once for each 64 channels of the result and for each tap (neighbouring taps from
/// the caches); residual is read once, the result is written once.
/// To an image: the activation is read once, and the border of each tile of 8 x 32 pixels again, by the tiles beside
/// it; residual is read once, the result is written once.
namespace repaint::detail::cuda {

/// The largest number of channels of an image, and the longest side of a kernel.
inline constexpr int most_image_channels = 7;
inline constexpr int most_image_kernel = 5;

/// Rows and columns of what is read, of what is written and of the kernel. Pixel (i, j) of the result reads (i +
/// first_row + a, j + first_column + b) at the kernel's tap (a, b); backwards, at the tap that half a turn brings
/// there.
struct image_conv2d_geometry {
    int images;
    int in_rows;
    int in_columns;
    int out_rows;
    int out_columns;
    int kernel_rows;
    int kernel_columns;
    int first_row;
    int first_column;
};

/// Forwards: out channels of y from in channels of x. Backwards (x is dy, y is dx): the weights are
/// [in][kernel row][kernel column][out] then.
template <class T, bool backwards>
__global__ __launch_bounds__(conv2d_threads) void conv2d_from_image_kernel(const float* x, int in, const float* weights,
                                                                           int out, image_conv2d_geometry g,
                                                                           const float* bias,
                                                                           conv2d_residual<T> residual, activation then,
                                                                           bool y_quads, T* y) {
    const auto out_tiles = static_cast<unsigned>(ceil_div(out, tile_width));
    const std::size_t image_pixels = static_cast<std::size_t>(g.out_rows) * static_cast<std::size_t>(g.out_columns);
    const std::size_t pixels = static_cast<std::size_t>(g.images) * image_pixels;
    const std::size_t first_pixel = static_cast<std::size_t>(blockIdx.x / out_tiles) * tile_width;
    const int first_out = static_cast<int>(blockIdx.x % out_tiles) * tile_width;
    const int thread = static_cast<int>(threadIdx.x);
    float* const pixel_tile = block_memory<float>();
    float* const weight_tile = pixel_tile + tile_floats;
    const int taps = g.kernel_rows * g.kernel_columns;
    const int depth = taps * in;

    // A thread loads four rows of the pixels' matrix for one pixel: neighbouring threads, neighbouring pixels.
    const std::size_t pixel = first_pixel + static_cast<std::size_t>(thread % tile_width);
    const std::size_t image = pixel / image_pixels;
    const int row = static_cast<int>(pixel % image_pixels) / g.out_columns + g.first_row;
    const int column = static_cast<int>(pixel % image_pixels) % g.out_columns + g.first_column;

    tile_sums sums;
    for (int begin = 0; begin < depth; begin += tile_depth) {
        __syncthreads(); // the tiles before are done with
        for (int d = thread / tile_width; d < tile_depth; d += conv2d_threads / tile_width) {
            const int k = begin + d;
            // Both ways the sum runs as the weights lie in memory.
            const int channel = backwards ? k / taps : k % in;
            const int tap = backwards ? taps - 1 - k % taps : k / in;
            const int r = row + tap / g.kernel_columns;
            const int c = column + tap % g.kernel_columns;
            float value = 0.0F;
            if (k < depth && pixel < pixels && r >= 0 && r < g.in_rows && c >= 0 && c < g.in_columns) {
                const std::size_t plane = image * static_cast<std::size_t>(in) + static_cast<std::size_t>(channel);
                value = x[(plane * static_cast<std::size_t>(g.in_rows) + static_cast<std::size_t>(r)) *
                              static_cast<std::size_t>(g.in_columns) +
                          static_cast<std::size_t>(c)];
            }
            pixel_tile[d * tile_pitch + thread % tile_width] = value;
        }
        for (int i = thread; i < tile_depth * tile_width; i += conv2d_threads) {
            const int d = backwards ? i / tile_width : i % tile_depth;
            const int o = backwards ? i % tile_width : i / tile_depth;
            const int k = begin + d;
            float value = 0.0F;
            if (k < depth && first_out + o < out) {
                value = backwards ? weights[k * out + first_out + o] : weights[(first_out + o) * depth + k];
            }
            weight_tile[d * tile_pitch + o] = value;
        }
        __syncthreads();
        sums.add(pixel_tile, weight_tile, thread);
    }
    sums.end_chain();

    const int channel = first_out + thread % 16 * 4;
#if defined(__CUDA_ARCH__)
#pragma unroll // the sums stay in registers
#endif
    for (int i = 0; i < 4; ++i) {
        const std::size_t p = first_pixel + static_cast<std::size_t>(thread / 16 * 4 + i);
        if (p < pixels) {
            write_channels(sums.total[i], p * static_cast<std::size_t>(out), p / image_pixels, channel, out, bias,
                           residual, then, y_quads, y);
        }
    }
}

/// The tile of pixels that a block of conv2d_to_image_kernel makes. Its threads are four groups, each of which sums
/// over a quarter of the channels; a thread has four pixels, one below the other.
struct image_tile {
    static constexpr int rows = 8;
    static constexpr int columns = 32;
    static constexpr int rows_per_thread = 4;
    static constexpr int groups = conv2d_threads * rows_per_thread / (rows * columns);
    static constexpr int chunk = 16; ///< channels in block memory at a time
    static constexpr int chunk_per_group = chunk / groups;

    /// Floats from channel to channel in block memory: 2 more than a multiple of 8, so that the neighbouring channels
    /// and pixels that a warp stores lie in 32 banks.
    REPAINT_HOST_DEVICE static constexpr int plane(int kernel_rows, int kernel_columns) {
        const int pixels = (rows + kernel_rows - 1) * (columns + kernel_columns - 1);
        return ceil_div(pixels - 2, 8) * 8 + 2;
    }

    REPAINT_HOST_DEVICE static constexpr int padded(int outs) { return ceil_div(outs, 4) * 4; }
};

/// Forwards: out (at most outs) channels of y from x. Backwards (x is dy, y is dx): the weights are
/// [channel of x][kernel row][kernel column][out] then. vectors: x takes accesses of sixteen bytes.
template <class T, int outs, bool backwards, bool vectors>
__global__ __launch_bounds__(conv2d_threads) void conv2d_to_image_kernel(part<T> x, const float* weights, int out,
                                                                         image_conv2d_geometry g, const float* bias,
                                                                         conv2d_residual<float> residual,
                                                                         activation then, float* y) {
    using tile = image_tile;
    constexpr int pitch = tile::padded(outs);
    const int thread = static_cast<int>(threadIdx.x);
    const int taps = g.kernel_rows * g.kernel_columns;
    const int plane = tile::plane(g.kernel_rows, g.kernel_columns);
    const int patch_columns = tile::columns + g.kernel_columns - 1;
    const int patch = (tile::rows + g.kernel_rows - 1) * patch_columns;
    float* const pixels = block_memory<float>();          // [chunk][plane]
    float* const taps_now = pixels + tile::chunk * plane; // [tap][chunk][pitch]

    const auto tiles_across = static_cast<unsigned>(ceil_div(g.out_columns, tile::columns));
    const auto tiles_down = static_cast<unsigned>(ceil_div(g.out_rows, tile::rows));
    const int first_column = static_cast<int>(blockIdx.x % tiles_across) * tile::columns;
    const int first_row = static_cast<int>(blockIdx.x / tiles_across % tiles_down) * tile::rows;
    const std::size_t image = blockIdx.x / tiles_across / tiles_down;

    const int column = thread % tile::columns;
    const int row = thread / tile::columns % (tile::rows / tile::rows_per_thread) * tile::rows_per_thread;
    const int group = thread / (conv2d_threads / tile::groups);

    float sums[tile::rows_per_thread][std::size_t{outs}] = {};
    for (int begin = 0; begin < x.channels; begin += tile::chunk) {
        __syncthreads(); // the channels before are done with
        constexpr int width = vectors ? vector_width<T> : 1;
        constexpr int per_pixel = tile::chunk / width;
        constexpr int ahead = 4; // loads under way
        for (int base = thread; base < patch * per_pixel; base += ahead * conv2d_threads) {
            packed_channels<T, width> loaded[ahead];
            for (int k = 0; k < ahead; ++k) {
                const int i = base + k * conv2d_threads;
                const int p = i / per_pixel;
                const int c = i % per_pixel * width;
                const int r = first_row + g.first_row + p / patch_columns;
                const int s = first_column + g.first_column + p % patch_columns;
                loaded[k] = {};
                if (p < patch && begin + c < x.channels && r >= 0 && r < g.in_rows && s >= 0 && s < g.in_columns) {
                    const std::size_t read =
                        (image * static_cast<std::size_t>(g.in_rows) + static_cast<std::size_t>(r)) *
                            static_cast<std::size_t>(g.in_columns) +
                        static_cast<std::size_t>(s);
                    loaded[k] = packed_channels<T, width>::load(x.data + read * static_cast<std::size_t>(x.stride) +
                                                                static_cast<std::size_t>(begin + c));
                }
            }
            for (int k = 0; k < ahead; ++k) {
                const int i = base + k * conv2d_threads;
                if (i < patch * per_pixel) {
                    const auto values = loaded[k].unpacked();
                    for (int e = 0; e < width; ++e) {
                        pixels[(i % per_pixel * width + e) * plane + i / per_pixel] = values.values[e];
                    }
                }
            }
        }
        for (int i = thread; i < taps * tile::chunk * pitch; i += conv2d_threads) {
            const int o = i % pitch;
            const int c = begin + i / pitch % tile::chunk;
            const int tap = i / pitch / tile::chunk;
            float value = 0.0F;
            if (o < out && c < x.channels) {
                value = backwards ? weights[(c * taps + taps - 1 - tap) * out + o]
                                  : weights[(o * taps + tap) * x.channels + c];
            }
            taps_now[i] = value;
        }
        __syncthreads();
        for (int c = group * tile::chunk_per_group; c < (group + 1) * tile::chunk_per_group; ++c) {
            const float* w = taps_now + c * pitch;
            for (int a = 0; a < g.kernel_rows; ++a) {
                const float* from = pixels + c * plane + (row + a) * patch_columns + column;
                for (int b = 0; b < g.kernel_columns; ++b, w += tile::chunk * pitch, ++from) {
                    float now[std::size_t{pitch}];
                    for (int o = 0; o < pitch; o += 4) {
                        const quad<float> four = quad<float>::load(w + o);
                        for (int e = 0; e < 4; ++e) {
                            now[o + e] = four.values[e];
                        }
                    }
                    for (int i = 0; i < tile::rows_per_thread; ++i) {
                        const float value = from[i * patch_columns];
                        for (int o = 0; o < outs; ++o) {
                            sums[i][o] += value * now[o];
                        }
                    }
                }
            }
        }
    }

    // The groups' sums, [group][channel][pixel], where the pixels were.
    constexpr int area = tile::rows * tile::columns;
    __syncthreads();
    for (int i = 0; i < tile::rows_per_thread; ++i) {
        for (int o = 0; o < outs; ++o) {
            pixels[(group * outs + o) * area + (row + i) * tile::columns + column] = sums[i][o];
        }
    }
    __syncthreads();
    const int y_row = first_row + thread / tile::columns;
    const int y_column = first_column + thread % tile::columns;
    if (y_row >= g.out_rows || y_column >= g.out_columns) {
        return;
    }
    for (int o = 0; o < out; ++o) {
        float value = 0.0F;
        for (int from = 0; from < tile::groups; ++from) {
            value += pixels[(from * outs + o) * area + thread];
        }
        if (bias != nullptr) {
            value += bias[o];
        }
        const std::size_t at = ((image * static_cast<std::size_t>(out) + static_cast<std::size_t>(o)) *
                                    static_cast<std::size_t>(g.out_rows) +
                                static_cast<std::size_t>(y_row)) *
                                   static_cast<std::size_t>(g.out_columns) +
                               static_cast<std::size_t>(y_column);
        y[at] = activated(then, value + residual.at(at, image, o, out));
    }
}

template <bool backwards, class T>
void launch_conv2d_from_image(const char* name, const float* x, int in, const float* weights, int out,
                              const image_conv2d_geometry& g, const float* bias, const conv2d_residual<T>& residual,
                              activation then, T* y, cudaStream_t stream) {
    const std::size_t pixels = static_cast<std::size_t>(g.images) * static_cast<std::size_t>(g.out_rows) *
                               static_cast<std::size_t>(g.out_columns);
    const dim3 blocks(static_cast<unsigned>(ceil_div(pixels, std::size_t{tile_width}) *
                                            static_cast<std::size_t>(ceil_div(out, tile_width))));
    const bool y_quads = out % 4 == 0 && takes_quads(y) && takes_quads(residual.pixels);
    launch(name, conv2d_from_image_kernel<T, backwards>, blocks, conv2d_threads, tile_bytes / 2, stream, x, in, weights,
           out, g, bias, residual, then, y_quads, y);
}

template <int outs, bool backwards, class T>
void launch_conv2d_to_image(const char* name, part<T> x, const float* weights, int out, const image_conv2d_geometry& g,
                            const float* bias, const conv2d_residual<float>& residual, activation then, float* y,
                            cudaStream_t stream) {
    using tile = image_tile;
    const dim3 blocks(static_cast<unsigned>(ceil_div(g.out_columns, tile::columns)) *
                      static_cast<unsigned>(ceil_div(g.out_rows, tile::rows)) * static_cast<unsigned>(g.images));
    const int summing = tile::chunk * tile::plane(g.kernel_rows, g.kernel_columns) +
                        g.kernel_rows * g.kernel_columns * tile::chunk * tile::padded(outs);
    const int joining = tile::groups * outs * tile::rows * tile::columns;
    const std::size_t bytes = static_cast<std::size_t>(std::max(summing, joining)) * sizeof(float);
    constexpr int width = vector_width<T>;
    const bool vectors =
        x.channels % width == 0 && x.stride % width == 0 && reinterpret_cast<std::uintptr_t>(x.data) % 16 == 0;
    if (vectors) {
        launch(name, conv2d_to_image_kernel<T, outs, backwards, true>, blocks, conv2d_threads, bytes, stream, x,
               weights, out, g, bias, residual, then, y);
    } else {
        launch(name, conv2d_to_image_kernel<T, outs, backwards, false>, blocks, conv2d_threads, bytes, stream, x,
               weights, out, g, bias, residual, then, y);
    }
}

template <bool backwards, class T>
void launch_conv2d_to_image(const char* name, part<T> x, const float* weights, int out, const image_conv2d_geometry& g,
                            const float* bias, const conv2d_residual<float>& residual, activation then, float* y,
                            cudaStream_t stream) {
    if (out == 1) {
        launch_conv2d_to_image<1, backwards>(name, x, weights, out, g, bias, residual, then, y, stream);
    } else if (out <= 3) {
        launch_conv2d_to_image<3, backwards>(name, x, weights, out, g, bias, residual, then, y, stream);
    } else if (out <= 6) {
        launch_conv2d_to_image<6, backwards>(name, x, weights, out, g, bias, residual, then, y, stream);
    } else {
        launch_conv2d_to_image<most_image_channels, backwards>(name, x, weights, out, g, bias, residual, then, y,
                                                               stream);
    }
}

/// What a convolution with these options reads: x (n, c, h, w), kernel (out, c, rows, columns).
inline image_conv2d_geometry image_geometry(const shape4& x, const shape4& kernel, int padding) {
    return {x.n,      x.h,      x.w,     x.h + 2 * padding - kernel.h + 1, x.w + 2 * padding - kernel.w + 1, kernel.h,
            kernel.w, -padding, -padding};
}

/// The same, transposed: from dy to dx of the shape x.
inline image_conv2d_geometry image_geometry_vjp(const shape4& x, const shape4& kernel, int padding) {
    const image_conv2d_geometry g = image_geometry(x, kernel, padding);
    return {
        x.n, g.out_rows, g.out_columns, x.h, x.w, kernel.h, kernel.w, padding + 1 - kernel.h, padding + 1 - kernel.w};
}

/// True when the functions below take a convolution between an image of `image_channels` and an activation.
inline bool takes_image_conv2d(int image_channels, const shape4& kernel, const conv2d_options& options) {
    return image_channels >= 1 && image_channels <= most_image_channels && kernel.h <= most_image_kernel &&
           kernel.w <= most_image_kernel && options.stride == 1;
}

/// y = then(conv(x) + bias + residual), from an image. x: planar, (n, c, h, w), c at most 7; weights: [out][kernel
/// row][kernel column][c]; kernel: (out, c, rows, columns), at most 5x5; options: stride 1; bias: [out], or null; y:
/// [n][result rows][result columns][out].
template <class T>
void conv2d_from_image(const float* x, const shape4& shape, const float* weights, const shape4& kernel,
                       const float* bias, const conv2d_residual<T>& residual, const conv2d_options& options, T* y,
                       cudaStream_t stream) {
    launch_conv2d_from_image<false>("conv2d of an image", x, shape.c, weights, kernel.n,
                                    image_geometry(shape, kernel, options.padding), bias, residual, options.then, y,
                                    stream);
}

/// dx of conv2d_from_image, all of it, planar, of the shape `shape`. dy: (n, out, result rows, result columns).
template <class T>
void conv2d_from_image_vjp(part<T> dy, const float* weights, const shape4& kernel, const conv2d_options& options,
                           float* dx, const shape4& shape, cudaStream_t stream) {
    launch_conv2d_to_image<true>("conv2d_vjp of an image", dy, weights, kernel.c,
                                 image_geometry_vjp(shape, kernel, options.padding), nullptr, conv2d_residual<float>{},
                                 activation::none, dx, stream);
}

/// y = then(conv(x) + bias + residual), to an image. x: (n, c, h, w); weights: [out][kernel row][kernel column][c];
/// kernel: (out, c, rows, columns), out at most 7, at most 5x5; options: stride 1; bias: [out], or null; y,
/// residual.pixels: planar.
template <class T>
void conv2d_to_image(part<T> x, const shape4& shape, const float* weights, const shape4& kernel, const float* bias,
                     const conv2d_residual<float>& residual, const conv2d_options& options, float* y,
                     cudaStream_t stream) {
    launch_conv2d_to_image<false>("conv2d to an image", x, weights, kernel.n,
                                  image_geometry(shape, kernel, options.padding), bias, residual, options.then, y,
                                  stream);
}

/// dx of conv2d_to_image, all of it: [n][h][w][c], (n, c, h, w) the shape `shape`. dy: planar.
template <class T>
void conv2d_to_image_vjp(const float* dy, const float* weights, const shape4& kernel, const conv2d_options& options,
                         T* dx, const shape4& shape, cudaStream_t stream) {
    launch_conv2d_from_image<true>("conv2d_vjp to an image", dy, kernel.n, weights, shape.c,
                                   image_geometry_vjp(shape, kernel, options.padding), nullptr, conv2d_residual<T>{},
                                   activation::none, dx, stream);
}

} // namespace repaint::detail::cuda
