#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include <repaint/concepts.hpp>
#include <repaint/config.hpp>
#include <repaint/diffusion/float_schedule.hpp>
#include <repaint/diffusion/jump_schedule.hpp>
#include <repaint/diffusion/monai_loop.hpp>
#include <repaint/diffusion/scheduler_settings.hpp>

namespace repaint {

REPAINT_INLINE std::vector<int> monai_timesteps(int steps, std::string_view spec, const scheduler_settings& scheduler) {
    constexpr std::string_view strided = "ddim";
    const bool asked = spec.size() > strided.size() && spec.substr(0, strided.size()) == strided;
    const bool leading = asked || scheduler.spacing == timestep_spacing::leading;
    const int offset = scheduler.offset;
    const int count =
        detail::plain_count("monai", steps, asked ? spec.substr(strided.size()) : spec, ", or \"ddim\" and a count");
    const int most = leading ? (count - 1) * (steps / count) + 1 : count; // that the last count of them need
    if (offset < 0 || most + offset > steps) {
        throw std::invalid_argument("an offset of " + std::to_string(offset) + " does not leave " +
                                    std::to_string(count) + " of " + std::to_string(steps) + " timesteps; take fewer");
    }
    std::vector<int> visited;
    if (!leading) {
        // Downwards in float32: where a timestep would be halfway, the error of that decides.
        for (const float t : detail::evenly_spaced32(static_cast<float>(steps - 1 - offset), 0.0F, count)) {
            visited.push_back(static_cast<int>(std::nearbyint(t)) + offset);
        }
        std::reverse(visited.begin(), visited.end());
        return visited;
    }
    visited = detail::leading_timesteps(steps, count);
    for (int& t : visited) {
        t += offset;
    }
    return visited;
}

REPAINT_INLINE std::vector<transition> monai_walk(std::span<const int> timesteps, const jump_options& options) {
    const auto refuse = [](const std::string& why) { throw std::invalid_argument("the algorithm monai " + why); };
    if (const char* name = detail::first_unknown_jump_option(options, {"n_sample"})) {
        refuse(std::string("does not jump, it passes n_sample times over every step: ") + name + " must be left alone");
    }
    if (options.n_sample < 1) {
        throw std::invalid_argument("n_sample must be at least 1, got " + std::to_string(options.n_sample));
    }
    if (timesteps.empty() || timesteps.back() == 0) {
        refuse("asks the network at no timestep but those above 0, so there must be one");
    }
    if (timesteps.size() * 2 > detail::most_transitions / static_cast<std::size_t>(options.n_sample)) {
        refuse("would make more than " + std::to_string(detail::most_transitions) +
               " transitions; lower n_sample or timesteps");
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

REPAINT_INLINE host_tensor monai_keep(const host_tensor& keep) {
    host_tensor result(keep.shape());
    for (std::size_t i = 0; i < keep.size(); ++i) {
        result.values()[i] = keep.values()[i] == 1.0F ? 1.0F : 0.0F;
    }
    return result;
}

} // namespace repaint
