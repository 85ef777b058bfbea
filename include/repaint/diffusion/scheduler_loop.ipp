#pragma once

#include <cmath>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include <repaint/config.hpp>
#include <repaint/diffusion/float_schedule.hpp>
#include <repaint/diffusion/scheduler_loop.hpp>
#include <repaint/diffusion/scheduler_settings.hpp>

namespace repaint {

REPAINT_INLINE std::vector<int> diffusers_sampling_timesteps(int steps, std::string_view spec,
                                                             const scheduler_settings& scheduler) {
    const int count = detail::plain_count("diffusers", steps, spec);
    std::vector<int> visited;
    switch (scheduler.spacing.value_or(timestep_spacing::leading)) {
    case timestep_spacing::linspace:
        for (const double t : detail::evenly_spaced(0.0, static_cast<double>(steps - 1), count)) {
            visited.push_back(static_cast<int>(std::nearbyint(t)));
        }
        return visited;
    case timestep_spacing::trailing:
        for (int i = count - 1; i >= 0; --i) {
            const double stride = static_cast<double>(steps) / static_cast<double>(count);
            const double step = (static_cast<double>(steps) - stride) - static_cast<double>(steps); // as numpy.arange
            visited.push_back(static_cast<int>(std::nearbyint(static_cast<double>(steps) + i * step)) - 1);
        }
        return visited;
    default: break;
    }
    visited = detail::leading_timesteps(steps, count);
    for (int& t : visited) {
        t += scheduler.offset;
    }
    if (visited.front() < 0 || visited.back() >= steps) {
        throw std::invalid_argument("an offset of " + std::to_string(scheduler.offset) + " takes " +
                                    std::to_string(count) + " timesteps to " + std::to_string(visited.front()) +
                                    " ... " + std::to_string(visited.back()) + ", the training had 0 ... " +
                                    std::to_string(steps - 1) + "; take fewer");
    }
    return visited;
}

REPAINT_INLINE std::vector<scheduled_step> diffusers_steps(const scheduled_process& process) {
    const float_schedule& training = process.training;
    auto variance = process.variance;
    if (variance == variance_type::learned) {
        variance = variance_type::learned_linear;
    } else if (variance == variance_type::learned_range_linear) {
        variance = variance_type::learned_range;
    }
    std::vector<scheduled_step> steps;
    int below = -1;
    for (const int t : process.timesteps) {
        if (process.eta) {
            // By the stride, rounded down, and so not always to the timestep visited next.
            const int to = t - process.stride();
            steps.push_back({process.ddim(t, to), *process.eta > 0.0});
        } else {
            const float beta = 1.0F - training.alpha_bar(t) / training.alpha_bar(below);
            steps.push_back({process.ancestral(t, below, beta, variance), t > 0});
        }
        below = t;
    }
    return steps;
}

REPAINT_INLINE posterior monai_step(const scheduled_process& process, int t) {
    if (process.eta) {
        return process.ddim(t, t - process.stride());
    }
    auto variance = process.variance;
    if (variance == variance_type::learned) {
        variance = variance_type::learned_linear;
    } else if (variance == variance_type::learned_range) {
        variance = variance_type::learned_range_linear;
    }
    return process.ancestral(t, t - 1, process.training.beta(t), variance);
}

REPAINT_INLINE bool monai_step_draws(const scheduled_process& process, int t) {
    return process.eta ? *process.eta > 0.0 : t > 0;
}

REPAINT_INLINE std::vector<scheduled_step> monai_steps(const scheduled_process& process) {
    std::vector<scheduled_step> steps;
    for (const int t : process.timesteps) {
        steps.push_back({monai_step(process, t), monai_step_draws(process, t)});
    }
    return steps;
}

} // namespace repaint
