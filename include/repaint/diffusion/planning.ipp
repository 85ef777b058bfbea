#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <repaint/config.hpp>
#include <repaint/core/text.hpp>
#include <repaint/diffusion/jump_schedule.hpp>
#include <repaint/diffusion/planning.hpp>
#include <repaint/diffusion/run_plan.hpp>
#include <repaint/diffusion/systems.hpp>

namespace repaint {

namespace detail {

inline void check_eta(const std::optional<double>& eta) {
    if (eta && !(*eta >= 0.0 && *eta <= 1.0)) {
        throw std::invalid_argument(joined_text({"eta must be 0 to 1, got ", shortest_text(*eta)}));
    }
}

/// The part of a plan that does not depend on the walk.
inline run_plan plan_steps(const diffusion_settings& settings, sampling_system system, std::vector<int> visited,
                           std::optional<double> eta, bool ends_clean) {
    check_eta(eta);
    run_plan plan{
        .system = system,
        .process = {settings.training.respaced(std::span<const int>(visited)), settings.reading, std::nullopt},
        .scheduled = std::nullopt,
        .walk = {},
        .evaluations = 0};
    if (system == sampling_system::official) {
        plan.process.eta = eta;
        return plan;
    }
    if (settings.reading.prediction == prediction_type::previous_x) {
        throw std::invalid_argument("the network predicts the previous x, which only the system official knows");
    }
    auto training = settings.betas ? scheduler_tables(*settings.betas, ends_clean)
                                   : scheduler_tables(settings.training, ends_clean);
    plan.scheduled = scheduled_process{std::move(training), std::move(visited), settings.reading, eta};
    return plan;
}

/// The one walk of unconditional sampling: down over every timestep.
inline void walk_down(run_plan& plan) {
    plan.walk = jump_schedule(plan.process.size(), {.jump_n_sample = 1});
    plan.evaluations = plan.walk.size();
}

template <class Options> run_plan plan_given(const diffusion_process& process, const Options& options) {
    if (options.system != sampling_system::official) {
        throw std::invalid_argument(
            joined_text({"a process that is respaced already is followed as the system official does; for ",
                         to_string(options.system), " give the settings of the training"}));
    }
    const std::string& asked = options.timesteps.text;
    if (asked != Options{}.timesteps.text && asked != std::to_string(process.size())) {
        throw std::invalid_argument(
            joined_text({"timesteps ", repaint::quoted(asked), " were asked for, but the process has its ",
                         process.size(), " already: respace it, or give the settings of the training"}));
    }
    check_eta(options.eta);
    run_plan plan{.system = sampling_system::official,
                  .process = process,
                  .scheduled = std::nullopt,
                  .walk = {},
                  .evaluations = 0};
    if (options.eta) {
        plan.process.eta = options.eta;
    }
    return plan;
}

} // namespace detail

REPAINT_COLD std::vector<int> inpainting_timesteps(sampling_system system, int steps, const timestep_spec& spec,
                                                   const scheduler_settings& scheduler) {
    return with_system(system, [&](auto s) { return s.timesteps(steps, spec.text, scheduler); });
}

REPAINT_COLD std::vector<transition> inpainting_walk(sampling_system system, std::span<const int> timesteps,
                                                     const jump_options& jumps) {
    return with_system(system, [&](auto s) { return s.walk(timesteps, jumps); });
}

REPAINT_COLD std::size_t inpainting_evaluations(sampling_system system, std::span<const int> timesteps,
                                                std::span<const transition> walk) {
    return with_system(system, [&](auto s) { return s.evaluations(timesteps, walk); });
}

REPAINT_COLD run_plan plan_inpainting(const diffusion_settings& settings, const inpaint_options& options) {
    return with_system(options.system, [&](auto s) {
        const auto& scheduler = settings.scheduler;
        const auto eta = s.eta(options.eta, scheduler, true);
        run_plan plan = detail::plan_steps(settings, options.system,
                                           s.timesteps(settings.training.size(), options.timesteps.text, scheduler),
                                           eta, s.ends_clean(eta, scheduler, true));
        const auto visited = plan.process.schedule.timesteps();
        plan.walk = s.walk(visited, options.jumps);
        plan.evaluations = s.evaluations(visited, plan.walk);
        s.finish_inpainting(plan);
        return plan;
    });
}

REPAINT_COLD run_plan plan_sampling(const diffusion_settings& settings, const sampling_options& options) {
    return with_system(options.system, [&](auto s) {
        const auto& scheduler = settings.scheduler;
        const auto eta = s.eta(options.eta, scheduler, false);
        const int steps = settings.training.size();
        run_plan plan =
            detail::plan_steps(settings, options.system, s.sampling_timesteps(steps, options.timesteps.text, scheduler),
                               eta, s.ends_clean(eta, scheduler, false));
        detail::walk_down(plan);
        if (plan.scheduled) {
            (void)s.sampling_steps(*plan.scheduled); // which throws here what it would throw later
        }
        return plan;
    });
}

REPAINT_COLD run_plan plan_inpainting(const diffusion_process& process, const inpaint_options& options) {
    run_plan plan = detail::plan_given(process, options);
    plan.walk = official_system::walk(plan.process.schedule.timesteps(), options.jumps);
    plan.evaluations = official_system::evaluations(plan.process.schedule.timesteps(), plan.walk);
    return plan;
}

REPAINT_COLD run_plan plan_sampling(const diffusion_process& process, const sampling_options& options) {
    run_plan plan = detail::plan_given(process, options);
    detail::walk_down(plan);
    return plan;
}

} // namespace repaint
