#pragma once

#include <cstddef>
#include <vector>

#include <repaint/backend/cpu/group_norm_vjp.hpp>
#include <repaint/backend/cpu/group_statistics.hpp>

namespace repaint::detail::cpu {

/// dx = J^T dy of y = then(z), z = norm(x) * (1 + scale) + shift. With dz = then'(z) dy, w = gamma (1 + scale) and
/// means over a group: dx = (w dz - mean(w dz) - norm(x) mean(w dz norm(x))) / deviation. Three passes over x and two
/// over dy, whose product with the activation's derivative waits in dx in between.
class group_norm_gradient {
public:
    /// dy and dx are blocked.
    group_norm_gradient(const context& with, const normalisation& c, const storage& dy, storage& dx)
        : with_(with), c_(c), dy_(dy), dx_(dx), steps_(with, c.x.shape, c.options.groups),
          group_channels_(c.x.shape.c / c.options.groups), statistics_(with, c, steps_),
          sums_(with.block(steps_.index(c.x.shape.n, 0, 0) * 2 * lanes)),
          feedback_(size_of(c.x.shape.n * c.options.groups)) {}

    void run() {
        steps_.run({statistics_.measuring(),
                    statistics_.joining(),
                    {[this](int n, int block, int first, int last) { add_up(n, block, first, last); }, {}},
                    {{}, [this](int n, int group) { feed_back(n, group); }},
                    {[this](int n, int block, int first, int last) { apply(n, block, first, last); }, {}}});
    }

private:
    /// The level and slope of one group, as in lane_feedback.
    struct feedback {
        float level = 0.0F;
        float slope = 0.0F;
    };

    [[nodiscard]] float* sums(int n, int block, int piece) const {
        return sums_.data() + steps_.index(n, block, piece) * 2 * lanes;
    }

    void add_up(int n, int block, int first, int last) const {
        const lane_normalisation k = statistics_.of_block(n, block);
        const float* x = c_.x.plane(n, block);
        const float* dy = dy_.plane(n, block);
        float* dz = dx_.plane(n, block);
        for (int p = first; p < last; ++p) {
            const std::size_t at = normalisation_steps::offset(p);
            float* to = sums(n, block, p);
            with_.gradient_kernels().normalise_sums(x + at, dy + at, steps_.length(p), k, c_.options.then, dz + at, to,
                                                    to + lanes);
        }
    }

    void feed_back(int n, int group) {
        const group_statistics::group& g = statistics_.of_group(n, group);
        // The kernels measure distances from the rounded mean.
        const double rounding = static_cast<double>(static_cast<float>(g.mean)) - g.mean;
        double level = 0.0;
        double slope = 0.0;
        for (int c = group * group_channels_; c < (group + 1) * group_channels_; ++c) {
            double sum = 0.0;
            double product = 0.0;
            for (int p = 0; p < steps_.pieces(); ++p) {
                const float* part = sums(n, c / lanes, p) + c % lanes;
                sum += static_cast<double>(part[0]);
                product += static_cast<double>(part[lanes]);
            }
            level += statistics_.weight(n, c) * sum;
            slope += statistics_.weight(n, c) * (product + rounding * sum);
        }
        const double count = static_cast<double>(group_channels_) * static_cast<double>(c_.x.shape.plane());
        level *= g.inverse / count;
        slope *= g.inverse * g.inverse * g.inverse / count;
        feedback_[size_of(n * c_.options.groups + group)] = {static_cast<float>(level + slope * rounding),
                                                             static_cast<float>(slope)};
    }

    void apply(int n, int block, int first, int last) const {
        lane_feedback f;
        for (int lane = 0; lane < lanes && block * lanes + lane < c_.x.shape.c; ++lane) {
            const feedback& of = feedback_[size_of(n * c_.options.groups + (block * lanes + lane) / group_channels_)];
            f.level[size_of(lane)] = of.level;
            f.slope[size_of(lane)] = of.slope;
        }
        const lane_normalisation k = statistics_.of_block(n, block);
        const float* x = c_.x.plane(n, block);
        float* dx = dx_.plane(n, block);
        const float* dz = c_.options.then == activation::none ? dy_.plane(n, block) : dx;
        for (int p = first; p < last; ++p) {
            const std::size_t at = normalisation_steps::offset(p);
            with_.gradient_kernels().normalise_vjp(x + at, dz + at, steps_.length(p), k, f, dx + at);
        }
    }

    const context& with_;
    const normalisation& c_;
    const storage& dy_;
    storage& dx_;
    normalisation_steps steps_;
    int group_channels_;
    group_statistics statistics_;
    memory_block sums_;
    std::vector<feedback> feedback_;
};

REPAINT_INLINE void group_norm_vjp(const context& with, const normalisation& c, const storage& dy, storage& dx) {
    group_norm_gradient(with, c, dy, dx).run();
}

} // namespace repaint::detail::cpu
