#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

#include <repaint/config.hpp>
#include <repaint/core/text.hpp>
#include <repaint/diffusion/systems/monai.hpp>

namespace repaint {

REPAINT_COLD std::vector<transition> monai_walk(std::span<const int> timesteps, const jump_options& options) {
    const auto refuse = [](const std::string& why) {
        throw std::invalid_argument(joined_text({"the system monai ", why}));
    };
    if (const char* name = detail::first_unknown_jump_option(options, {"n_sample"})) {
        refuse(joined_text(
            {std::string("does not jump, it passes n_sample times over every step: "), name, " must be left alone"}));
    }
    if (options.n_sample < 1) {
        throw std::invalid_argument(joined_text({"n_sample must be at least 1, got ", options.n_sample}));
    }
    if (timesteps.empty() || timesteps.back() == 0) {
        refuse("asks the network at no timestep but those above 0, so there must be one");
    }
    if (timesteps.size() * 2 > detail::most_transitions / static_cast<std::size_t>(options.n_sample)) {
        refuse(joined_text(
            {"would make more than ", detail::most_transitions, " transitions; lower n_sample or timesteps"}));
    }
    std::vector<transition> walk;
    for (auto k = static_cast<int>(timesteps.size()) - 1; k >= 0; --k) {
        const int passes = timesteps[static_cast<std::size_t>(k)] > 0 ? options.n_sample : 1;
        for (int pass = 1; pass < passes; ++pass) {
            walk.push_back({.from = k, .to = k - 1});
            walk.push_back({.from = k - 1, .to = k});
        }
        walk.push_back({.from = k, .to = k - 1});
    }
    return walk;
}

REPAINT_COLD host_tensor monai_keep(const host_tensor& keep) {
    host_tensor result(keep.shape());
    for (std::size_t i = 0; i < keep.size(); ++i) {
        result.values()[i] = keep.values()[i] == 1.0F ? 1.0F : 0.0F;
    }
    return result;
}

REPAINT_COLD posterior monai_step(const scheduled_process& process, int t) {
    if (process.eta) {
        return process.ddim(t, t - process.stride());
    }
    auto variance = process.reading.variance;
    if (variance == variance_type::learned) {
        variance = variance_type::learned_linear;
    } else if (variance == variance_type::learned_range) {
        variance = variance_type::learned_range_linear;
    }
    return process.ancestral(t, t - 1, process.training.beta(t), variance);
}

REPAINT_COLD bool monai_step_draws(const scheduled_process& process, int t) {
    return process.eta ? *process.eta > 0.0 : t > 0;
}

REPAINT_COLD std::vector<scheduled_step> monai_steps(const scheduled_process& process) {
    std::vector<scheduled_step> steps;
    for (const int t : process.timesteps) {
        steps.push_back({monai_step(process, t), monai_step_draws(process, t)});
    }
    return steps;
}

REPAINT_COLD inpaint_options monai_system::defaults() {
    return {.timesteps = "", .jumps = {.n_sample = 4}, .system = sampling_system::monai};
}

REPAINT_COLD sampling_options monai_system::sampling_defaults() {
    return {.timesteps = "", .system = sampling_system::monai};
}

REPAINT_COLD std::size_t monai_system::evaluations(std::span<const int> timesteps, std::span<const transition> walk) {
    const auto down = static_cast<std::size_t>(network_evaluations(walk));
    return timesteps.front() == 0 ? down - 1 : down;
}

REPAINT_COLD std::optional<double> monai_system::eta(std::optional<double> asked, const scheduler_settings& scheduler,
                                                     bool) {
    return !asked && scheduler.ddim ? std::optional<double>(0.0) : asked;
}

REPAINT_COLD void monai_system::finish_inpainting(run_plan& plan) {
    for (const int t : plan.scheduled->timesteps) {
        if (t > 0) {
            (void)monai_step(*plan.scheduled, t);
        }
    }
}

} // namespace repaint
