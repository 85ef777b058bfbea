#pragma once

#include <algorithm>
#include <cstddef>
#include <functional>
#include <vector>

#include <repaint/backend/cpu/context.hpp>
#include <repaint/backend/cpu/normalisation.hpp>

namespace repaint::detail::cpu {

/// The steps of a normalisation, one after the other: over pieces of planes, which stay in the first cache, and in
/// between over groups. A step sees everything that earlier steps did for its group.
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

    void run(const std::vector<step>& steps) const;

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

    /// The first two steps: moments of the pieces, then the moments of each group joined from them.
    [[nodiscard]] normalisation_steps::step measuring() {
        return {[this](int n, int block, int first, int last) { measure(n, block, first, last); }, {}};
    }
    [[nodiscard]] normalisation_steps::step joining() {
        return {{}, [this](int n, int g) { join(n, g); }};
    }

    [[nodiscard]] const group& of_group(int n, int g) const { return groups_[size_of(n * c_.options.groups + g)]; }

    /// The factor of a normalised channel: gamma (1 + scale).
    [[nodiscard]] double weight(int n, int c) const {
        return static_cast<double>(c_.w.gamma[size_of(c)]) * factor(n, c);
    }

    /// What the kernels need for the sixteen channels of a block.
    [[nodiscard]] lane_normalisation of_block(int n, int block) const;

private:
    void measure(int n, int block, int first, int last) const;

    void join(int n, int g);

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

} // namespace repaint::detail::cpu

#ifndef REPAINT_COMPILED
#include <repaint/backend/cpu/group_statistics.ipp>
#endif
