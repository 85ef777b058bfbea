#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <numeric>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <repaint/config.hpp>
#include <repaint/core/step_values.hpp>
#include <repaint/core/text.hpp>
#include <repaint/diffusion/betas.hpp>
#include <repaint/diffusion/tables.hpp>
#include <repaint/diffusion/timesteps.hpp>

namespace repaint {

REPAINT_COLD noise_schedule::noise_schedule(std::vector<double> betas) : betas_(std::move(betas)) {
    if (betas_.empty() || betas_.size() > static_cast<std::size_t>(detail::most_diffusion_steps)) {
        throw std::invalid_argument(joined_text({"noise_schedule: the number of betas must be 1 to ",
                                                 detail::most_diffusion_steps, ", got ", betas_.size()}));
    }
    for (std::size_t i = 0; i < betas_.size(); ++i) {
        // The last test refuses what float64 cannot tell from no noise at all: it would divide by zero below.
        if (!(betas_[i] > 0.0 && betas_[i] <= 1.0 && 1.0 - betas_[i] < 1.0)) {
            throw std::invalid_argument(joined_text({"noise_schedule: beta[", i, "] is ", shortest_text(betas_[i]),
                                                     ", every beta must be above 0 and at most 1"}));
        }
    }
    tabulate();
}

REPAINT_COLD noise_schedule noise_schedule::linear(int steps) {
    detail::check_diffusion_steps("linear schedule", steps);
    const double scale = 1000.0 / static_cast<double>(steps);
    return noise_schedule(detail::evenly_spaced(scale * 0.0001, scale * 0.02, steps));
}

REPAINT_COLD noise_schedule noise_schedule::linear(int steps, double beta_start, double beta_end) {
    return described("linear schedule", beta_kind::linear, steps, beta_start, beta_end);
}

REPAINT_COLD noise_schedule noise_schedule::cosine(int steps) {
    detail::check_diffusion_steps("cosine schedule", steps);
    return noise_schedule(beta_schedule{.kind = beta_kind::squared_cosine, .steps = steps});
}

REPAINT_COLD noise_schedule noise_schedule::scaled_linear(int steps, double beta_start, double beta_end) {
    return described("scaled linear schedule", beta_kind::scaled_linear, steps, beta_start, beta_end);
}

REPAINT_COLD noise_schedule noise_schedule::sigmoid(int steps, double beta_start, double beta_end) {
    return described("sigmoid schedule", beta_kind::sigmoid, steps, beta_start, beta_end);
}

REPAINT_COLD noise_schedule noise_schedule::respaced(std::string_view spec) const {
    return respaced(std::span<const int>(respaced_timesteps(size(), spec)));
}

REPAINT_COLD noise_schedule noise_schedule::respaced(std::span<const int> kept) const {
    std::vector<double> betas;
    std::vector<int> timesteps;
    betas.reserve(kept.size());
    timesteps.reserve(kept.size());
    double last_alpha_bar = 1.0;
    for (std::size_t i = 0; i < kept.size(); ++i) {
        if (kept[i] < 0 || kept[i] >= size() || (i > 0 && kept[i] <= kept[i - 1])) {
            throw std::invalid_argument(
                joined_text({"respacing: kept timesteps must ascend within 0..", size() - 1, ", entry ", i, " is ",
                             kept[i], (i > 0 ? std::string(" after ") + std::to_string(kept[i - 1]) : "")}));
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

REPAINT_COLD mixing noise_schedule::forward(int t) const {
    // beta is rounded first and the roots are taken in float32: so do the published programs.
    const auto beta = static_cast<float>(betas_[checked(t)]);
    return {.signal = std::sqrt(1.0F - beta), .noise = std::sqrt(beta)};
}

REPAINT_COLD mixing noise_schedule::marginal(int t) const {
    const auto alpha_bar = static_cast<float>(alpha_bars_[checked(t)]);
    return {.signal = std::sqrt(alpha_bar), .noise = std::sqrt(1.0F - alpha_bar)};
}

REPAINT_COLD posterior noise_schedule::reverse(int t, prediction_type prediction, variance_type variance,
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

REPAINT_COLD posterior noise_schedule::ddim(int t, prediction_type prediction, double eta, bool clip) const {
    const std::size_t i = checked(t);
    if (!(eta >= 0.0 && eta <= 1.0)) {
        throw std::invalid_argument(joined_text({"eta must be 0 to 1, got ", shortest_text(eta)}));
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

REPAINT_COLD double noise_schedule::mean_from_x0(std::size_t i) const {
    return betas_[i] * std::sqrt(alpha_bars_previous_[i]) / (1.0 - alpha_bars_[i]);
}

REPAINT_COLD double noise_schedule::mean_from_x(std::size_t i) const {
    return (1.0 - alpha_bars_previous_[i]) * std::sqrt(1.0 - betas_[i]) / (1.0 - alpha_bars_[i]);
}

REPAINT_COLD posterior noise_schedule::predicting(std::size_t i, prediction_type prediction, bool clip) const {
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

REPAINT_COLD noise_schedule noise_schedule::described(const char* what, beta_kind kind, int steps, double start,
                                                      double end) {
    detail::check_diffusion_steps(what, steps);
    if (!(start > 0.0 && start <= 1.0 && end > 0.0 && end <= 1.0)) {
        throw std::invalid_argument(
            joined_text({std::string(what), ": beta_start and beta_end must be above 0 and at most 1, got ",
                         shortest_text(start), " and ", shortest_text(end)}));
    }
    return noise_schedule(beta_schedule{.kind = kind, .steps = steps, .start = start, .end = end});
}

REPAINT_COLD void noise_schedule::tabulate() {
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

REPAINT_COLD std::size_t noise_schedule::checked(int t) const {
    if (t < 0 || t >= size()) {
        throw std::invalid_argument(joined_text({"noise_schedule: timestep index ", t, " is outside 0..", size() - 1}));
    }
    return static_cast<std::size_t>(t);
}

REPAINT_COLD void noise_schedule::require_signal(bool some, int t, const char* what) {
    if (!some) {
        throw std::invalid_argument(
            joined_text({"noise_schedule: at timestep index ", t, " no signal is left, so x_0 does not follow from ",
                         what, "; a beta of 1 needs a network that predicts x_0"}));
    }
}

REPAINT_COLD scheduler_tables::scheduler_tables(const beta_schedule& described, bool ends_clean)
    : betas_(betas32(described)), alpha_bars_(alpha_bars32(described, betas_)),
      below_(ends_clean ? 1.0F : alpha_bars_.front()) {
    (void)noise_schedule(betas64(described)); // names a beta that cannot be
}

REPAINT_COLD scheduler_tables::scheduler_tables(const noise_schedule& schedule, bool ends_clean)
    : scheduler_tables(
          beta_schedule{.kind = beta_kind::listed, .betas = {schedule.betas().begin(), schedule.betas().end()}},
          ends_clean) {}

REPAINT_COLD mixing scheduler_tables::marginal(int t) const {
    return {.signal = std::sqrt(alpha_bar(t)), .noise = std::sqrt(1.0F - alpha_bar(t))};
}

REPAINT_COLD mixing scheduler_tables::forward(int t) const {
    return {.signal = std::sqrt(1.0F - beta(t)), .noise = std::sqrt(beta(t))};
}

REPAINT_COLD posterior scheduler_tables::ddim(int from, int to, prediction_type prediction, float eta,
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

REPAINT_COLD posterior scheduler_tables::ancestral(int from, int to, float beta, prediction_type prediction,
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

REPAINT_COLD posterior scheduler_tables::predicting(int from, prediction_type prediction, bool clip) const {
    const float signal = std::sqrt(alpha_bar(from));
    const float noise = std::sqrt(1.0F - alpha_bar(from));
    if (!(noise > 0.0F)) {
        throw std::invalid_argument(
            joined_text({"timestep ", from, " holds no noise, and a step from there divides by zero"}));
    }
    if (prediction == prediction_type::epsilon && !(signal > 0.0F)) {
        throw std::invalid_argument(
            joined_text({"timestep ", from,
                         " holds no signal, so x_0 does not follow from an epsilon prediction there; take fewer "
                         "timesteps, or \"leading\" ones"}));
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
            "the network predicts the previous x, which the systems diffusers and monai do not know");
    }
    return p;
}

} // namespace repaint
