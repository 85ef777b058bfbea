#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <repaint/core/value_range.hpp>
#include <repaint/diffusion/jump_schedule.hpp>
#include <repaint/diffusion/timesteps.hpp>

namespace repaint {

/// Whose published loop a run follows: the official program's (Lugmayr et al. 2022; unconditional: guided-diffusion's),
/// that of diffusers' pipelines, or that of MONAI's tutorial and inferer. They differ in when and how what is known
/// comes in, in the timesteps visited, in the walk, in the random numbers drawn and in the precision of the tables:
/// diffusion/systems/ has a file for each, with its published defaults.
enum class sampling_system { official, diffusers, monai };

/// "official", "diffusers" or "monai".
[[nodiscard]] std::string to_string(sampling_system system);

/// The system of that name. Throws std::invalid_argument with the names there are.
[[nodiscard]] sampling_system parse_sampling_system(std::string_view name);

/// What a run of RePaint is asked for. The defaults are those of the official program, whatever the system: another
/// system's own are official_system::defaults(), diffusers_system::defaults() and monai_system::defaults().
struct inpaint_options {
    timestep_spec timesteps = 250; ///< diffusers and monai take a plain count
    jump_options jumps = {};
    std::vector<int> labels = {}; ///< class-conditional networks: one per image, or one for all
    /// Given, 0 to 1: reverse steps are DDIM's instead of the trained ones. The steps of diffusers always are, with 0
    /// unless given.
    std::optional<double> eta = std::nullopt;
    /// Known pixels are the input's, exactly; false: the raw sample, as the official program. The samples of diffusers
    /// and monai are merged with what is known already, each by its own rule for a soft mask, and stay as they are.
    bool composite = true;
    sampling_system system = sampling_system::official;
    /// What black and white are in the images that come in and go out. The network sees its own range, whatever this is.
    value_range images = {};
};

/// What unconditional sampling is asked for.
struct sampling_options {
    timestep_spec timesteps = 250;            ///< diffusers and monai take a plain count
    std::vector<int> labels = {};             ///< class-conditional networks: one per image, or one for all
    std::optional<double> eta = std::nullopt; ///< given, 0 to 1: reverse steps are DDIM's
    sampling_system system = sampling_system::official;
    value_range images = {}; ///< what black and white are in the images that go out
};

} // namespace repaint

#ifndef REPAINT_COMPILED
#include <repaint/diffusion/run_options.ipp>
#endif
