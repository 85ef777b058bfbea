#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <numeric>
#include <utility>
#include <vector>

#include <repaint/backend/reference/network.hpp>

/// The vector-Jacobian products of reference_backend, each the transpose of its primitive in network.hpp and in the same
/// strips; sums in double. Shapes were checked by ops.hpp.
namespace repaint::detail::reference {

/// f'(x); 0 at the kink of relu, as in PyTorch.
inline double derivative(activation f, double x) {
    switch (f) {
    case activation::silu: {
        const double sigmoid = 1.0 / (1.0 + std::exp(-x));
        return sigmoid * (1.0 + x * (1.0 - sigmoid));
    }
    case activation::relu: return x <= 0.0 ? 0.0 : 1.0;
    default: return 1.0;
    }
}

template <class T> void activation_vjp(const array4<T>& x, activation f, const array4<T>& dy, array4<T>& dx) {
    std::transform(x.begin(), x.end(), dy.begin(), dx.begin(), [f](T value, T cotangent) {
        return static_cast<T>(derivative(f, static_cast<double>(value)) * static_cast<double>(cotangent));
    });
}

/// The transpose of patches: adds every element to the pixel of `image` (c, rows, columns) that it was read from.
inline void add_patches(const matrix& from, const shape4& kernel, const conv2d_options& options, std::size_t first_row,
                        std::size_t last_row, std::size_t output_columns, std::size_t rows, std::size_t columns,
                        std::vector<double>& image) {
    const double* in = from.data();
    for (std::size_t c = 0; c < static_cast<std::size_t>(kernel.c); ++c) {
        double* plane = image.data() + c * rows * columns;
        for (std::size_t ky = 0; ky < static_cast<std::size_t>(kernel.h); ++ky) {
            for (std::size_t kx = 0; kx < static_cast<std::size_t>(kernel.w); ++kx) {
                for (std::size_t row = first_row; row < last_row; ++row) {
                    const tap t = tap_of(rows, columns, options, ky, kx, row, output_columns);
                    for (auto column = t.first; column < t.last; ++column) {
                        plane[t.offset + column * options.stride] += in[column];
                    }
                    in += output_columns;
                }
            }
        }
    }
}

/// dx = conv^T(dy): weights transposed times dy gives the cotangent of the patches, which goes back where they came
/// from.
template <class T>
void conv2d_vjp(const array4<T>& dy, const host_weights& weights, const conv2d_options& options, array4<T>& dx) {
    const shape4 kernel = weights.shape;
    const auto depth = static_cast<std::size_t>(kernel.c) * kernel.plane();
    const auto channels = static_cast<std::size_t>(kernel.n);
    const std::size_t rows = extent(dy, 2);
    const std::size_t columns = extent(dy, 3);
    const std::size_t strip = strip_rows(kernel, rows, columns);
    const matrix weight_matrix = matrix_view(weights.values.get(), channels, depth);
    for (std::size_t n = 0; n < extent(dy, 0); ++n) {
        std::vector<double> sums(dx.size() / extent(dx, 0), 0.0);
        for (std::size_t first = 0; first < rows; first += strip) {
            const std::size_t last = std::min(first + strip, rows);
            const std::size_t pixels = (last - first) * columns;
            matrix cotangent({channels, pixels});
            for (std::size_t c = 0; c < channels; ++c) {
                std::copy_n(image(dy, n) + (c * rows + first) * columns, pixels, cotangent.data() + c * pixels);
            }
            matrix patch_cotangent({depth, pixels});
            xt::blas::gemm(weight_matrix, cotangent, patch_cotangent, true, false);
            add_patches(patch_cotangent, kernel, options, first, last, columns, extent(dx, 2), extent(dx, 3), sums);
        }
        std::transform(sums.begin(), sums.end(), image(dx, n), [](double sum) { return static_cast<T>(sum); });
    }
}

/// With u = (x - mean) / sqrt(variance + epsilon) and g = dL/du = dy then'(.) gamma (1 + scale):
/// dx = (g - mean(g) - u mean(g u)) / sqrt(variance + epsilon), means over the group.
template <class T>
void group_norm_vjp(const array4<T>& x, const std::vector<float>& gamma, const std::vector<float>& beta,
                    const array4<T>* scale_shift, const group_norm_options& options, const array4<T>& dy,
                    array4<T>& dx) {
    const std::size_t channels = extent(x, 1);
    const std::size_t pixels = extent(x, 2) * extent(x, 3);
    const std::size_t group_channels = channels / static_cast<std::size_t>(options.groups);
    const std::size_t count = group_channels * pixels;
    std::vector<double> u(count);
    std::vector<double> g(count);
    for (std::size_t n = 0; n < extent(x, 0); ++n) {
        for (std::size_t first = 0; first < channels; first += group_channels) {
            const T* in = image(x, n) + first * pixels;
            const T* cotangent = image(dy, n) + first * pixels;
            const auto [mean, inverse] = statistics_of(in, count, options.epsilon);
            double mean_g = 0.0;
            double mean_gu = 0.0;
            for (std::size_t i = 0; i < count; ++i) {
                const std::size_t c = first + i / pixels;
                double scale = 1.0;
                double shift = 0.0;
                if (scale_shift != nullptr) {
                    const T* s = image(*scale_shift, extent(*scale_shift, 0) == 1 ? 0 : n);
                    scale += static_cast<double>(s[c]);
                    shift = static_cast<double>(s[channels + c]);
                }
                const auto weight = static_cast<double>(gamma[c]);
                u[i] = (static_cast<double>(in[i]) - mean) * inverse;
                const double value = (u[i] * weight + static_cast<double>(beta[c])) * scale + shift;
                g[i] = static_cast<double>(cotangent[i]) * derivative(options.then, value) * weight * scale;
                mean_g += g[i];
                mean_gu += g[i] * u[i];
            }
            mean_g /= static_cast<double>(count);
            mean_gu /= static_cast<double>(count);
            T* to = image(dx, n) + first * pixels;
            for (std::size_t i = 0; i < count; ++i) {
                to[i] = static_cast<T>((g[i] - mean_g - u[i] * mean_gu) * inverse);
            }
        }
    }
}

/// With P = softmax(S), S = Q^T K / sqrt(d) and y = V P^T per head, d for cotangents:
/// dV = dy P, dP = dy^T V, dS = P (dP - the sum of P dP over the row), dQ = K dS^T / sqrt(d), dK = Q dS / sqrt(d).
template <class T> void attention_vjp(const array4<T>& qkv, int heads, const array4<T>& dy, array4<T>& dqkv) {
    const std::size_t channels = extent(dy, 1);
    const std::size_t tokens = extent(dy, 2) * extent(dy, 3);
    const std::size_t width = channels / static_cast<std::size_t>(heads);
    const double scale = 1.0 / std::sqrt(std::sqrt(static_cast<double>(width)));
    for (std::size_t n = 0; n < extent(dy, 0); ++n) {
        for (std::size_t head = 0; head < static_cast<std::size_t>(heads); ++head) {
            const std::size_t at = head * width * tokens;
            const T* q = image(qkv, n) + at;
            T* dq = image(dqkv, n) + at;
            const matrix keys = matrix_view(q + channels * tokens, width, tokens) * scale;
            const matrix values = matrix_view(q + 2 * channels * tokens, width, tokens);
            matrix d_keys({width, tokens}, 0.0);
            matrix d_values({width, tokens}, 0.0);
            for (std::size_t first = 0; first < tokens; first += attention_strip) {
                const std::size_t count = std::min(attention_strip, tokens - first);
                const matrix queries = token_rows(q, width, tokens, first, count, scale);
                const matrix weights = attention_weights(queries, keys);
                const matrix d_result = token_rows(image(dy, n) + at, width, tokens, first, count, 1.0);
                xt::blas::gemm(d_result, weights, d_values, true, false, 1.0, 1.0);
                matrix d_scores({count, tokens}); // of the weights first
                xt::blas::gemm(d_result, values, d_scores);
                for (std::size_t i = 0; i < count; ++i) {
                    const double* weight = weights.data() + i * tokens;
                    double* row = d_scores.data() + i * tokens;
                    const double sum = std::inner_product(row, row + tokens, weight, 0.0);
                    for (std::size_t j = 0; j < tokens; ++j) {
                        row[j] = weight[j] * (row[j] - sum);
                    }
                }
                xt::blas::gemm(queries, d_scores, d_keys, true, false, 1.0, 1.0);
                matrix d_queries({count, width});
                xt::blas::gemm(d_scores, keys, d_queries, false, true);
                for (std::size_t d = 0; d < width; ++d) {
                    for (std::size_t i = 0; i < count; ++i) {
                        dq[d * tokens + first + i] = static_cast<T>(d_queries(i, d) * scale);
                    }
                }
            }
            std::transform(d_keys.begin(), d_keys.end(), dq + channels * tokens,
                           [scale](double value) { return static_cast<T>(value * scale); });
            std::transform(d_values.begin(), d_values.end(), dq + 2 * channels * tokens,
                           [](double value) { return static_cast<T>(value); });
        }
    }
}

/// The transpose of average_down; that of nearest_up is sum_down.
template <class T> array4<T> share_up(const array4<T>& dy) { return nearest_up<T>(dy * T{0.25}); }

/// The first channels of x, and the others.
template <class T> std::pair<array4<T>, array4<T>> split(const array4<T>& x, std::size_t channels) {
    return {xt::view(x, xt::all(), xt::range(std::size_t{0}, channels)),
            xt::view(x, xt::all(), xt::range(channels, extent(x, 1)))};
}

template <class T> void mean_vjp(const array4<T>& dy, array4<T>& dx) {
    const std::size_t pixels = extent(dx, 2) * extent(dx, 3);
    for (std::size_t i = 0; i < dy.size(); ++i) {
        const double share = static_cast<double>(dy.data()[i]) / static_cast<double>(pixels);
        std::fill_n(dx.data() + i * pixels, pixels, static_cast<T>(share));
    }
}

template <class T> void prepend_mean_vjp(const array4<T>& dy, array4<T>& dx) {
    const std::size_t pixels = extent(dx, 2) * extent(dx, 3);
    for (std::size_t i = 0; i < extent(dx, 0) * extent(dx, 1); ++i) {
        const T* cotangent = dy.data() + i * (1 + pixels);
        const double share = static_cast<double>(cotangent[0]) / static_cast<double>(pixels);
        std::transform(cotangent + 1, cotangent + 1 + pixels, dx.data() + i * pixels,
                       [share](T value) { return static_cast<T>(static_cast<double>(value) + share); });
    }
}

} // namespace repaint::detail::reference
