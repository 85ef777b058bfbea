#pragma once

#include <optional>
#include <string_view>
#include <vector>

#include <repaint/core/step_values.hpp>
#include <repaint/core/value_range.hpp>
#include <repaint/diffusion/betas.hpp>
#include <repaint/diffusion/tables.hpp>
#include <repaint/diffusion/timesteps.hpp>

namespace repaint {

/// A (respaced) schedule together with how the network's output is read: all that the official program's steps need.
struct diffusion_process {
    noise_schedule schedule;
    prediction_reading reading = {};
    std::optional<double> eta = std::nullopt; ///< given: reverse steps are DDIM's (Song et al. 2021)

    [[nodiscard]] int size() const { return schedule.size(); }
    [[nodiscard]] mixing forward(int t) const { return schedule.forward(t); }
    [[nodiscard]] mixing marginal(int t) const { return schedule.marginal(t); }
    [[nodiscard]] posterior reverse(int t) const;
};

/// All that the steps of diffusers and MONAI need: the training tables, the timesteps that a run visits, and how the
/// network's output is read.
struct scheduled_process {
    scheduler_tables training;
    std::vector<int> timesteps; ///< ascending
    prediction_reading reading = {};
    std::optional<double> eta = std::nullopt; ///< given, 0 to 1: reverse steps are DDIM's

    /// The steps of the tables under this reading; DDIM's with eta 0 when there is none.
    [[nodiscard]] posterior ddim(int from, int to) const;
    [[nodiscard]] posterior ancestral(int from, int to, float beta, variance_type read_as) const;

    [[nodiscard]] int timestep(int index) const { return timesteps[static_cast<std::size_t>(index)]; }

    /// Training timesteps per visited one, rounded down.
    [[nodiscard]] int stride() const { return training.size() / static_cast<int>(timesteps.size()); }
};

/// How a network was trained to diffuse: the training schedule and the meaning of its output.
struct diffusion_settings {
    noise_schedule training = noise_schedule::linear();
    prediction_reading reading = {};
    double timestep_scale = 1.0; ///< what the network is told per training timestep; 1000 / steps when rescaled
    /// `training` in the words it was configured with, where those are known: the systems diffusers and monai compute
    /// with the float32 tables that follow from them. Unknown: with the betas of `training` rounded to float32.
    std::optional<beta_schedule> betas = std::nullopt;
    value_range data_range = {};       ///< of the images it was trained on
    scheduler_settings scheduler = {}; ///< for the systems diffusers and monai

    /// The process over the timesteps that `spec` keeps (noise_schedule::respaced). Throws std::invalid_argument.
    [[nodiscard]] diffusion_process respaced(std::string_view spec) const;
};

} // namespace repaint

#ifndef REPAINT_COMPILED
#include <repaint/diffusion/process.ipp>
#endif
