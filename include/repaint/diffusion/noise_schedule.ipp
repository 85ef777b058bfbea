#pragma once

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstddef>
#include <cstdio>
#include <numeric>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include <repaint/config.hpp>
#include <repaint/core/step_values.hpp>
#include <repaint/diffusion/beta_schedule.hpp>
#include <repaint/diffusion/noise_schedule.hpp>

namespace repaint {

namespace detail {

REPAINT_INLINE std::string shortest_text(double value) {
    std::array<char, 32> text{};
    std::snprintf(text.data(), text.size(), "%.9g", value);
    return text.data();
}

REPAINT_INLINE std::string quoted(std::string_view text) {
    constexpr std::size_t most = 60;
    // Appended piece by piece: g++ 12 sees an overlap in "..." + std::string that is not there.
    std::string result = "\"";
    result += text.substr(0, most);
    result += text.size() > most ? "...\"" : "\"";
    return result;
}

/// One positive count of a respacing. Spaces around it are accepted, as people write "10, 15, 20".
inline int respacing_count(std::string_view text, std::string_view spec) {
    while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) {
        text.remove_prefix(1);
    }
    while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) {
        text.remove_suffix(1);
    }
    if (text.empty()) {
        throw std::invalid_argument("respacing " + quoted(spec) +
                                    " has an empty section; write one count per section, " +
                                    "such as \"250\" or \"10,15,20\"");
    }
    int count = 0;
    const auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), count);
    if (code == std::errc::invalid_argument || end != text.data() + text.size()) {
        throw std::invalid_argument("respacing " + quoted(spec) + ": " + quoted(text) +
                                    " is not a count; accepted are " +
                                    "counts such as \"250\" or \"10,15,20\", or \"ddim25\"");
    }
    if (code == std::errc::result_out_of_range || count > most_diffusion_steps) {
        throw std::invalid_argument("respacing " + quoted(spec) + ": " + quoted(text) +
                                    " is out of range; a count is 1 to " + std::to_string(most_diffusion_steps));
    }
    if (count < 1) {
        throw std::invalid_argument("respacing " + quoted(spec) + ": a count must be at least 1, got " +
                                    std::to_string(count));
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
    throw std::invalid_argument("respacing " + quoted(spec) + ": no integer stride visits exactly " +
                                std::to_string(count) + " of " + std::to_string(steps) + " timesteps");
}

} // namespace detail

REPAINT_INLINE std::vector<int> respaced_timesteps(int steps, std::string_view spec) {
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
        throw std::invalid_argument("respacing " + detail::quoted(spec) + " has " + std::to_string(sections) +
                                    " sections, but there are only " + std::to_string(steps) + " timesteps");
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
            throw std::invalid_argument("respacing " + detail::quoted(spec) + ": section " +
                                        std::to_string(section + 1) + " holds " + std::to_string(size) +
                                        " timesteps, fewer than the " + std::to_string(count) + " asked for");
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

REPAINT_INLINE noise_schedule::noise_schedule(std::vector<double> betas) : betas_(std::move(betas)) {
    if (betas_.empty() || betas_.size() > static_cast<std::size_t>(detail::most_diffusion_steps)) {
        throw std::invalid_argument("noise_schedule: the number of betas must be 1 to " +
                                    std::to_string(detail::most_diffusion_steps) + ", got " +
                                    std::to_string(betas_.size()));
    }
    for (std::size_t i = 0; i < betas_.size(); ++i) {
        // The last test refuses what float64 cannot tell from no noise at all: it would divide by zero below.
        if (!(betas_[i] > 0.0 && betas_[i] <= 1.0 && 1.0 - betas_[i] < 1.0)) {
            throw std::invalid_argument("noise_schedule: beta[" + std::to_string(i) + "] is " +
                                        detail::shortest_text(betas_[i]) +
                                        ", every beta must be above 0 and at most 1");
        }
    }
    tabulate();
}

REPAINT_INLINE noise_schedule noise_schedule::linear(int steps) {
    detail::check_diffusion_steps("linear schedule", steps);
    const double scale = 1000.0 / static_cast<double>(steps);
    return noise_schedule(detail::evenly_spaced(scale * 0.0001, scale * 0.02, steps));
}

REPAINT_INLINE noise_schedule noise_schedule::linear(int steps, double beta_start, double beta_end) {
    return described("linear schedule", beta_kind::linear, steps, beta_start, beta_end);
}

REPAINT_INLINE noise_schedule noise_schedule::cosine(int steps) {
    detail::check_diffusion_steps("cosine schedule", steps);
    return noise_schedule(beta_schedule{.kind = beta_kind::squared_cosine, .steps = steps});
}

REPAINT_INLINE noise_schedule noise_schedule::scaled_linear(int steps, double beta_start, double beta_end) {
    return described("scaled linear schedule", beta_kind::scaled_linear, steps, beta_start, beta_end);
}

REPAINT_INLINE noise_schedule noise_schedule::sigmoid(int steps, double beta_start, double beta_end) {
    return described("sigmoid schedule", beta_kind::sigmoid, steps, beta_start, beta_end);
}

REPAINT_INLINE noise_schedule noise_schedule::respaced(std::string_view spec) const {
    return respaced(std::span<const int>(respaced_timesteps(size(), spec)));
}

REPAINT_INLINE noise_schedule noise_schedule::respaced(std::span<const int> kept) const {
    std::vector<double> betas;
    std::vector<int> timesteps;
    betas.reserve(kept.size());
    timesteps.reserve(kept.size());
    double last_alpha_bar = 1.0;
    for (std::size_t i = 0; i < kept.size(); ++i) {
        if (kept[i] < 0 || kept[i] >= size() || (i > 0 && kept[i] <= kept[i - 1])) {
            throw std::invalid_argument("respacing: kept timesteps must ascend within 0.." +
                                        std::to_string(size() - 1) + ", entry " + std::to_string(i) + " is " +
                                        std::to_string(kept[i]) +
                                        (i > 0 ? std::string(" after ") + std::to_string(kept[i - 1]) : ""));
        }
        const auto index = static_cast<std::size_t>(kept[i]);
        betas.push_back(1.0 - alpha_bars_[index] / last_alpha_bar);
        last_alpha_bar = alpha_bars_[index];
        timesteps.push_back(timesteps_[index]);
    }
    noise_schedule result(std::move(betas));
    result.timesteps_ = std::move(timesteps);
    return result;
}

REPAINT_INLINE mixing noise_schedule::forward(int t) const {
    // beta is rounded first and the roots are taken in float32: so do the published programs.
    const auto beta = static_cast<float>(betas_[checked(t)]);
    return {.signal = std::sqrt(1.0F - beta), .noise = std::sqrt(beta)};
}

REPAINT_INLINE mixing noise_schedule::marginal(int t) const {
    const auto alpha_bar = static_cast<float>(alpha_bars_[checked(t)]);
    return {.signal = std::sqrt(alpha_bar), .noise = std::sqrt(1.0F - alpha_bar)};
}

REPAINT_INLINE posterior noise_schedule::reverse(int t, prediction_type prediction, variance_type variance,
                                                 bool clip) const {
    const std::size_t i = checked(t);
    posterior p = predicting(i, prediction, clip);
    p.variance = variance;
    p.mean_from_x0 = static_cast<float>(mean_from_x0(i));
    p.mean_from_x = static_cast<float>(mean_from_x(i));
    p.noise = t == 0 ? 0.0F : 1.0F;
    const double log_beta = std::log(betas_[i]);
    p.min_log_variance = static_cast<float>(posterior_log_variance_[i]);
    p.max_log_variance = static_cast<float>(log_beta);
    if (variance == variance_type::fixed_large) {
        p.min_log_variance = static_cast<float>(t == 0 ? posterior_log_variance_[i] : log_beta);
    }
    if (!is_learned(variance)) {
        p.max_log_variance = p.min_log_variance;
    }
    return p;
}

REPAINT_INLINE posterior noise_schedule::ddim(int t, prediction_type prediction, double eta, bool clip) const {
    const std::size_t i = checked(t);
    if (!(eta >= 0.0 && eta <= 1.0)) {
        throw std::invalid_argument("eta must be 0 to 1, got " + detail::shortest_text(eta));
    }
    const double alpha_bar = alpha_bars_[i];
    const double previous = alpha_bars_previous_[i];
    require_signal(alpha_bar > 0.0, t, "a step of DDIM");
    posterior p = predicting(i, prediction, clip);
    p.prediction = prediction_type::x_0; // what remains is formed from x_0 and x_t
    p.variance = variance_type::fixed_small;
    p.guidance_by_variance = false;
    const double variance = eta * eta * (1.0 - previous) / (1.0 - alpha_bar) * (1.0 - alpha_bar / previous);
    const double noise_to_signal = std::sqrt(1.0 / alpha_bar - 1.0);
    const double from_epsilon = std::sqrt(std::max(0.0, 1.0 - previous - variance));
    p.mean_from_x0 = static_cast<float>(std::sqrt(previous) - from_epsilon / noise_to_signal);
    p.mean_from_x = static_cast<float>(from_epsilon * std::sqrt(1.0 / alpha_bar) / noise_to_signal);
    p.x0_from_guidance = static_cast<float>(noise_to_signal * std::sqrt(1.0 - alpha_bar));
    p.noise = variance > 0.0 ? 1.0F : 0.0F;
    p.min_log_variance = variance > 0.0 ? static_cast<float>(std::log(variance)) : 0.0F;
    p.max_log_variance = p.min_log_variance;
    return p;
}

REPAINT_INLINE double noise_schedule::mean_from_x0(std::size_t i) const {
    return betas_[i] * std::sqrt(alpha_bars_previous_[i]) / (1.0 - alpha_bars_[i]);
}

REPAINT_INLINE double noise_schedule::mean_from_x(std::size_t i) const {
    return (1.0 - alpha_bars_previous_[i]) * std::sqrt(1.0 - betas_[i]) / (1.0 - alpha_bars_[i]);
}

REPAINT_INLINE posterior noise_schedule::predicting(std::size_t i, prediction_type prediction, bool clip) const {
    const auto t = static_cast<int>(i);
    const double alpha_bar = alpha_bars_[i];
    posterior p;
    p.prediction = prediction;
    p.clip = clip;
    switch (prediction) {
    case prediction_type::epsilon:
        require_signal(alpha_bar > 0.0, t, "an epsilon prediction");
        p.x0_from_x = static_cast<float>(std::sqrt(1.0 / alpha_bar));
        p.x0_from_prediction = -static_cast<float>(std::sqrt(1.0 / alpha_bar - 1.0));
        break;
    case prediction_type::x_0:
        p.x0_from_x = 0.0F;
        p.x0_from_prediction = 1.0F;
        break;
    case prediction_type::previous_x:
        require_signal(mean_from_x0(i) > 0.0, t, "a previous_x prediction");
        p.x0_from_x = -static_cast<float>(mean_from_x(i) / mean_from_x0(i));
        p.x0_from_prediction = static_cast<float>(1.0 / mean_from_x0(i));
        break;
    case prediction_type::velocity:
        p.x0_from_x = static_cast<float>(std::sqrt(alpha_bar));
        p.x0_from_prediction = -static_cast<float>(std::sqrt(1.0 - alpha_bar));
        break;
    }
    return p;
}

REPAINT_INLINE noise_schedule noise_schedule::described(const char* what, beta_kind kind, int steps, double start,
                                                        double end) {
    detail::check_diffusion_steps(what, steps);
    if (!(start > 0.0 && start <= 1.0 && end > 0.0 && end <= 1.0)) {
        throw std::invalid_argument(std::string(what) +
                                    ": beta_start and beta_end must be above 0 and at most 1, got " +
                                    detail::shortest_text(start) + " and " + detail::shortest_text(end));
    }
    return noise_schedule(beta_schedule{.kind = kind, .steps = steps, .start = start, .end = end});
}

REPAINT_INLINE void noise_schedule::tabulate() {
    const std::size_t count = betas_.size();
    alpha_bars_.resize(count);
    alpha_bars_previous_.resize(count);
    posterior_variance_.resize(count);
    posterior_log_variance_.resize(count);
    timesteps_.resize(count);
    std::iota(timesteps_.begin(), timesteps_.end(), 0);
    double alpha_bar = 1.0;
    for (std::size_t i = 0; i < count; ++i) {
        alpha_bars_previous_[i] = alpha_bar;
        alpha_bar *= 1.0 - betas_[i];
        alpha_bars_[i] = alpha_bar;
        posterior_variance_[i] = betas_[i] * (1.0 - alpha_bars_previous_[i]) / (1.0 - alpha_bar);
    }
    for (std::size_t i = 1; i < count; ++i) {
        posterior_log_variance_[i] = std::log(posterior_variance_[i]);
    }
    posterior_log_variance_[0] = count > 1 ? posterior_log_variance_[1] : std::log(betas_[0]);
}

REPAINT_INLINE std::size_t noise_schedule::checked(int t) const {
    if (t < 0 || t >= size()) {
        throw std::invalid_argument("noise_schedule: timestep index " + std::to_string(t) + " is outside 0.." +
                                    std::to_string(size() - 1));
    }
    return static_cast<std::size_t>(t);
}

REPAINT_INLINE void noise_schedule::require_signal(bool some, int t, const char* what) {
    if (!some) {
        throw std::invalid_argument("noise_schedule: at timestep index " + std::to_string(t) +
                                    " no signal is left, so x_0 does not follow from " + what +
                                    "; a beta of 1 needs a network that predicts x_0");
    }
}

} // namespace repaint
