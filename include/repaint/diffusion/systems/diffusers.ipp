#pragma once

#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include <repaint/config.hpp>
#include <repaint/core/text.hpp>
#include <repaint/diffusion/systems/diffusers.hpp>

namespace repaint {

REPAINT_COLD std::vector<transition> diffusers_walk(int timesteps, const jump_options& options) {
    if (const char* name = detail::first_unknown_jump_option(options, {"jump_length", "jump_n_sample"})) {
        throw std::invalid_argument(
            joined_text({std::string("the system diffusers knows jump_length and jump_n_sample only, "), name,
                         " must be left alone"}));
    }
    jump_options jumps{.jump_length = options.jump_length, .jump_n_sample = options.jump_n_sample};
    if (jumps.jump_length >= timesteps && jumps.jump_n_sample > 1) {
        jumps.jump_n_sample = 1;
    }
    auto walk = jump_schedule(timesteps, jumps);
    // The official list of timesteps without its last, -1: each says what the network is told, the result being one
    // level lower.
    walk.pop_back();
    for (auto& move : walk) {
        --move.from;
        --move.to;
    }
    walk.insert(walk.begin(), {.from = timesteps - 1, .to = timesteps - 2});
    return walk;
}

REPAINT_COLD std::vector<scheduled_step> diffusers_steps(const scheduled_process& process) {
    const scheduler_tables& training = process.training;
    auto variance = process.reading.variance;
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

REPAINT_COLD inpaint_options diffusers_system::defaults() { return {.system = sampling_system::diffusers}; }

REPAINT_COLD sampling_options diffusers_system::sampling_defaults() {
    return {.timesteps = "", .system = sampling_system::diffusers};
}

REPAINT_COLD std::optional<double> diffusers_system::eta(std::optional<double> asked,
                                                         const scheduler_settings& scheduler, bool inpainting) {
    return !asked && !inpainting && scheduler.ddim ? std::optional<double>(0.0) : asked;
}

REPAINT_COLD void diffusers_system::finish_inpainting(run_plan& plan) {
    scheduled_process& process = *plan.scheduled;
    process.reading.limits = {}; // RePaintScheduler has no others
    for (const int t : process.timesteps) {
        (void)process.ddim(t, t - process.stride());
    }
}

} // namespace repaint
