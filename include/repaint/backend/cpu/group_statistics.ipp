#pragma once

#include <cmath>
#include <numeric>

#include <repaint/backend/cpu/group_statistics.hpp>
#include <repaint/backend/cpu/running_moments.hpp>

namespace repaint::detail::cpu {

REPAINT_INLINE void normalisation_steps::run(const std::vector<step>& steps) const {
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

REPAINT_INLINE lane_normalisation group_statistics::of_block(int n, int block) const {
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
        // The shift gives back what the rounding of the mean took away: 3e-5 at a mean of 1000.
        k.shift[size_of(lane)] =
            static_cast<float>(shift + (static_cast<double>(k.mean[size_of(lane)]) - g.mean) * scale);
    }
    return k;
}

REPAINT_INLINE void group_statistics::measure(int n, int block, int first, int last) const {
    const float* x = c_.x.plane(n, block);
    for (int p = first; p < last; ++p) {
        float* to = moments(n, block, p);
        with_.kernels.moments(x + normalisation_steps::offset(p), steps_.length(p), to, to + lanes);
    }
}

REPAINT_INLINE void group_statistics::join(int n, int g) {
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

} // namespace repaint::detail::cpu
