#pragma once

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstddef>
#include <numeric>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include <repaint/config.hpp>
#include <repaint/core/text.hpp>
#include <repaint/diffusion/betas.hpp>
#include <repaint/diffusion/timesteps.hpp>

namespace repaint {

namespace detail {

/// One positive count of a respacing. Spaces around it are accepted, as people write "10, 15, 20".
inline int respacing_count(std::string_view text, std::string_view spec) {
    while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) {
        text.remove_prefix(1);
    }
    while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) {
        text.remove_suffix(1);
    }
    if (text.empty()) {
        throw std::invalid_argument(
            joined_text({"respacing ", quoted(spec), " has an empty section; write one count per section, ",
                         "such as \"250\" or \"10,15,20\""}));
    }
    int count = 0;
    const auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), count);
    if (code == std::errc::invalid_argument || end != text.data() + text.size()) {
        throw std::invalid_argument(
            joined_text({"respacing ", quoted(spec), ": ", quoted(text), " is not a count; accepted are ",
                         "counts such as \"250\" or \"10,15,20\", or \"ddim25\""}));
    }
    if (code == std::errc::result_out_of_range || count > most_diffusion_steps) {
        throw std::invalid_argument(joined_text({"respacing ", quoted(spec), ": ", quoted(text),
                                                 " is out of range; a count is 1 to ", most_diffusion_steps}));
    }
    if (count < 1) {
        throw std::invalid_argument(
            joined_text({"respacing ", quoted(spec), ": a count must be at least 1, got ", count}));
    }
    return count;
}

/// "ddimN": the first integer stride that visits exactly `count` of `steps` timesteps.
inline std::vector<int> strided_timesteps(int steps, int count, std::string_view spec) {
    for (int stride = 1; stride < steps; ++stride) {
        if ((steps - 1) / stride + 1 == count) {
            std::vector<int> kept;
            for (int t = 0; t < steps; t += stride) {
                kept.push_back(t);
            }
            return kept;
        }
    }
    throw std::invalid_argument(joined_text(
        {"respacing ", quoted(spec), ": no integer stride visits exactly ", count, " of ", steps, " timesteps"}));
}

/// The one count that the systems diffusers and MONAI take; an empty spec is all of `steps`. Throws
/// std::invalid_argument.
inline int plain_count(const char* system, int steps, std::string_view spec, const char* also = "") {
    int count = steps;
    const auto [end, code] = std::from_chars(spec.data(), spec.data() + spec.size(), count);
    if (!spec.empty() && (code != std::errc() || end != spec.data() + spec.size() || count < 1 || count > steps)) {
        throw std::invalid_argument(joined_text({"timesteps of the system ", std::string(system),
                                                 " must be a count from 1 to ", steps, also, ", got ", quoted(spec)}));
    }
    return count;
}

/// 0, stride, 2 stride ... with the largest stride that fits `count` times into `steps`.
inline std::vector<int> leading_timesteps(int steps, int count) {
    std::vector<int> visited;
    for (int i = 0; i < count; ++i) {
        visited.push_back(i * (steps / count));
    }
    return visited;
}

} // namespace detail

REPAINT_COLD std::vector<int> respaced_timesteps(int steps, std::string_view spec) {
    detail::check_diffusion_steps("respacing", steps);
    if (spec.empty()) {
        std::vector<int> all(static_cast<std::size_t>(steps));
        std::iota(all.begin(), all.end(), 0);
        return all;
    }
    constexpr std::string_view ddim = "ddim";
    if (spec.substr(0, ddim.size()) == ddim) {
        return detail::strided_timesteps(steps, detail::respacing_count(spec.substr(ddim.size()), spec), spec);
    }
    std::size_t sections = 1;
    for (const char c : spec) {
        sections += c == ',' ? 1U : 0U;
    }
    const auto total = static_cast<std::size_t>(steps);
    if (sections > total) {
        throw std::invalid_argument(joined_text(
            {"respacing ", quoted(spec), " has ", sections, " sections, but there are only ", steps, " timesteps"}));
    }
    std::vector<int> kept;
    int start = 0;
    std::string_view rest = spec;
    for (std::size_t section = 0; section < sections; ++section) {
        const std::size_t comma = rest.find(',');
        const int count = detail::respacing_count(rest.substr(0, comma), spec);
        rest.remove_prefix(comma == std::string_view::npos ? rest.size() : comma + 1);
        const int size = static_cast<int>(total / sections + (section < total % sections ? 1 : 0));
        if (count > size) {
            throw std::invalid_argument(joined_text({"respacing ", quoted(spec), ": section ", section + 1, " holds ",
                                                     size, " timesteps, fewer than the ", count, " asked for"}));
        }
        // The stride is added up, not multiplied: networks were trained with the sums, and some round differently.
        const double stride = count == 1 ? 1.0 : static_cast<double>(size - 1) / static_cast<double>(count - 1);
        double position = 0.0;
        for (int i = 0; i < count; ++i) {
            kept.push_back(start + static_cast<int>(std::nearbyint(position)));
            position += stride;
        }
        start += size;
    }
    return kept;
}

REPAINT_COLD std::vector<int> diffusers_timesteps(int steps, std::string_view spec) {
    const int count = detail::plain_count("diffusers", detail::most_diffusion_steps, spec);
    return detail::leading_timesteps(steps, spec.empty() ? steps : std::min(count, steps));
}

REPAINT_COLD std::vector<int> diffusers_sampling_timesteps(int steps, std::string_view spec,
                                                           const scheduler_settings& scheduler) {
    const int count = detail::plain_count("diffusers", steps, spec);
    std::vector<int> visited;
    switch (scheduler.spacing.value_or(timestep_spacing::leading)) {
    case timestep_spacing::linspace:
        for (const double t : detail::evenly_spaced(0.0, static_cast<double>(steps - 1), count)) {
            visited.push_back(static_cast<int>(std::nearbyint(t)));
        }
        return visited;
    case timestep_spacing::trailing:
        for (int i = count - 1; i >= 0; --i) {
            const double stride = static_cast<double>(steps) / static_cast<double>(count);
            const double step = (static_cast<double>(steps) - stride) - static_cast<double>(steps); // as numpy.arange
            visited.push_back(static_cast<int>(std::nearbyint(static_cast<double>(steps) + i * step)) - 1);
        }
        return visited;
    default: break;
    }
    visited = detail::leading_timesteps(steps, count);
    for (int& t : visited) {
        t += scheduler.offset;
    }
    if (visited.front() < 0 || visited.back() >= steps) {
        throw std::invalid_argument(
            joined_text({"an offset of ", scheduler.offset, " takes ", count, " timesteps to ", visited.front(),
                         " ... ", visited.back(), ", the training had 0 ... ", steps - 1, "; take fewer"}));
    }
    return visited;
}

REPAINT_COLD std::vector<int> monai_timesteps(int steps, std::string_view spec, const scheduler_settings& scheduler) {
    constexpr std::string_view strided = "ddim";
    const bool asked = spec.size() > strided.size() && spec.substr(0, strided.size()) == strided;
    const bool leading = asked || scheduler.spacing == timestep_spacing::leading;
    const int offset = scheduler.offset;
    const int count =
        detail::plain_count("monai", steps, asked ? spec.substr(strided.size()) : spec, ", or \"ddim\" and a count");
    const int most = leading ? (count - 1) * (steps / count) + 1 : count; // that the last count of them need
    if (offset < 0 || most + offset > steps) {
        throw std::invalid_argument(
            joined_text({"an offset of ", offset, " does not leave ", count, " of ", steps, " timesteps; take fewer"}));
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

} // namespace repaint
