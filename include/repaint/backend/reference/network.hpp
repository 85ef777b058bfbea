#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <numeric>
#include <vector>

// First, and kept apart from the next: xtensor-blas 0.21 (Debian 13) reads its kernels before its own configuration,
// and without HAVE_CBLAS every product runs in a plain loop.
#include <xtensor-blas/xblas_config.hpp>

#include <xtensor-blas/xblas.hpp>

#include <repaint/backend/reference/xtensor.hpp>
#include <repaint/core/host_weights.hpp>
#include <repaint/core/options.hpp>
#include <repaint/core/shape.hpp>

/// The network primitives of reference_backend on NCHW xtensors, one image at a time so that image i of a batch takes
/// the very same steps as image i alone. Shapes were checked by ops.hpp.
namespace repaint::detail::reference {

template <class T> using array4 = xt::xtensor<T, 4>;
/// Products are summed in double: what judges the rounding of others should have less of its own.
using matrix = xt::xtensor<double, 2>;

/// A row-major matrix over memory owned by someone else.
template <class T> auto matrix_view(const T* data, std::size_t rows, std::size_t columns) {
    return xt::adapt(data, rows * columns, xt::no_ownership(), std::array<std::size_t, 2>{rows, columns});
}

template <class T> std::size_t extent(const array4<T>& x, std::size_t axis) { return x.shape()[axis]; }

template <class T> const T* image(const array4<T>& x, std::size_t n) {
    return x.data() + n * extent(x, 1) * extent(x, 2) * extent(x, 3);
}
template <class T> T* image(array4<T>& x, std::size_t n) {
    return x.data() + n * extent(x, 1) * extent(x, 2) * extent(x, 3);
}

/// relu lets a NaN through: it stays visible.
template <class T> T activate(activation f, T x) {
    switch (f) {
    case activation::silu: return x / (T{1} + std::exp(-x));
    case activation::relu: return x < T{0} ? T{0} : x;
    default: return x;
    }
}

/// What one row of output pixels reads through one element of the kernel: output column i in [first, last) reads the
/// input plane at offset + i * stride, the columns left and right of them read padding.
struct tap {
    std::ptrdiff_t first = 0;
    std::ptrdiff_t last = 0;
    std::ptrdiff_t offset = 0;
};

/// The tap of kernel element (kernel_row, kernel_column) at an output row, over an input plane of rows x columns.
inline tap tap_of(std::size_t rows, std::size_t columns, const conv2d_options& options, std::size_t kernel_row,
                  std::size_t kernel_column, std::size_t output_row, std::size_t output_columns) {
    const auto height = static_cast<std::ptrdiff_t>(rows);
    const auto width = static_cast<std::ptrdiff_t>(columns);
    const auto outputs = static_cast<std::ptrdiff_t>(output_columns);
    const auto y = static_cast<std::ptrdiff_t>(output_row) * options.stride + static_cast<std::ptrdiff_t>(kernel_row) -
                   options.padding;
    if (y < 0 || y >= height) {
        return {};
    }
    // The first output column at or right of an input column.
    const auto at_least = [&](std::ptrdiff_t column) {
        return column <= 0 ? 0 : (column + options.stride - 1) / options.stride;
    };
    const auto start = static_cast<std::ptrdiff_t>(kernel_column) - options.padding;
    const auto first = std::min(outputs, at_least(-start));
    return {first, std::clamp(at_least(width - start), first, outputs), y * width + start};
}

/// The most rows of an output whose patches stay under 4 MB.
inline std::size_t strip_rows(const shape4& kernel, std::size_t rows, std::size_t columns) {
    const std::size_t depth = static_cast<std::size_t>(kernel.c) * kernel.plane();
    return std::clamp<std::size_t>((std::size_t{1} << 19) / (depth * columns), 1, rows);
}

/// The patches that output rows [first_row, last_row) look at, one column per output pixel: (c * k * k, pixels).
template <class T>
matrix patches(const T* x, const array4<T>& like, const shape4& kernel, const conv2d_options& options,
               std::size_t first_row, std::size_t last_row, std::size_t output_columns) {
    const std::size_t rows = extent(like, 2);
    const std::size_t columns = extent(like, 3);
    const auto channels = static_cast<std::size_t>(kernel.c);
    const auto kernel_rows = static_cast<std::size_t>(kernel.h);
    const auto kernel_columns = static_cast<std::size_t>(kernel.w);
    matrix result({channels * kernel_rows * kernel_columns, (last_row - first_row) * output_columns});
    double* out = result.data();
    for (std::size_t c = 0; c < channels; ++c) {
        const T* plane = x + c * rows * columns;
        for (std::size_t ky = 0; ky < kernel_rows; ++ky) {
            for (std::size_t kx = 0; kx < kernel_columns; ++kx) {
                for (std::size_t row = first_row; row < last_row; ++row) {
                    const tap t = tap_of(rows, columns, options, ky, kx, row, output_columns);
                    out = std::fill_n(out, t.first, 0.0);
                    for (auto column = t.first; column < t.last; ++column) {
                        *out++ = static_cast<double>(plane[t.offset + column * options.stride]);
                    }
                    out = std::fill_n(out, static_cast<std::ptrdiff_t>(output_columns) - t.last, 0.0);
                }
            }
        }
    }
    return result;
}

/// y = then(conv(x) + bias + residual): patches times weights, in strips of rows.
template <class T>
void conv2d(const array4<T>& x, const host_weights& weights, const float* bias, const array4<T>* residual,
            const conv2d_options& options, array4<T>& y) {
    const shape4 kernel = weights.shape;
    const auto depth = static_cast<std::size_t>(kernel.c) * kernel.plane();
    const auto channels = static_cast<std::size_t>(kernel.n);
    const std::size_t rows = extent(y, 2);
    const std::size_t columns = extent(y, 3);
    const bool pointwise = kernel.plane() == 1 && options.stride == 1 && options.padding == 0;
    const std::size_t strip = pointwise ? rows : strip_rows(kernel, rows, columns);
    const matrix weight_matrix = matrix_view(weights.values.get(), channels, depth);
    for (std::size_t n = 0; n < extent(x, 0); ++n) {
        for (std::size_t first = 0; first < rows; first += strip) {
            const std::size_t last = std::min(first + strip, rows);
            const std::size_t pixels = (last - first) * columns;
            matrix product({channels, pixels});
            if (pointwise) {
                const matrix input = matrix_view(image(x, n), depth, pixels);
                xt::blas::gemm(weight_matrix, input, product);
            } else {
                xt::blas::gemm(weight_matrix, patches(image(x, n), x, kernel, options, first, last, columns), product);
            }
            for (std::size_t c = 0; c < channels; ++c) {
                const double* from = product.data() + c * pixels;
                T* to = image(y, n) + (c * rows + first) * columns;
                T constant = bias == nullptr ? T{0} : static_cast<T>(bias[c]);
                const T* addend = nullptr;
                if (residual != nullptr) {
                    const std::size_t r = extent(*residual, 0) == 1 ? 0 : n;
                    if (extent(*residual, 2) * extent(*residual, 3) == rows * columns) {
                        addend = image(*residual, r) + (c * rows + first) * columns;
                    } else {
                        constant += image(*residual, r)[c];
                    }
                }
                for (std::size_t i = 0; i < pixels; ++i) {
                    const T value = static_cast<T>(from[i]) + constant + (addend == nullptr ? T{0} : addend[i]);
                    to[i] = activate(options.then, value);
                }
            }
        }
    }
}

/// Of the values of one group: x -> (x - mean) * inverse has mean 0 and variance 1.
struct group_statistics {
    double mean = 0.0;
    double inverse = 0.0;
};

/// In double, in two passes.
template <class T> group_statistics statistics_of(const T* in, std::size_t count, float epsilon) {
    double mean = 0.0;
    for (std::size_t i = 0; i < count; ++i) {
        mean += static_cast<double>(in[i]);
    }
    mean /= static_cast<double>(count);
    double variance = 0.0;
    for (std::size_t i = 0; i < count; ++i) {
        const double d = static_cast<double>(in[i]) - mean;
        variance += d * d;
    }
    variance /= static_cast<double>(count);
    return {mean, 1.0 / std::sqrt(variance + static_cast<double>(epsilon))};
}

/// y = then((x - mean) / sqrt(variance + epsilon) * gamma + beta), scaled and shifted.
template <class T>
void group_norm(const array4<T>& x, const std::vector<float>& gamma, const std::vector<float>& beta,
                const array4<T>* scale_shift, const group_norm_options& options, array4<T>& y) {
    const std::size_t channels = extent(x, 1);
    const std::size_t pixels = extent(x, 2) * extent(x, 3);
    const std::size_t group_channels = channels / static_cast<std::size_t>(options.groups);
    for (std::size_t n = 0; n < extent(x, 0); ++n) {
        for (std::size_t first = 0; first < channels; first += group_channels) {
            const auto [mean, inverse] =
                statistics_of(image(x, n) + first * pixels, group_channels * pixels, options.epsilon);
            for (std::size_t c = first; c < first + group_channels; ++c) {
                T scale{1};
                T shift{0};
                if (scale_shift != nullptr) {
                    const T* s = image(*scale_shift, extent(*scale_shift, 0) == 1 ? 0 : n);
                    scale += s[c];
                    shift = s[channels + c];
                }
                const T* from = image(x, n) + c * pixels;
                T* to = image(y, n) + c * pixels;
                for (std::size_t i = 0; i < pixels; ++i) {
                    const auto normalised = static_cast<T>((static_cast<double>(from[i]) - mean) * inverse);
                    const T value = (normalised * static_cast<T>(gamma[c]) + static_cast<T>(beta[c])) * scale + shift;
                    to[i] = activate(options.then, value);
                }
            }
        }
    }
}

/// Tokens [first, first + count) of one head, one per row, times scale: (count, width).
template <class T>
matrix token_rows(const T* x, std::size_t width, std::size_t tokens, std::size_t first, std::size_t count,
                  double scale) {
    matrix rows({count, width});
    for (std::size_t d = 0; d < width; ++d) {
        for (std::size_t i = 0; i < count; ++i) {
            rows(i, d) = static_cast<double>(x[d * tokens + first + i]) * scale;
        }
    }
    return rows;
}

/// softmax(queries keys): how much of each value every query takes, (queries, tokens).
inline matrix attention_weights(const matrix& queries, const matrix& keys) {
    const std::size_t tokens = keys.shape()[1];
    matrix weights({queries.shape()[0], tokens});
    xt::blas::gemm(queries, keys, weights);
    for (std::size_t i = 0; i < queries.shape()[0]; ++i) {
        double* row = weights.data() + i * tokens;
        const double largest = *std::max_element(row, row + tokens);
        double sum = 0.0;
        for (std::size_t j = 0; j < tokens; ++j) {
            row[j] = std::exp(row[j] - largest);
            sum += row[j];
        }
        for (std::size_t j = 0; j < tokens; ++j) {
            row[j] /= sum;
        }
    }
    return weights;
}

/// Queries handled at once: bounds the memory of the weights.
inline constexpr std::size_t attention_strip = 256;

/// y = V softmax(Q^T K / sqrt(d))^T per head, in strips of queries. Q and K are each scaled by d^(-1/4), as the
/// checkpoints were trained: the products stay small.
template <class T> void attention(const array4<T>& qkv, int heads, array4<T>& y) {
    const std::size_t channels = extent(y, 1);
    const std::size_t tokens = extent(y, 2) * extent(y, 3);
    const std::size_t width = channels / static_cast<std::size_t>(heads);
    const double scale = 1.0 / std::sqrt(std::sqrt(static_cast<double>(width)));
    for (std::size_t n = 0; n < extent(y, 0); ++n) {
        for (std::size_t head = 0; head < static_cast<std::size_t>(heads); ++head) {
            const T* q = image(qkv, n) + head * width * tokens;
            const T* k = q + channels * tokens;
            const matrix keys = matrix_view(k, width, tokens) * scale;
            const matrix values = matrix_view(k + channels * tokens, width, tokens);
            for (std::size_t first = 0; first < tokens; first += attention_strip) {
                const std::size_t count = std::min(attention_strip, tokens - first);
                const matrix weights = attention_weights(token_rows(q, width, tokens, first, count, scale), keys);
                matrix result({width, count});
                xt::blas::gemm(values, weights, result, false, true);
                for (std::size_t d = 0; d < width; ++d) {
                    std::transform(result.data() + d * count, result.data() + (d + 1) * count,
                                   image(y, n) + (head * width + d) * tokens + first,
                                   [](double value) { return static_cast<T>(value); });
                }
            }
        }
    }
}

template <class T> array4<T> nearest_up(const array4<T>& x) {
    array4<T> y({extent(x, 0), extent(x, 1), 2 * extent(x, 2), 2 * extent(x, 3)});
    for (std::size_t dy = 0; dy < 2; ++dy) {
        for (std::size_t dx = 0; dx < 2; ++dx) {
            xt::view(y, xt::all(), xt::all(), xt::range(dy, xt::placeholders::_, 2),
                     xt::range(dx, xt::placeholders::_, 2)) = x;
        }
    }
    return y;
}

/// The sum of each 2x2 square.
template <class T> array4<T> sum_down(const array4<T>& x) {
    const auto square = [&x](std::size_t dy, std::size_t dx) {
        return xt::view(x, xt::all(), xt::all(), xt::range(dy, xt::placeholders::_, 2),
                        xt::range(dx, xt::placeholders::_, 2));
    };
    return square(0, 0) + square(0, 1) + square(1, 0) + square(1, 1);
}

template <class T> array4<T> average_down(const array4<T>& x) { return sum_down(x) * T{0.25}; }

/// Channels of a, then channels of b.
template <class T> array4<T> concat(const array4<T>& a, const array4<T>& b) {
    array4<T> y({extent(a, 0), extent(a, 1) + extent(b, 1), extent(a, 2), extent(a, 3)});
    for (std::size_t n = 0; n < extent(a, 0); ++n) {
        const std::size_t from_a = a.size() / extent(a, 0);
        const std::size_t from_b = b.size() / extent(b, 0);
        std::copy_n(image(b, n), from_b, std::copy_n(image(a, n), from_a, image(y, n)));
    }
    return y;
}

/// The mean over the pixels of each channel, summed in double.
template <class T> array4<T> mean(const array4<T>& x) {
    const std::size_t pixels = extent(x, 2) * extent(x, 3);
    array4<T> y({extent(x, 0), extent(x, 1), 1, 1});
    for (std::size_t i = 0; i < y.size(); ++i) {
        const T* plane = x.data() + i * pixels;
        y.data()[i] = static_cast<T>(std::accumulate(plane, plane + pixels, 0.0) / static_cast<double>(pixels));
    }
    return y;
}

/// The mean over the pixels of each channel, then the pixels.
template <class T> array4<T> prepend_mean(const array4<T>& x) {
    const std::size_t pixels = extent(x, 2) * extent(x, 3);
    const array4<T> means = mean(x);
    array4<T> y({extent(x, 0), extent(x, 1), 1, 1 + pixels});
    for (std::size_t i = 0; i < means.size(); ++i) {
        T* tokens = y.data() + i * (1 + pixels);
        tokens[0] = means.data()[i];
        std::copy_n(x.data() + i * pixels, pixels, tokens + 1);
    }
    return y;
}

} // namespace repaint::detail::reference
