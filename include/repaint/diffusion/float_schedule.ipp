#pragma once

#include <algorithm>
#include <charconv>
#include <cmath>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include <repaint/config.hpp>
#include <repaint/core/step_values.hpp>
#include <repaint/diffusion/beta_schedule.hpp>
#include <repaint/diffusion/float_schedule.hpp>
#include <repaint/diffusion/noise_schedule.hpp>

namespace repaint {

REPAINT_INLINE float_schedule::float_schedule(const beta_schedule& described, bool ends_clean)
    : betas_(betas32(described)), alpha_bars_(alpha_bars32(described, betas_)),
      below_(ends_clean ? 1.0F : alpha_bars_.front()) {
    (void)noise_schedule(betas64(described)); // names a beta that cannot be
}

REPAINT_INLINE float_schedule::float_schedule(const noise_schedule& schedule, bool ends_clean)
    : float_schedule(
          beta_schedule{.kind = beta_kind::listed, .betas = {schedule.betas().begin(), schedule.betas().end()}},
          ends_clean) {}

REPAINT_INLINE mixing float_schedule::marginal(int t) const {
    return {.signal = std::sqrt(alpha_bar(t)), .noise = std::sqrt(1.0F - alpha_bar(t))};
}

REPAINT_INLINE mixing float_schedule::forward(int t) const {
    return {.signal = std::sqrt(1.0F - beta(t)), .noise = std::sqrt(beta(t))};
}

REPAINT_INLINE posterior float_schedule::ddim(int from, int to, prediction_type prediction, float eta,
                                              bool clip) const {
    posterior p = predicting(from, prediction, clip);
    const float signal = alpha_bar(from);
    const float previous = alpha_bar(to);
    const float variance = (1.0F - previous) / (1.0F - signal) * (1.0F - signal / previous);
    const float deviation = eta * std::sqrt(std::max(0.0F, variance));
    const float direction = std::sqrt(std::max(0.0F, 1.0F - previous - deviation * deviation));
    const float noise = std::sqrt(1.0F - signal);
    p.mean_from_x0 = std::sqrt(previous);
    switch (prediction) {
    case prediction_type::x_0:
        p.mean_from_x = direction / noise;
        p.mean_from_prediction = -direction * std::sqrt(signal) / noise;
        break;
    case prediction_type::velocity:
        p.mean_from_x = direction * noise;
        p.mean_from_prediction = direction * std::sqrt(signal);
        break;
    default: p.mean_from_prediction = direction; break;
    }
    p.noise = deviation > 0.0F ? 1.0F : 0.0F;
    p.min_log_variance = deviation > 0.0F ? 2.0F * std::log(deviation) : 0.0F;
    p.max_log_variance = p.min_log_variance;
    return p;
}

REPAINT_INLINE posterior float_schedule::ancestral(int from, int to, float beta, prediction_type prediction,
                                                   variance_type variance, bool clip) const {
    posterior p = predicting(from, prediction, clip);
    const float signal = alpha_bar(from);
    const float previous = alpha_bar(to);
    p.mean_from_x0 = std::sqrt(previous) * beta / (1.0F - signal);
    p.mean_from_x = std::sqrt(1.0F - beta) * (1.0F - previous) / (1.0F - signal);
    p.variance = variance;
    p.noise = from > 0 ? 1.0F : 0.0F;
    const float small = std::max(1e-20F, (1.0F - previous) / (1.0F - signal) * beta);
    p.min_log_variance = std::log(variance == variance_type::fixed_large ? beta : small);
    p.max_log_variance = is_learned(variance) ? std::log(beta) : p.min_log_variance;
    return p;
}

REPAINT_INLINE posterior float_schedule::predicting(int from, prediction_type prediction, bool clip) const {
    const float signal = std::sqrt(alpha_bar(from));
    const float noise = std::sqrt(1.0F - alpha_bar(from));
    if (!(noise > 0.0F)) {
        throw std::invalid_argument("timestep " + std::to_string(from) +
                                    " holds no noise, and a step from there divides by zero");
    }
    if (prediction == prediction_type::epsilon && !(signal > 0.0F)) {
        throw std::invalid_argument(
            "timestep " + std::to_string(from) +
            " holds no signal, so x_0 does not follow from an epsilon prediction there; take fewer "
            "timesteps, or \"leading\" ones");
    }
    posterior p;
    p.prediction = prediction;
    p.variance = variance_type::fixed_small;
    p.clip = clip;
    switch (prediction) {
    case prediction_type::epsilon:
        p.x0_from_x = 1.0F / signal;
        p.x0_from_prediction = -noise / signal;
        break;
    case prediction_type::x_0: break;
    case prediction_type::velocity:
        p.x0_from_x = signal;
        p.x0_from_prediction = -noise;
        break;
    case prediction_type::previous_x:
        throw std::invalid_argument(
            "the network predicts the previous x, which the algorithms diffusers and monai do not know");
    }
    return p;
}

REPAINT_INLINE posterior scheduled_process::ddim(int from, int to) const {
    posterior p = training.ddim(from, to, prediction, static_cast<float>(eta.value_or(0.0)), clip);
    p.limits = limits;
    return p;
}

REPAINT_INLINE posterior scheduled_process::ancestral(int from, int to, float beta, variance_type read_as) const {
    posterior p = training.ancestral(from, to, beta, prediction, read_as, clip);
    p.limits = limits;
    return p;
}

namespace detail {

REPAINT_INLINE int plain_count(const char* algorithm, int steps, std::string_view spec, const char* also) {
    int count = steps;
    const auto [end, code] = std::from_chars(spec.data(), spec.data() + spec.size(), count);
    if (!spec.empty() && (code != std::errc() || end != spec.data() + spec.size() || count < 1 || count > steps)) {
        throw std::invalid_argument("timesteps of the algorithm " + std::string(algorithm) +
                                    " must be a count from 1 to " + std::to_string(steps) + also + ", got " +
                                    quoted(spec));
    }
    return count;
}

REPAINT_INLINE std::vector<int> leading_timesteps(int steps, int count) {
    std::vector<int> visited;
    for (int i = 0; i < count; ++i) {
        visited.push_back(i * (steps / count));
    }
    return visited;
}

} // namespace detail

} // namespace repaint
