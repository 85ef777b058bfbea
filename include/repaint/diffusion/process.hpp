#pragma once

#include <optional>

#include <repaint/core/step_values.hpp>
#include <repaint/diffusion/noise_schedule.hpp>

namespace repaint {

/// A (respaced) schedule together with how the network's output is read: all the sampler needs to know of the
/// mathematics.
struct diffusion_process {
    noise_schedule schedule;
    prediction_type prediction = prediction_type::epsilon;
    variance_type variance = variance_type::learned_range;
    bool clip = true;
    std::optional<double> eta = std::nullopt; ///< given: reverse steps are DDIM's (Song et al. 2021)
    x0_limits limits = {};                    ///< of clipping

    [[nodiscard]] int size() const { return schedule.size(); }
    [[nodiscard]] mixing forward(int t) const { return schedule.forward(t); }
    [[nodiscard]] mixing marginal(int t) const { return schedule.marginal(t); }
    [[nodiscard]] posterior reverse(int t) const {
        posterior p = eta ? schedule.ddim(t, prediction, *eta, clip) : schedule.reverse(t, prediction, variance, clip);
        p.limits = limits;
        return p;
    }
};

} // namespace repaint
