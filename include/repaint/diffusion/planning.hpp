#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include <repaint/core/step_values.hpp>
#include <repaint/diffusion/process.hpp>
#include <repaint/diffusion/run_options.hpp>
#include <repaint/diffusion/run_plan.hpp>

namespace repaint {

/// Plans RePaint with a network that was trained as `settings` say. Throws std::invalid_argument when options do not fit
/// together.
[[nodiscard]] run_plan plan_inpainting(const diffusion_settings& settings, const inpaint_options& options);

/// Plans unconditional sampling: once down over the timesteps. Throws std::invalid_argument when options do not fit
/// together.
[[nodiscard]] run_plan plan_sampling(const diffusion_settings& settings, const sampling_options& options);

/// Plans RePaint over a process that is respaced already, in the official program's way. Throws std::invalid_argument when
/// the options ask for another system or for other timesteps than the process has, or jumps do not fit.
[[nodiscard]] run_plan plan_inpainting(const diffusion_process& process, const inpaint_options& options);

/// Plans unconditional sampling over a process that is respaced already. Throws as the function above.
[[nodiscard]] run_plan plan_sampling(const diffusion_process& process, const sampling_options& options);

/// The training timesteps that inpainting visits, ascending, and the walk over them. Throws std::invalid_argument when
/// an option is not the system's.
[[nodiscard]] std::vector<int> inpainting_timesteps(sampling_system system, int steps, const timestep_spec& spec,
                                                    const scheduler_settings& scheduler = {});
[[nodiscard]] std::vector<transition> inpainting_walk(sampling_system system, std::span<const int> timesteps,
                                                      const jump_options& jumps);

/// How often such a walk asks the network.
[[nodiscard]] std::size_t inpainting_evaluations(sampling_system system, std::span<const int> timesteps,
                                                 std::span<const transition> walk);

} // namespace repaint

#ifndef REPAINT_COMPILED
#include <repaint/diffusion/planning.ipp>
#endif
