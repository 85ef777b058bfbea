#pragma once

#include <cstddef>
#include <initializer_list>
#include <span>
#include <string_view>
#include <vector>

#include <repaint/core/step_values.hpp>

namespace repaint {

/// RePaint's resampling (Lugmayr et al. 2022, section 4.2), in the words of its configuration files. Every jump_length
/// timesteps the walk jumps back up by jump_length and comes down again, until it has passed jump_n_sample times.
struct jump_options {
    /// Passes over every single step.
    int n_sample = 1;
    int jump_length = 10;
    /// 1 is plain ancestral sampling.
    int jump_n_sample = 10;
    /// Jumps nested inside the jumps; they start afresh after every jump of the level above.
    int jump2_length = 1;
    int jump2_n_sample = 1;
    int jump3_length = 1;
    int jump3_n_sample = 1;
    /// Nothing is resampled above this timestep.
    int start_resampling = 100000000;
};

namespace detail {

/// The first option that is not at its default though its name is not among those known; null when there is none.
const char* first_unknown_jump_option(const jump_options& options, std::initializer_list<std::string_view> known);

/// A longer walk is a slip of the keyboard: a thousand times the published one is still far below.
inline constexpr std::size_t most_transitions = 10'000'000;

} // namespace detail

/// The walk of RePaint over timesteps - 1 ... 0 and out to -1 (Lugmayr et al. 2022, appendix B). The first `from` is
/// timesteps - 1, the last `to` is -1; timesteps must be the size of the noise schedule. The defaults over 250
/// timesteps make 4570 transitions, 2410 of them network evaluations. Throws std::invalid_argument when an option is
/// below 1, when a jump is not shorter than the walk, or when there would be more than 10 million transitions.
std::vector<transition> jump_schedule(int timesteps, const jump_options& options = {});

/// How often a walk evaluates the network: its moves down.
int network_evaluations(std::span<const transition> walk);

} // namespace repaint

#ifndef REPAINT_COMPILED
#include <repaint/diffusion/jump_schedule.ipp>
#endif
