#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <repaint/config.hpp>
#include <repaint/diffusion/diffusers_loop.hpp>
#include <repaint/diffusion/jump_schedule.hpp>
#include <repaint/diffusion/monai_loop.hpp>
#include <repaint/diffusion/scheduler_loop.hpp>
#include <repaint/model/diffusion_model.hpp>
#include <repaint/run_plan.hpp>

namespace repaint {

REPAINT_INLINE std::string algorithm_name(algorithm a) {
    switch (a) {
    case algorithm::diffusers: return "diffusers";
    case algorithm::monai: return "monai";
    default: return "official";
    }
}

REPAINT_INLINE std::vector<int> visited_timesteps(algorithm how, int steps, std::string_view spec,
                                                  const scheduler_settings& scheduler) {
    switch (how) {
    case algorithm::diffusers: return diffusers_timesteps(steps, spec);
    case algorithm::monai: return monai_timesteps(steps, spec, scheduler);
    default: return respaced_timesteps(steps, spec);
    }
}

REPAINT_INLINE std::vector<int> sampled_timesteps(algorithm how, int steps, std::string_view spec,
                                                  const scheduler_settings& scheduler) {
    return how == algorithm::diffusers ? diffusers_sampling_timesteps(steps, spec, scheduler)
                                       : visited_timesteps(how, steps, spec, scheduler);
}

REPAINT_INLINE std::vector<transition> inpainting_walk(algorithm how, std::span<const int> timesteps,
                                                       const jump_options& jumps) {
    const auto count = static_cast<int>(timesteps.size());
    switch (how) {
    case algorithm::diffusers: return diffusers_walk(count, jumps);
    case algorithm::monai: return monai_walk(timesteps, jumps);
    default: return jump_schedule(count, jumps);
    }
}

REPAINT_INLINE std::size_t inpainting_evaluations(algorithm how, std::span<const int> timesteps,
                                                  std::span<const transition> walk) {
    const auto down = static_cast<std::size_t>(network_evaluations(walk));
    return how == algorithm::monai && timesteps.front() == 0 ? down - 1 : down;
}

namespace detail {

inline run_plan plan_steps(const diffusion_settings& settings, algorithm how, std::vector<int> visited,
                           std::optional<double> eta, bool ends_clean) {
    if (eta && !(*eta >= 0.0 && *eta <= 1.0)) {
        throw std::invalid_argument("eta must be 0 to 1, got " + shortest_text(*eta));
    }
    run_plan plan{how,
                  {settings.training.respaced(std::span<const int>(visited)), settings.prediction, settings.variance,
                   settings.clip, std::nullopt, settings.limits},
                  std::nullopt,
                  {},
                  0};
    if (how == algorithm::official) {
        plan.process.eta = eta;
    } else {
        if (settings.prediction == prediction_type::previous_x) {
            throw std::invalid_argument("the network predicts the previous x, which only the algorithm official knows");
        }
        auto training = settings.betas ? float_schedule(*settings.betas, ends_clean)
                                       : float_schedule(settings.training, ends_clean);
        plan.scheduled = scheduled_process{std::move(training), std::move(visited), settings.prediction,
                                           settings.variance,   settings.clip,      eta,
                                           settings.limits};
    }
    return plan;
}

/// Makes every step once, so that one that divides by zero throws before the run.
inline void check_inpainting_steps(const run_plan& plan) {
    const scheduled_process& process = *plan.scheduled;
    for (const int t : process.timesteps) {
        if (plan.how == algorithm::diffusers) {
            (void)process.ddim(t, t - process.stride());
        } else if (t > 0) {
            (void)monai_step(process, t);
        }
    }
}

} // namespace detail

REPAINT_INLINE std::vector<scheduled_step> sampling_steps(const run_plan& plan) {
    return plan.how == algorithm::diffusers ? diffusers_steps(*plan.scheduled) : monai_steps(*plan.scheduled);
}

REPAINT_INLINE run_plan plan_inpainting(const diffusion_settings& settings, algorithm how, std::string_view timesteps,
                                        const jump_options& jumps, std::optional<double> eta) {
    const auto& scheduler = settings.scheduler;
    const bool monai = how == algorithm::monai;
    const auto used_eta = !eta && monai && scheduler.ddim ? std::optional<double>(0.0) : eta;
    run_plan plan =
        detail::plan_steps(settings, how, visited_timesteps(how, settings.training.size(), timesteps, scheduler),
                           used_eta, !monai || !used_eta || scheduler.ends_clean);
    const auto visited = plan.process.schedule.timesteps();
    plan.walk = inpainting_walk(how, visited, jumps);
    plan.evaluations = inpainting_evaluations(how, visited, plan.walk);
    if (how == algorithm::diffusers) {
        plan.scheduled->limits = {}; // RePaintScheduler has no others
    }
    if (how != algorithm::official) {
        detail::check_inpainting_steps(plan);
    }
    return plan;
}

REPAINT_INLINE run_plan plan_sampling(const diffusion_settings& settings, algorithm how, std::string_view timesteps,
                                      std::optional<double> eta) {
    const auto& scheduler = settings.scheduler;
    const auto used_eta = !eta && how != algorithm::official && scheduler.ddim ? std::optional<double>(0.0) : eta;
    run_plan plan =
        detail::plan_steps(settings, how, sampled_timesteps(how, settings.training.size(), timesteps, scheduler),
                           used_eta, !used_eta || scheduler.ends_clean);
    plan.walk = jump_schedule(plan.process.size(), {.jump_n_sample = 1});
    plan.evaluations = plan.walk.size();
    if (how != algorithm::official) {
        (void)sampling_steps(plan); // which throws here what it would throw later
    }
    return plan;
}

} // namespace repaint
