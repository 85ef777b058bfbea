#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
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

using array4 = xt::xtensor<float, 4>;
/// Products are summed in double: what judges the rounding of others should have less of its own.
using matrix = xt::xtensor<double, 2>;

/// A row-major matrix over memory owned by someone else.
inline auto matrix_view(const float* data, std::size_t rows, std::size_t columns) {
    return xt::adapt(data, rows * columns, xt::no_ownership(), std::array<std::size_t, 2>{rows, columns});
}

inline std::size_t extent(const array4& x, std::size_t axis) { return x.shape()[axis]; }

inline const float* image(const array4& x, std::size_t n) {
    return x.data() + n * extent(x, 1) * extent(x, 2) * extent(x, 3);
}
inline float* image(array4& x, std::size_t n) { return x.data() + n * extent(x, 1) * extent(x, 2) * extent(x, 3); }

inline float silu(float x) { return x / (1.0F + std::exp(-x)); }

/// The patches that output rows [first_row, last_row) look at, one column per output pixel: (c * k * k, pixels).
inline matrix patches(const float* x, const array4& like, const shape4& kernel, const conv2d_options& options,
                      std::size_t first_row, std::size_t last_row, std::size_t output_columns) {
    const auto rows = static_cast<std::ptrdiff_t>(extent(like, 2));
    const auto columns = static_cast<std::ptrdiff_t>(extent(like, 3));
    const auto channels = static_cast<std::size_t>(kernel.c);
    const auto kernel_rows = static_cast<std::size_t>(kernel.h);
    const auto kernel_columns = static_cast<std::size_t>(kernel.w);
    matrix result({channels * kernel_rows * kernel_columns, (last_row - first_row) * output_columns});
    double* out = result.data();
    const auto outputs = static_cast<std::ptrdiff_t>(output_columns);
    // The first output column at or right of an input column.
    const auto at_least = [&](std::ptrdiff_t column) {
        return column <= 0 ? 0 : (column + options.stride - 1) / options.stride;
    };
    for (std::size_t c = 0; c < channels; ++c) {
        const float* plane = x + static_cast<std::ptrdiff_t>(c) * rows * columns;
        for (std::size_t ky = 0; ky < kernel_rows; ++ky) {
            for (std::size_t kx = 0; kx < kernel_columns; ++kx) {
                for (std::size_t row = first_row; row < last_row; ++row) {
                    const auto y = static_cast<std::ptrdiff_t>(row) * options.stride + static_cast<std::ptrdiff_t>(ky) -
                                   options.padding;
                    if (y < 0 || y >= rows) {
                        out = std::fill_n(out, output_columns, 0.0);
                        continue;
                    }
                    // Output columns whose pixel lies inside the image; zeros left and right of them.
                    const float* source = plane + y * columns + static_cast<std::ptrdiff_t>(kx) - options.padding;
                    const auto first = std::min(outputs, at_least(options.padding - static_cast<std::ptrdiff_t>(kx)));
                    const auto last = std::clamp(at_least(columns + options.padding - static_cast<std::ptrdiff_t>(kx)),
                                                 first, outputs);
                    out = std::fill_n(out, first, 0.0);
                    if (options.stride == 1) {
                        out = std::copy(source + first, source + last, out);
                    } else {
                        for (auto column = first; column < last; ++column) {
                            *out++ = source[column * options.stride];
                        }
                    }
                    out = std::fill_n(out, outputs - last, 0.0);
                }
            }
        }
    }
    return result;
}

/// y = then(conv(x) + bias + residual): patches times weights, in strips of rows that keep the patches under 4 MB.
inline void conv2d(const array4& x, const host_weights& weights, const float* bias, const array4* residual,
                   const conv2d_options& options, array4& y) {
    const shape4 kernel = weights.shape;
    const auto depth = static_cast<std::size_t>(kernel.c) * kernel.plane();
    const auto channels = static_cast<std::size_t>(kernel.n);
    const std::size_t rows = extent(y, 2);
    const std::size_t columns = extent(y, 3);
    const bool pointwise = kernel.plane() == 1 && options.stride == 1 && options.padding == 0;
    const std::size_t strip =
        pointwise ? rows : std::clamp<std::size_t>((std::size_t{1} << 19) / (depth * columns), 1, rows);
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
                float* to = image(y, n) + (c * rows + first) * columns;
                float constant = bias == nullptr ? 0.0F : bias[c];
                const float* addend = nullptr;
                if (residual != nullptr) {
                    const std::size_t r = extent(*residual, 0) == 1 ? 0 : n;
                    if (extent(*residual, 2) * extent(*residual, 3) == rows * columns) {
                        addend = image(*residual, r) + (c * rows + first) * columns;
                    } else {
                        constant += image(*residual, r)[c];
                    }
                }
                for (std::size_t i = 0; i < pixels; ++i) {
                    const float value = static_cast<float>(from[i]) + constant + (addend == nullptr ? 0.0F : addend[i]);
                    to[i] = options.then == activation::silu ? silu(value) : value;
                }
            }
        }
    }
}

/// y = then((x - mean) / sqrt(variance + epsilon) * gamma + beta), scaled and shifted; statistics in double, in two
/// passes.
inline void group_norm(const array4& x, const std::vector<float>& gamma, const std::vector<float>& beta,
                       const array4* scale_shift, const group_norm_options& options, array4& y) {
    const std::size_t channels = extent(x, 1);
    const std::size_t pixels = extent(x, 2) * extent(x, 3);
    const auto groups = static_cast<std::size_t>(options.groups);
    const std::size_t group_channels = channels / groups;
    for (std::size_t n = 0; n < extent(x, 0); ++n) {
        for (std::size_t group = 0; group < groups; ++group) {
            const std::size_t first = group * group_channels;
            const float* in = image(x, n) + first * pixels;
            const std::size_t count = group_channels * pixels;
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
            const double inverse = 1.0 / std::sqrt(variance + static_cast<double>(options.epsilon));
            for (std::size_t c = first; c < first + group_channels; ++c) {
                float scale = 1.0F;
                float shift = 0.0F;
                if (scale_shift != nullptr) {
                    const float* s = image(*scale_shift, extent(*scale_shift, 0) == 1 ? 0 : n);
                    scale += s[c];
                    shift = s[channels + c];
                }
                const float* from = image(x, n) + c * pixels;
                float* to = image(y, n) + c * pixels;
                for (std::size_t i = 0; i < pixels; ++i) {
                    const auto normalised = static_cast<float>((static_cast<double>(from[i]) - mean) * inverse);
                    const float value = (normalised * gamma[c] + beta[c]) * scale + shift;
                    to[i] = options.then == activation::silu ? silu(value) : value;
                }
            }
        }
    }
}

/// y = V softmax(Q^T K / sqrt(d))^T per head, in strips of queries. Q and K are each scaled by d^(-1/4), as the
/// checkpoints were trained: the products stay small.
inline void attention(const array4& qkv, int heads, array4& y) {
    const std::size_t channels = extent(y, 1);
    const std::size_t tokens = extent(y, 2) * extent(y, 3);
    const std::size_t width = channels / static_cast<std::size_t>(heads);
    const std::size_t strip = std::min<std::size_t>(tokens, 256);
    const double scale = 1.0 / std::sqrt(std::sqrt(static_cast<double>(width)));
    for (std::size_t n = 0; n < extent(y, 0); ++n) {
        for (std::size_t head = 0; head < static_cast<std::size_t>(heads); ++head) {
            const float* q = image(qkv, n) + head * width * tokens;
            const float* k = q + channels * tokens;
            const matrix keys = matrix_view(k, width, tokens) * scale;
            const matrix values = matrix_view(k + channels * tokens, width, tokens);
            for (std::size_t first = 0; first < tokens; first += strip) {
                const std::size_t count = std::min(strip, tokens - first);
                matrix queries({count, width});
                for (std::size_t d = 0; d < width; ++d) {
                    for (std::size_t i = 0; i < count; ++i) {
                        queries(i, d) = static_cast<double>(q[d * tokens + first + i]) * scale;
                    }
                }
                matrix weights({count, tokens});
                xt::blas::gemm(queries, keys, weights);
                for (std::size_t i = 0; i < count; ++i) {
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
                matrix result({width, count});
                xt::blas::gemm(values, weights, result, false, true);
                for (std::size_t d = 0; d < width; ++d) {
                    std::transform(result.data() + d * count, result.data() + (d + 1) * count,
                                   image(y, n) + (head * width + d) * tokens + first,
                                   [](double value) { return static_cast<float>(value); });
                }
            }
        }
    }
}

inline array4 nearest_up(const array4& x) {
    array4 y({extent(x, 0), extent(x, 1), 2 * extent(x, 2), 2 * extent(x, 3)});
    for (std::size_t dy = 0; dy < 2; ++dy) {
        for (std::size_t dx = 0; dx < 2; ++dx) {
            xt::view(y, xt::all(), xt::all(), xt::range(dy, xt::placeholders::_, 2),
                     xt::range(dx, xt::placeholders::_, 2)) = x;
        }
    }
    return y;
}

inline array4 average_down(const array4& x) {
    const auto square = [&x](std::size_t dy, std::size_t dx) {
        return xt::view(x, xt::all(), xt::all(), xt::range(dy, xt::placeholders::_, 2),
                        xt::range(dx, xt::placeholders::_, 2));
    };
    return (square(0, 0) + square(0, 1) + square(1, 0) + square(1, 1)) * 0.25F;
}

/// Channels of a, then channels of b.
inline array4 concat(const array4& a, const array4& b) {
    array4 y({extent(a, 0), extent(a, 1) + extent(b, 1), extent(a, 2), extent(a, 3)});
    for (std::size_t n = 0; n < extent(a, 0); ++n) {
        const std::size_t from_a = a.size() / extent(a, 0);
        const std::size_t from_b = b.size() / extent(b, 0);
        std::copy_n(image(b, n), from_b, std::copy_n(image(a, n), from_a, image(y, n)));
    }
    return y;
}

} // namespace repaint::detail::reference
