#pragma once

#include <algorithm>
#include <cstddef>

#include <repaint/backend/cuda/conv2d_tile.cuh>
#include <repaint/backend/cuda/part.cuh>
#include <repaint/backend/cuda/runtime.cuh>
#include <repaint/core/options.hpp>
#include <repaint/core/shape.hpp>

/// Convolutions of activations without a library: any kernel, stride and padding, forwards, transposed, and after a
/// nearest-neighbour doubling; accumulation in float, in an order that depends on the weights' shape alone.
///
/// A convolution is the product of a matrix of pixels (a row for each result pixel: its taps' channels, gathered on the
/// way) and the matrix of weights. A block makes 64 pixels by 64 channels of the result. So for each 64 result channels
/// every tap of x is read once (neighbouring taps from the caches), for each 64 result pixels the weights are read
/// once, residual is read once and y is written once.
namespace repaint::detail::cuda {

/// Result pixels of one image that all meet the same taps. Pixel (i, j) of `rows` x `columns` is pixel (y_row + i *
/// y_step, y_column + j * y_step) of y; its tap (a, b) reads x at (x_row + i * x_step + a * tap_direction, ...) and is
/// tap (kernel_row + a * kernel_step, ...) of the weights.
struct conv2d_phase {
    int rows = 0;
    int columns = 0;
    int y_row = 0;
    int y_column = 0;
    int x_row = 0;
    int x_column = 0;
    int taps_down = 0;
    int taps_across = 0;
    int kernel_row = 0;
    int kernel_column = 0;
};

/// Up to four phases at a time; blockIdx.y says which one a block belongs to.
struct conv2d_phases {
    static constexpr int most = 4;

    int images = 0;
    shape4 x; ///< what is read; c: all parts together
    shape4 y; ///< what is written
    int kernel_rows = 0;
    int kernel_columns = 0;
    int y_step = 1;
    int x_step = 1;
    int tap_direction = 1;
    int kernel_step = 1;
    std::size_t weights_step = 0; ///< elements from the weights of one phase to those of the next
    int count = 0;
    conv2d_phase each[most];
};

/// Where a thread is in the sum over taps and channels, which runs channel by channel, then tap by tap.
struct conv2d_place {
    int row = 0;
    int column = 0;
    int channel = 0;

    __device__ void advance(int by, int channels, int taps_across) {
        channel += by;
        while (channel >= channels) {
            channel -= channels;
            if (++column == taps_across) {
                column = 0;
                ++row;
            }
        }
    }
};

/// The weights are [out][kernel row][kernel column][in]. Transposed: the sum is over their out, the result has their in
/// as channels. quads: channels and addresses allow access to four elements at a time.
template <class T, class W, bool transposed, bool quads>
__global__ __launch_bounds__(conv2d_threads) void conv2d_direct_kernel(part<T> first, part<T> second, const W* weights,
                                                                       conv2d_phases geometry, const float* bias,
                                                                       conv2d_residual<T> residual, activation then,
                                                                       bool y_quads, T* y) {
    const conv2d_phase phase = geometry.each[blockIdx.y];
    weights += blockIdx.y * geometry.weights_step;
    const int in = geometry.x.c;
    const int out = geometry.y.c;
    const auto out_tiles = static_cast<unsigned>(ceil_div(out, tile_width));
    const std::size_t image_pixels = static_cast<std::size_t>(phase.rows) * static_cast<std::size_t>(phase.columns);
    const std::size_t pixels = static_cast<std::size_t>(geometry.images) * image_pixels;
    const std::size_t first_pixel = static_cast<std::size_t>(blockIdx.x / out_tiles) * tile_width;
    const int first_out = static_cast<int>(blockIdx.x % out_tiles) * tile_width;
    if (first_pixel >= pixels) {
        return; // another phase has more pixels
    }
    const int thread = static_cast<int>(threadIdx.x);
    float* const memory = block_memory<float>();

    // Of the pixels' matrix a thread loads four channels of one pixel.
    const int loaded_pixel = thread / 4;
    const int loaded_depth = thread % 4 * 4;
    const std::size_t pixel = first_pixel + static_cast<std::size_t>(loaded_pixel);
    const std::size_t image = pixel / image_pixels;
    const int in_image = static_cast<int>(pixel % image_pixels);
    const int x_row = phase.x_row + in_image / phase.columns * geometry.x_step;
    const int x_column = phase.x_column + in_image % phase.columns * geometry.x_step;
    conv2d_place at;
    at.advance(loaded_depth, in, phase.taps_across);

    // Of the weights' matrix four of a column: as above, or, transposed, four of a row, which are neighbours then.
    const int loaded_out = transposed ? first_out + thread % 16 * 4 : first_out + thread / 4;
    conv2d_place row_at;
    row_at.advance(transposed ? thread / 16 : 0, in, phase.taps_across);

    const auto x_element = [&](const conv2d_place& p, const T*& from) {
        const int row = x_row + p.row * geometry.tap_direction;
        const int column = x_column + p.column * geometry.tap_direction;
        if (p.row >= phase.taps_down || pixel >= pixels || row < 0 || row >= geometry.x.h || column < 0 ||
            column >= geometry.x.w) {
            return false;
        }
        const std::size_t read = (image * static_cast<std::size_t>(geometry.x.h) + static_cast<std::size_t>(row)) *
                                     static_cast<std::size_t>(geometry.x.w) +
                                 static_cast<std::size_t>(column);
        from = p.channel < first.channels
                   ? first.data + read * static_cast<std::size_t>(first.stride) + static_cast<std::size_t>(p.channel)
                   : second.data + read * static_cast<std::size_t>(second.stride) +
                         static_cast<std::size_t>(p.channel - first.channels);
        return true;
    };
    const auto weights_tap = [&](const conv2d_place& p) {
        return static_cast<std::size_t>(phase.kernel_row + p.row * geometry.kernel_step) *
                   static_cast<std::size_t>(geometry.kernel_columns) +
               static_cast<std::size_t>(phase.kernel_column + p.column * geometry.kernel_step);
    };
    const std::size_t kernel_taps =
        static_cast<std::size_t>(geometry.kernel_rows) * static_cast<std::size_t>(geometry.kernel_columns);

    float x_values[4];
    float w_values[4];
    const auto load = [&] {
        for (int e = 0; e < 4; ++e) {
            x_values[e] = 0.0F;
            w_values[e] = 0.0F;
        }
        if constexpr (quads) {
            const T* from = nullptr;
            if (x_element(at, from)) {
                const quad<T> four = quad<T>::load(from);
                for (int e = 0; e < 4; ++e) {
                    x_values[e] = four.values[e];
                }
            }
        } else {
            conv2d_place p = at;
            for (int e = 0; e < 4; ++e) {
                const T* from = nullptr;
                if (x_element(p, from)) {
                    x_values[e] = to_float(*from);
                }
                p.advance(1, in, phase.taps_across);
            }
        }
        if constexpr (transposed) {
            if (row_at.row < phase.taps_down) {
                const W* from =
                    weights + (static_cast<std::size_t>(row_at.channel) * kernel_taps + weights_tap(row_at)) *
                                  static_cast<std::size_t>(out);
                if constexpr (quads) {
                    if (loaded_out < out) {
                        const quad<W> four = quad<W>::load(from + loaded_out);
                        for (int e = 0; e < 4; ++e) {
                            w_values[e] = four.values[e];
                        }
                    }
                } else {
                    for (int e = 0; e < 4; ++e) {
                        if (loaded_out + e < out) {
                            w_values[e] = to_float(from[loaded_out + e]);
                        }
                    }
                }
            }
        } else if (loaded_out < out) {
            const W* from = weights + static_cast<std::size_t>(loaded_out) * kernel_taps * static_cast<std::size_t>(in);
            if constexpr (quads) {
                if (at.row < phase.taps_down) {
                    const quad<W> four = quad<W>::load(from + weights_tap(at) * static_cast<std::size_t>(in) +
                                                       static_cast<std::size_t>(at.channel));
                    for (int e = 0; e < 4; ++e) {
                        w_values[e] = four.values[e];
                    }
                }
            } else {
                conv2d_place p = at;
                for (int e = 0; e < 4; ++e) {
                    if (p.row < phase.taps_down) {
                        w_values[e] = to_float(
                            from[weights_tap(p) * static_cast<std::size_t>(in) + static_cast<std::size_t>(p.channel)]);
                    }
                    p.advance(1, in, phase.taps_across);
                }
            }
        }
        at.advance(tile_depth, in, phase.taps_across);
        if constexpr (transposed) {
            row_at.advance(tile_depth, in, phase.taps_across);
        }
    };
    const auto store = [&](float* tile) {
        for (int e = 0; e < 4; ++e) {
            tile[(loaded_depth + e) * tile_pitch + loaded_pixel] = x_values[e];
        }
        float* const w = tile + tile_floats;
        if constexpr (transposed) {
            for (int e = 0; e < 4; ++e) {
                w[thread / 16 * tile_pitch + thread % 16 * 4 + e] = w_values[e];
            }
        } else {
            for (int e = 0; e < 4; ++e) {
                w[(loaded_depth + e) * tile_pitch + loaded_pixel] = w_values[e];
            }
        }
    };

    const int steps = ceil_div(phase.taps_down * phase.taps_across * in, tile_depth);
    tile_sums sums;
    if (steps > 0) {
        load();
        store(memory);
        __syncthreads();
    }
    for (int step = 0; step < steps; ++step) {
        const float* const tile = memory + step % 2 * 2 * tile_floats;
        if (step + 1 < steps) {
            load();
        }
        sums.add(tile, tile + tile_floats, thread);
        if (step + 1 < steps) {
            store(memory + (step + 1) % 2 * 2 * tile_floats);
            __syncthreads();
        }
    }
    sums.end_chain();

    const int channel = first_out + thread % 16 * 4;
#if defined(__CUDA_ARCH__)
#pragma unroll // the sums stay in registers
#endif
    for (int i = 0; i < 4; ++i) {
        const std::size_t p = first_pixel + static_cast<std::size_t>(thread / 16 * 4 + i);
        if (p >= pixels) {
            continue;
        }
        const std::size_t n = p / image_pixels;
        const int within = static_cast<int>(p % image_pixels);
        const int row = phase.y_row + within / phase.columns * geometry.y_step;
        const int column = phase.y_column + within % phase.columns * geometry.y_step;
        const std::size_t base = ((n * static_cast<std::size_t>(geometry.y.h) + static_cast<std::size_t>(row)) *
                                      static_cast<std::size_t>(geometry.y.w) +
                                  static_cast<std::size_t>(column)) *
                                 static_cast<std::size_t>(out);
        write_channels(sums.total[i], base, n, channel, out, bias, residual, then, y_quads, y);
    }
}

/// Launches up to conv2d_phases::most phases.
template <bool transposed, class T, class W>
void launch_conv2d_direct(const char* name, part<T> first, part<T> second, const W* weights,
                          const conv2d_phases& geometry, const float* bias, const conv2d_residual<T>& residual,
                          activation then, T* y, cudaStream_t stream) {
    std::size_t pixels = 0;
    for (int i = 0; i < geometry.count; ++i) {
        pixels = std::max(pixels, static_cast<std::size_t>(geometry.images) *
                                      static_cast<std::size_t>(geometry.each[i].rows) *
                                      static_cast<std::size_t>(geometry.each[i].columns));
    }
    const int out = geometry.y.c;
    const bool divisible = first.channels % 4 == 0 && second.channels % 4 == 0 && first.stride % 4 == 0 &&
                           second.stride % 4 == 0 && geometry.weights_step % 4 == 0 && (!transposed || out % 4 == 0);
    const bool quads = divisible && takes_quads(first.data) && takes_quads(second.data) && takes_quads(weights);
    const bool y_quads = out % 4 == 0 && takes_quads(y) && takes_quads(residual.pixels);
    const dim3 blocks(static_cast<unsigned>(ceil_div(pixels, std::size_t{tile_width}) *
                                            static_cast<std::size_t>(ceil_div(out, tile_width))),
                      static_cast<unsigned>(geometry.count));
    if (quads) {
        launch(name, conv2d_direct_kernel<T, W, transposed, true>, blocks, conv2d_threads, tile_bytes, stream, first,
               second, weights, geometry, bias, residual, then, y_quads, y);
    } else {
        launch(name, conv2d_direct_kernel<T, W, transposed, false>, blocks, conv2d_threads, tile_bytes, stream, first,
               second, weights, geometry, bias, residual, then, y_quads, y);
    }
}

/// y = then(conv(x) + bias + residual) of x joined of two parts (the second may have no channels).
/// x: (n, c, h, w), c that of both parts together. weights: [out][kernel row][kernel column][c]; kernel: (out, c, rows,
/// columns). bias: [out], or null. y: [n][result rows][result columns][out].
template <class T, class W>
void conv2d_direct(part<T> first, part<T> second, const shape4& x, const W* weights, const shape4& kernel,
                   const float* bias, const conv2d_residual<T>& residual, const conv2d_options& options, T* y,
                   cudaStream_t stream) {
    conv2d_phases g;
    g.images = x.n;
    g.x = x;
    g.y = {x.n, kernel.n, (x.h + 2 * options.padding - kernel.h) / options.stride + 1,
           (x.w + 2 * options.padding - kernel.w) / options.stride + 1};
    g.kernel_rows = kernel.h;
    g.kernel_columns = kernel.w;
    g.x_step = options.stride;
    g.count = 1;
    conv2d_phase& all = g.each[0];
    all.rows = g.y.h;
    all.columns = g.y.w;
    all.x_row = -options.padding;
    all.x_column = -options.padding;
    all.taps_down = kernel.h;
    all.taps_across = kernel.w;
    launch_conv2d_direct<false>("conv2d", first, second, weights, g, bias, residual, options.then, y, stream);
}

/// The same of x in one part.
template <class T, class W>
void conv2d_direct(part<T> x, const shape4& shape, const W* weights, const shape4& kernel, const float* bias,
                   const conv2d_residual<T>& residual, const conv2d_options& options, T* y, cudaStream_t stream) {
    conv2d_direct(x, part<T>{nullptr, 0, 0}, shape, weights, kernel, bias, residual, options, y, stream);
}

/// dx = conv^T(dy), all of it, with the weights of the convolution as they are. dy: (n, out, result rows, result
/// columns) of the convolution; kernel: (out, c, rows, columns); dx: [n][h][w][c]. Pixels of dx that are a stride apart
/// meet the same taps: each of the stride^2 such sets sums over its taps alone.
template <class T, class W>
void conv2d_direct_vjp(part<T> dy, const shape4& dy_shape, const W* weights, const shape4& kernel,
                       const conv2d_options& options, T* dx, const shape4& dx_shape, cudaStream_t stream) {
    const int step = options.stride;
    conv2d_phases g;
    g.images = dx_shape.n;
    g.x = dy_shape;
    g.y = dx_shape;
    g.kernel_rows = kernel.h;
    g.kernel_columns = kernel.w;
    g.y_step = step;
    g.tap_direction = -1;
    g.kernel_step = step;
    const auto flush = [&] {
        launch_conv2d_direct<true>("conv2d_vjp", dy, part<T>{nullptr, 0, 0}, weights, g, nullptr, conv2d_residual<T>{},
                                   activation::none, dx, stream);
        g.count = 0;
    };
    for (int top = 0; top < std::min(step, dx_shape.h); ++top) {
        for (int left = 0; left < std::min(step, dx_shape.w); ++left) {
            conv2d_phase& p = g.each[g.count++];
            p.rows = ceil_div(dx_shape.h - top, step);
            p.columns = ceil_div(dx_shape.w - left, step);
            p.y_row = top;
            p.y_column = left;
            p.kernel_row = (top + options.padding) % step;
            p.kernel_column = (left + options.padding) % step;
            p.x_row = (top + options.padding) / step;
            p.x_column = (left + options.padding) / step;
            // Where the stride is larger than the kernel, some pixels meet no tap.
            p.taps_down = std::max(0, ceil_div(kernel.h - p.kernel_row, step));
            p.taps_across = std::max(0, ceil_div(kernel.w - p.kernel_column, step));
            if (p.taps_down == 0 || p.taps_across == 0) {
                p.taps_down = 0;
                p.taps_across = 0;
            }
            if (g.count == conv2d_phases::most) {
                flush();
            }
        }
    }
    if (g.count > 0) {
        flush();
    }
}

/// y = then(conv(double(x)) + bias + residual), a 3x3 convolution with padding 1 after a nearest-neighbour doubling,
/// without the doubled tensor: each of the four sets of result pixels with the same parities is a 2x2 convolution of x.
/// x: (n, c, h, w), in two parts (the second may have no channels). folded: [4][out][2][2][c], fold_doubled's.
/// y: [n][2h][2w][out]; residual: for y.
template <class T, class W>
void conv2d_doubled(part<T> first, part<T> second, const shape4& x, const W* folded, int out, const float* bias,
                    const conv2d_residual<T>& residual, activation then, T* y, cudaStream_t stream) {
    conv2d_phases g;
    g.images = x.n;
    g.x = x;
    g.y = {x.n, out, 2 * x.h, 2 * x.w};
    g.kernel_rows = 2;
    g.kernel_columns = 2;
    g.y_step = 2;
    g.weights_step = static_cast<std::size_t>(out) * 4 * static_cast<std::size_t>(x.c);
    for (int row = 0; row < 2; ++row) {
        for (int column = 0; column < 2; ++column) {
            conv2d_phase& p = g.each[g.count++];
            p.rows = x.h;
            p.columns = x.w;
            p.y_row = row;
            p.y_column = column;
            p.x_row = row - 1;
            p.x_column = column - 1;
            p.taps_down = 2;
            p.taps_across = 2;
        }
    }
    launch_conv2d_direct<false>("conv2d_doubled", first, second, folded, g, bias, residual, then, y, stream);
}

/// The same of x in one part.
template <class T, class W>
void conv2d_doubled(part<T> x, const shape4& shape, const W* folded, int out, const float* bias,
                    const conv2d_residual<T>& residual, activation then, T* y, cudaStream_t stream) {
    conv2d_doubled(x, part<T>{nullptr, 0, 0}, shape, folded, out, bias, residual, then, y, stream);
}

} // namespace repaint::detail::cuda
