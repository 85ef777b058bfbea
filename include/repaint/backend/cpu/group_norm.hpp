#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <functional>
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

/// Everything one normalisation is about, but its result. x and scale_shift are blocked.
struct normalisation {
    const storage& x;
    const packed_norm& w;
    const storage* scale_shift; ///< (1 or n, 2c, 1, 1), or null
    group_norm_options options;
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

/// What normalisations do in turn: steps over pieces of planes, which stay in the first cache, and in between over
/// groups. A step sees all that the steps before it did for its group.
class normalisation_steps {
public:
    struct step {
        std::function<void(int n, int block, int first, int last)> on_pieces; ///< [first, last) of a plane
        std::function<void(int n, int group)> on_group;                       ///< instead
    };

    normalisation_steps(const context& with, const shape4& s, int groups)
        : with_(with), images_(s.n), channels_(s.c), blocks_(blocks_of(s.c)), pixels_(static_cast<int>(s.plane())),
          pieces_(ceil_div(pixels_, most)), groups_(groups), group_channels_(s.c / groups) {}

    [[nodiscard]] int pieces() const { return pieces_; }
    /// Pixels of a piece, and where in a plane the first of them stands.
    [[nodiscard]] int length(int piece) const { return std::min(most, pixels_ - piece * most); }
    [[nodiscard]] static std::size_t offset(int piece) { return size_of(piece * most) * lanes; }

    /// The number of a piece among all.
    [[nodiscard]] std::size_t index(int n, int block, int piece) const {
        return size_of(n * blocks_ + block) * size_of(pieces_) + size_of(piece);
    }

    void run(const std::vector<step>& steps) const {
        // Blocks that groups do not reach across: one thread can take all the steps with them, one after the other.
        const int unit = std::min(std::lcm(group_channels_, lanes) / lanes, blocks_);
        const int units = ceil_div(blocks_, unit);
        if (images_ * units >= 2 * with_.pool.threads() || pixels_ <= 64) {
            with_.pool.run(size_of(images_ * units), [&](std::size_t task, int) {
                const int n = static_cast<int>(task) / units;
                const int first = static_cast<int>(task) % units * unit;
                const int last = std::min(first + unit, blocks_);
                for (const step& s : steps) {
                    if (s.on_group) {
                        const int end = std::min(last * lanes, channels_) / group_channels_;
                        for (int group = first * lanes / group_channels_; group < end; ++group) {
                            s.on_group(n, group);
                        }
                    } else {
                        for (int block = first; block < last; ++block) {
                            s.on_pieces(n, block, 0, pieces_);
                        }
                    }
                }
            });
            return;
        }
        constexpr int strip = 16; // pieces that one task takes
        const int strips = ceil_div(pieces_, strip);
        for (const step& s : steps) {
            if (s.on_group) {
                with_.pool.run(size_of(images_ * groups_), [&](std::size_t task, int) {
                    s.on_group(static_cast<int>(task) / groups_, static_cast<int>(task) % groups_);
                });
                continue;
            }
            with_.pool.run(size_of(images_ * blocks_ * strips), [&](std::size_t task, int) {
                const int first = static_cast<int>(task) % strips * strip;
                const int block = static_cast<int>(task) / strips % blocks_;
                const int n = static_cast<int>(task) / strips / blocks_;
                s.on_pieces(n, block, first, std::min(first + strip, pieces_));
            });
        }
    }

private:
    static constexpr int most = 256; // pixels of a piece: 16 kB

    const context& with_;
    int images_;
    int channels_;
    int blocks_;
    int pixels_;
    int pieces_;
    int groups_;
    int group_channels_;
};

/// The statistics of a normalisation's groups, in two passes over pieces, joined in double: no difference of large
/// sums.
class group_statistics {
public:
    struct group {
        double mean = 0.0;
        double inverse = 0.0; ///< of the standard deviation
    };

    group_statistics(const context& with, const normalisation& c, const normalisation_steps& steps)
        : with_(with), c_(c), steps_(steps), group_channels_(c.x.shape.c / c.options.groups),
          moments_(with.block(steps.index(c.x.shape.n, 0, 0) * 2 * lanes)),
          groups_(size_of(c.x.shape.n * c.options.groups)) {}

    /// The first two steps.
    [[nodiscard]] normalisation_steps::step measuring() {
        return {[this](int n, int block, int first, int last) { measure(n, block, first, last); }, {}};
    }
    [[nodiscard]] normalisation_steps::step joining() {
        return {{}, [this](int n, int g) { join(n, g); }};
    }

    [[nodiscard]] const group& of_group(int n, int g) const { return groups_[size_of(n * c_.options.groups + g)]; }

    /// What a normalised channel is multiplied with: gamma (1 + scale).
    [[nodiscard]] double weight(int n, int c) const {
        return static_cast<double>(c_.w.gamma[size_of(c)]) * factor(n, c);
    }

    /// What the kernels need for the sixteen channels of a block.
    [[nodiscard]] lane_normalisation of_block(int n, int block) const {
        lane_normalisation k;
        for (int lane = 0; lane < lanes && block * lanes + lane < c_.x.shape.c; ++lane) {
            const int c = block * lanes + lane;
            const group& g = of_group(n, c / group_channels_);
            const double scale = g.inverse * static_cast<double>(c_.w.gamma[size_of(c)]) * factor(n, c);
            double shift = static_cast<double>(c_.w.beta[size_of(c)]) * factor(n, c);
            if (c_.scale_shift != nullptr) {
                shift += modulation(n, c_.x.shape.c + c);
            }
            k.mean[size_of(lane)] = static_cast<float>(g.mean);
            k.scale[size_of(lane)] = static_cast<float>(scale);
            // What rounding the mean took away comes back here: at a mean of 1000 it is 3e-5.
            k.shift[size_of(lane)] =
                static_cast<float>(shift + (static_cast<double>(k.mean[size_of(lane)]) - g.mean) * scale);
        }
        return k;
    }

private:
    void measure(int n, int block, int first, int last) const {
        const float* x = c_.x.plane(n, block);
        for (int p = first; p < last; ++p) {
            float* to = moments(n, block, p);
            with_.kernels.moments(x + normalisation_steps::offset(p), steps_.length(p), to, to + lanes);
        }
    }

    void join(int n, int g) {
        running_moments all;
        for (int c = g * group_channels_; c < (g + 1) * group_channels_; ++c) {
            for (int p = 0; p < steps_.pieces(); ++p) {
                const float* part = moments(n, c / lanes, p) + c % lanes;
                all.join(steps_.length(p), static_cast<double>(part[0]), static_cast<double>(part[lanes]));
            }
        }
        groups_[size_of(n * c_.options.groups + g)] = {
            all.mean, 1.0 / std::sqrt(all.squares / all.count + static_cast<double>(c_.options.epsilon))};
    }

    [[nodiscard]] float* moments(int n, int block, int piece) const {
        return moments_.data() + steps_.index(n, block, piece) * 2 * lanes;
    }

    [[nodiscard]] double modulation(int n, int c) const {
        const int m = c_.scale_shift->shape.n == 1 ? 0 : n;
        return static_cast<double>(*channel(*c_.scale_shift, m, c).first);
    }

    [[nodiscard]] double factor(int n, int c) const { return c_.scale_shift == nullptr ? 1.0 : 1.0 + modulation(n, c); }

    const context& with_;
    const normalisation& c_;
    const normalisation_steps& steps_;
    int group_channels_;
    memory_block moments_;
    std::vector<group> groups_;
};

/// y = then(norm(x) * (1 + scale) + shift). y is blocked.
inline void group_norm(const context& with, const normalisation& c, storage& y) {
    const normalisation_steps steps(with, c.x.shape, c.options.groups);
    group_statistics statistics(with, c, steps);
    const auto apply = [&](int n, int block, int first, int last) {
        const lane_normalisation k = statistics.of_block(n, block);
        const float* from = c.x.plane(n, block);
        float* to = y.plane(n, block);
        for (int p = first; p < last; ++p) {
            const std::size_t at = normalisation_steps::offset(p);
            with.kernels.normalise(from + at, steps.length(p), k, c.options.then, to + at);
        }
    };
    steps.run({statistics.measuring(), statistics.joining(), {apply, {}}});
}

} // namespace repaint::detail::cpu
