#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <numeric>
#include <vector>

#include <repaint/backend/cpu/context.hpp>
#include <repaint/core/options.hpp>

namespace repaint::detail::cpu {

/// gamma and beta.
struct packed_norm {
    std::vector<float> gamma;
    std::vector<float> beta;
};

/// Everything one normalisation is about. x, scale_shift and y are blocked.
struct normalisation {
    const storage& x;
    const packed_norm& w;
    const storage* scale_shift; ///< (1 or n, 2c, 1, 1), or null
    group_norm_options options;
    storage& y;
};

/// Count, mean and sum of squared distances of some values; joining two keeps them exact whatever their means are
/// (Chan, Golub and LeVeque 1983).
struct running_moments {
    double count = 0.0;
    double mean = 0.0;
    double squares = 0.0;

    void join(double more, double its_mean, double its_squares) {
        const double total = count + more;
        const double distance = its_mean - mean;
        mean += distance * (more / total);
        squares += its_squares + distance * distance * (count * more / total);
        count = total;
    }
};

/// y = then(norm(x) * (1 + scale) + shift). Statistics in two passes over pieces that stay in the first cache, joined
/// in double: no difference of large sums.
class group_normalisation {
public:
    group_normalisation(const context& with, const normalisation& c)
        : with_(with), c_(c), channels_(c.x.shape.c), blocks_(c.x.blocks()),
          pixels_(static_cast<int>(c.x.shape.plane())), pieces_(ceil_div(pixels_, piece)),
          group_channels_(channels_ / c.options.groups) {}

    void run() {
        // Blocks that groups do not reach across: their statistics and values can be had by one thread, one after the
        // other.
        const int unit = std::min(std::lcm(group_channels_, lanes) / lanes, blocks_);
        const int units = ceil_div(blocks_, unit);
        const int images = c_.x.shape.n;
        statistics_ = with_.block(size_of(images) * size_of(blocks_) * size_of(pieces_) * 2 * lanes);
        if (images * units >= 2 * with_.pool.threads() || pixels_ <= 64) {
            with_.pool.run(size_of(images * units), [&](std::size_t task, int) {
                const int n = static_cast<int>(task) / units;
                const int first = static_cast<int>(task) % units * unit;
                const int last = std::min(first + unit, blocks_);
                for (int block = first; block < last; ++block) {
                    for (int p = 0; p < pieces_; ++p) {
                        measure(n, block, p);
                    }
                }
                for (int block = first; block < last; ++block) {
                    const lane_constants k = constants(n, block);
                    for (int p = 0; p < pieces_; ++p) {
                        apply(n, block, p, k);
                    }
                }
            });
            return;
        }
        const int strip = 16; // pieces that one task takes
        const int strips = ceil_div(pieces_, strip);
        const auto for_each_strip = [&](auto&& f) {
            with_.pool.run(size_of(images * blocks_ * strips), [&](std::size_t task, int) {
                const int first = static_cast<int>(task) % strips * strip;
                const int block = static_cast<int>(task) / strips % blocks_;
                const int n = static_cast<int>(task) / strips / blocks_;
                f(n, block, first, std::min(first + strip, pieces_));
            });
        };
        for_each_strip([&](int n, int block, int first, int last) {
            for (int p = first; p < last; ++p) {
                measure(n, block, p);
            }
        });
        for_each_strip([&](int n, int block, int first, int last) {
            const lane_constants k = constants(n, block);
            for (int p = first; p < last; ++p) {
                apply(n, block, p, k);
            }
        });
    }

private:
    static constexpr int piece = 256; // pixels: 16 kB

    struct lane_constants {
        alignas(64) std::array<float, lanes> mean{};
        alignas(64) std::array<float, lanes> scale{};
        alignas(64) std::array<float, lanes> shift{};
    };

    [[nodiscard]] int length(int p) const { return std::min(piece, pixels_ - p * piece); }

    [[nodiscard]] float* moments(int n, int block, int p) const {
        return statistics_.data() +
               ((size_of(n) * size_of(blocks_) + size_of(block)) * size_of(pieces_) + size_of(p)) * 2 * lanes;
    }

    void measure(int n, int block, int p) const {
        float* to = moments(n, block, p);
        with_.kernels.moments(c_.x.plane(n, block) + size_of(p * piece) * lanes, length(p), to, to + lanes);
    }

    /// What normalise needs for the sixteen channels of a block.
    [[nodiscard]] lane_constants constants(int n, int block) const {
        lane_constants k;
        double mean = 0.0;
        double inverse = 0.0;
        int known = -1;
        for (int lane = 0; lane < lanes && block * lanes + lane < channels_; ++lane) {
            const int channel = block * lanes + lane;
            const int group = channel / group_channels_;
            if (group != known) {
                running_moments all;
                for (int c = group * group_channels_; c < (group + 1) * group_channels_; ++c) {
                    for (int p = 0; p < pieces_; ++p) {
                        const float* part = moments(n, c / lanes, p) + c % lanes;
                        all.join(length(p), static_cast<double>(part[0]), static_cast<double>(part[lanes]));
                    }
                }
                mean = all.mean;
                inverse = 1.0 / std::sqrt(all.squares / all.count + static_cast<double>(c_.options.epsilon));
                known = group;
            }
            double scale = inverse * static_cast<double>(c_.w.gamma[size_of(channel)]);
            double shift = static_cast<double>(c_.w.beta[size_of(channel)]);
            if (c_.scale_shift != nullptr) {
                const int m = c_.scale_shift->shape.n == 1 ? 0 : n;
                const double factor = 1.0 + static_cast<double>(*channel_at(m, channel));
                scale *= factor;
                shift = shift * factor + static_cast<double>(*channel_at(m, channels_ + channel));
            }
            k.mean[size_of(lane)] = static_cast<float>(mean);
            k.scale[size_of(lane)] = static_cast<float>(scale);
            // What rounding the mean took away comes back here: at a mean of 1000 it is 3e-5.
            k.shift[size_of(lane)] =
                static_cast<float>(shift + (static_cast<double>(k.mean[size_of(lane)]) - mean) * scale);
        }
        return k;
    }

    [[nodiscard]] const float* channel_at(int n, int c) const { return cpu::channel(*c_.scale_shift, n, c).first; }

    void apply(int n, int block, int p, const lane_constants& k) const {
        const std::size_t at = size_of(p * piece) * lanes;
        with_.kernels.normalise(c_.x.plane(n, block) + at, length(p), k.mean.data(), k.scale.data(), k.shift.data(),
                                c_.options.then == activation::silu, c_.y.plane(n, block) + at);
    }

    const context& with_;
    const normalisation& c_;
    int channels_;
    int blocks_;
    int pixels_;
    int pieces_;
    int group_channels_;
    memory_block statistics_;
};

} // namespace repaint::detail::cpu
