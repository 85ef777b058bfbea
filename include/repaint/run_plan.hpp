#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <repaint/diffusion/jump_schedule.hpp>
#include <repaint/diffusion/process.hpp>
#include <repaint/diffusion/scheduler_loop.hpp>
#include <repaint/model/diffusion_model.hpp>

namespace repaint {

/// Whose published loop a run follows: the official program's (Lugmayr et al. 2022; unconditional: guided-diffusion's),
/// that of diffusers' pipelines, or that of MONAI's tutorial and inferer. They differ in when and how what is known
/// comes in, in the timesteps visited, in the walk, in the random numbers drawn and in the precision of the tables:
/// official_loop.hpp, diffusers_loop.hpp, monai_loop.hpp and scheduler_loop.hpp tell how.
enum class algorithm { official, diffusers, monai };

[[nodiscard]] std::string algorithm_name(algorithm a);

/// The training timesteps that inpainting visits, ascending. Throws std::invalid_argument when the spec is not what the
/// algorithm takes.
[[nodiscard]] std::vector<int> visited_timesteps(algorithm how, int steps, std::string_view spec,
                                                 const scheduler_settings& scheduler = {});

/// The same of unconditional sampling.
[[nodiscard]] std::vector<int> sampled_timesteps(algorithm how, int steps, std::string_view spec,
                                                 const scheduler_settings& scheduler = {});

/// The walk of RePaint over them. Throws std::invalid_argument when an option is not the algorithm's.
[[nodiscard]] std::vector<transition> inpainting_walk(algorithm how, std::span<const int> timesteps,
                                                      const jump_options& jumps);

/// How often such a walk asks the network.
[[nodiscard]] std::size_t inpainting_evaluations(algorithm how, std::span<const int> timesteps,
                                                 std::span<const transition> walk);

/// All that a run needs to know besides network and images.
struct run_plan {
    algorithm how = algorithm::official;
    diffusion_process process;                  ///< what the network is told at each index, and the official steps
    std::optional<scheduled_process> scheduled; ///< the steps of diffusers and MONAI
    std::vector<transition> walk;
    std::size_t evaluations = 0; ///< of the network, over the whole walk
};

/// The steps of unconditional sampling with diffusers or MONAI. Throws std::invalid_argument where a step divides by
/// zero.
[[nodiscard]] std::vector<scheduled_step> sampling_steps(const run_plan& plan);

/// RePaint with a trained network. Throws std::invalid_argument when options do not fit together.
[[nodiscard]] run_plan plan_inpainting(const diffusion_settings& settings, algorithm how, std::string_view timesteps,
                                       const jump_options& jumps, std::optional<double> eta);

/// Unconditional sampling: once down over the timesteps. Throws std::invalid_argument when options do not fit together.
[[nodiscard]] run_plan plan_sampling(const diffusion_settings& settings, algorithm how, std::string_view timesteps,
                                     std::optional<double> eta);

} // namespace repaint

#ifndef REPAINT_COMPILED
#include <repaint/run_plan.ipp>
#endif
