#pragma once

#include <algorithm>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include <repaint/concepts.hpp>
#include <repaint/config.hpp>
#include <repaint/diffusion/diffusers_loop.hpp>
#include <repaint/diffusion/float_schedule.hpp>
#include <repaint/diffusion/jump_schedule.hpp>

namespace repaint {

REPAINT_INLINE std::vector<int> diffusers_timesteps(int steps, std::string_view spec) {
    const int count = detail::plain_count("diffusers", detail::most_diffusion_steps, spec);
    return detail::leading_timesteps(steps, spec.empty() ? steps : std::min(count, steps));
}

REPAINT_INLINE std::vector<transition> diffusers_walk(int timesteps, const jump_options& options) {
    if (const char* name = detail::first_unknown_jump_option(options, {"jump_length", "jump_n_sample"})) {
        throw std::invalid_argument(std::string("the algorithm diffusers knows jump_length and jump_n_sample only, ") +
                                    name + " must be left alone");
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

} // namespace repaint
