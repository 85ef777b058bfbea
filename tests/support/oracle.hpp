#pragma once

#include <algorithm>
#include <cmath>
#include <vector>

#include <repaint/core/host_tensor.hpp>
#include <repaint/core/host_weights.hpp>
#include <repaint/core/options.hpp>

/// The primitives once more, as their definitions read, in double and without any thought of speed.
namespace oracle {

using repaint::host_tensor;
using repaint::shape4;

inline repaint::host_weights weights(const host_tensor& values) {
    const auto owner = std::make_shared<host_tensor>(values);
    return {values.shape(), std::shared_ptr<const float>(owner, owner->data())};
}

inline double then(repaint::activation a, double x) {
    switch (a) {
    case repaint::activation::silu: return x / (1.0 + std::exp(-x));
    case repaint::activation::relu: return std::max(x, 0.0);
    default: return x;
    }
}

inline host_tensor conv2d(const host_tensor& x, const host_tensor& w, const host_tensor& bias,
                          const host_tensor* residual, const repaint::conv2d_options& o) {
    const shape4 in = x.shape();
    const shape4 k = w.shape();
    host_tensor y(
        {in.n, k.n, (in.h + 2 * o.padding - k.h) / o.stride + 1, (in.w + 2 * o.padding - k.w) / o.stride + 1});
    const shape4 out = y.shape();
    for (int n = 0; n < out.n; ++n) {
        for (int c = 0; c < out.c; ++c) {
            for (int i = 0; i < out.h; ++i) {
                for (int j = 0; j < out.w; ++j) {
                    double sum = static_cast<double>(bias(c, 0, 0, 0));
                    for (int d = 0; d < k.c; ++d) {
                        for (int a = 0; a < k.h; ++a) {
                            for (int b = 0; b < k.w; ++b) {
                                const int row = i * o.stride + a - o.padding;
                                const int column = j * o.stride + b - o.padding;
                                if (row >= 0 && row < in.h && column >= 0 && column < in.w) {
                                    sum +=
                                        static_cast<double>(x(n, d, row, column)) * static_cast<double>(w(c, d, a, b));
                                }
                            }
                        }
                    }
                    if (residual != nullptr) {
                        const shape4 r = residual->shape();
                        sum += static_cast<double>(
                            (*residual)(r.n == 1 ? 0 : n, c, r.h == out.h ? i : 0, r.w == out.w ? j : 0));
                    }
                    y(n, c, i, j) = static_cast<float>(then(o.then, sum));
                }
            }
        }
    }
    return y;
}

inline host_tensor group_norm(const host_tensor& x, const host_tensor& gamma, const host_tensor& beta,
                              const host_tensor* scale_shift, const repaint::group_norm_options& o) {
    const shape4 s = x.shape();
    const int each = s.c / o.groups;
    host_tensor y(s);
    for (int n = 0; n < s.n; ++n) {
        for (int g = 0; g < o.groups; ++g) {
            const auto for_each = [&](auto&& visit) {
                for (int c = g * each; c < (g + 1) * each; ++c) {
                    for (int i = 0; i < s.h; ++i) {
                        for (int j = 0; j < s.w; ++j) {
                            visit(c, i, j);
                        }
                    }
                }
            };
            const double count = static_cast<double>(each) * s.h * s.w;
            double mean = 0.0;
            double variance = 0.0;
            for_each([&](int c, int i, int j) { mean += static_cast<double>(x(n, c, i, j)) / count; });
            for_each([&](int c, int i, int j) {
                variance += std::pow(static_cast<double>(x(n, c, i, j)) - mean, 2.0) / count;
            });
            for_each([&](int c, int i, int j) {
                double value = (static_cast<double>(x(n, c, i, j)) - mean) /
                                   std::sqrt(variance + static_cast<double>(o.epsilon)) *
                                   static_cast<double>(gamma(c, 0, 0, 0)) +
                               static_cast<double>(beta(c, 0, 0, 0));
                if (scale_shift != nullptr) {
                    const int m = scale_shift->shape().n == 1 ? 0 : n;
                    value = value * (1.0 + static_cast<double>((*scale_shift)(m, c, 0, 0))) +
                            static_cast<double>((*scale_shift)(m, s.c + c, 0, 0));
                }
                y(n, c, i, j) = static_cast<float>(then(o.then, value));
            });
        }
    }
    return y;
}

/// qkv: channels [Q of all heads | K | V].
inline host_tensor attention(const host_tensor& qkv, int heads) {
    const shape4 s = qkv.shape();
    const int channels = s.c / 3;
    const int width = channels / heads;
    const int tokens = s.h * s.w;
    host_tensor y({s.n, channels, s.h, s.w});
    const auto at = [&](int n, int c, int t) { return static_cast<double>(qkv(n, c, t / s.w, t % s.w)); };
    for (int n = 0; n < s.n; ++n) {
        for (int head = 0; head < heads; ++head) {
            for (int t = 0; t < tokens; ++t) {
                std::vector<double> scores(static_cast<std::size_t>(tokens), 0.0);
                for (int u = 0; u < tokens; ++u) {
                    for (int d = 0; d < width; ++d) {
                        const int c = head * width + d;
                        scores[static_cast<std::size_t>(u)] +=
                            at(n, c, t) * at(n, channels + c, u) / std::sqrt(static_cast<double>(width));
                    }
                }
                const double top = *std::max_element(scores.begin(), scores.end());
                double sum = 0.0;
                for (double& score : scores) {
                    score = std::exp(score - top);
                    sum += score;
                }
                for (int d = 0; d < width; ++d) {
                    const int c = head * width + d;
                    double value = 0.0;
                    for (int u = 0; u < tokens; ++u) {
                        value += scores[static_cast<std::size_t>(u)] / sum * at(n, 2 * channels + c, u);
                    }
                    y(n, c, t / s.w, t % s.w) = static_cast<float>(value);
                }
            }
        }
    }
    return y;
}

/// (n, c, h, w) -> (n, c, 1, 1 + h w)
inline host_tensor prepend_mean(const host_tensor& x) {
    const shape4 s = x.shape();
    host_tensor y({s.n, s.c, 1, 1 + s.h * s.w});
    for (int n = 0; n < s.n; ++n) {
        for (int c = 0; c < s.c; ++c) {
            double sum = 0.0;
            for (int t = 0; t < s.h * s.w; ++t) {
                y(n, c, 0, 1 + t) = x(n, c, t / s.w, t % s.w);
                sum += static_cast<double>(x(n, c, t / s.w, t % s.w));
            }
            y(n, c, 0, 0) = static_cast<float>(sum / static_cast<double>(s.plane()));
        }
    }
    return y;
}

/// (n, c, h, w) -> (n, c, 1, 1)
inline host_tensor mean(const host_tensor& x) {
    const host_tensor tokens = prepend_mean(x);
    host_tensor y({x.shape().n, x.shape().c, 1, 1});
    for (int n = 0; n < x.shape().n; ++n) {
        for (int c = 0; c < x.shape().c; ++c) {
            y(n, c, 0, 0) = tokens(n, c, 0, 0);
        }
    }
    return y;
}

} // namespace oracle
