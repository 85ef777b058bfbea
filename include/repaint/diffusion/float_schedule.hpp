#pragma once

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstddef>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include <repaint/diffusion/beta_schedule.hpp>
#include <repaint/diffusion/noise_schedule.hpp>
#include <repaint/core/step_values.hpp>

namespace repaint {

/// A training schedule as the schedulers of diffusers and MONAI hold it: float32 tables over every training timestep,
/// and steps between any two of them. Below timestep 0 is the clean image. Nothing here checks a timestep's range.
class float_schedule {
public:
    /// ends_clean: false: what is below timestep 0 is as noisy as that. Throws std::invalid_argument when a setting
    /// cannot be, or a beta is not above 0 and at most 1.
    explicit float_schedule(const beta_schedule& described, bool ends_clean = true)
        : betas_(betas32(described)), alpha_bars_(alpha_bars32(described, betas_)),
          below_(ends_clean ? 1.0F : alpha_bars_.front()) {
        (void)noise_schedule(betas64(described)); // names a beta that cannot be
    }

    /// From betas that were not computed in float32: each is rounded.
    explicit float_schedule(const noise_schedule& schedule, bool ends_clean = true)
        : float_schedule(
              beta_schedule{.kind = beta_kind::listed, .betas = {schedule.betas().begin(), schedule.betas().end()}},
              ends_clean) {}

    [[nodiscard]] int size() const { return static_cast<int>(betas_.size()); }
    [[nodiscard]] float beta(int t) const { return betas_[static_cast<std::size_t>(t)]; }
    [[nodiscard]] float alpha_bar(int t) const { return t < 0 ? below_ : alpha_bars_[static_cast<std::size_t>(t)]; }

    /// From a clean image straight to x_t.
    [[nodiscard]] mixing marginal(int t) const {
        return {.signal = std::sqrt(alpha_bar(t)), .noise = std::sqrt(1.0F - alpha_bar(t))};
    }

    /// x_{t-1} -> x_t.
    [[nodiscard]] mixing forward(int t) const {
        return {.signal = std::sqrt(1.0F - beta(t)), .noise = std::sqrt(beta(t))};
    }

    /// DDIM's step (Song et al. 2021, eq. 12) as both systems have it: x_0 is clipped, epsilon is what the network says,
    /// so the two need not fit together (guided-diffusion takes epsilon from the clipped x_0 again). Throws
    /// std::invalid_argument when `from` holds no noise or the network predicts the previous x.
    [[nodiscard]] posterior ddim(int from, int to, prediction_type prediction, float eta, bool clip) const {
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

    /// The step of Ho et al. 2020 (eq. 7) between timesteps whose alpha_bars have the ratio 1 - beta: MONAI takes beta
    /// from the table, diffusers from the ratio. No noise at timestep 0. Throws std::invalid_argument as ddim.
    [[nodiscard]] posterior ancestral(int from, int to, float beta, prediction_type prediction, variance_type variance,
                                      bool clip) const {
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

private:
    [[nodiscard]] posterior predicting(int from, prediction_type prediction, bool clip) const {
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

    std::vector<float> betas_;
    std::vector<float> alpha_bars_;
    float below_;
};

/// What diffusion_process is to the official loop, for those of diffusers and MONAI: the training schedule, the
/// timesteps that a run visits, and how the network's output is read.
struct scheduled_process {
    float_schedule training;
    std::vector<int> timesteps; ///< ascending
    prediction_type prediction = prediction_type::epsilon;
    variance_type variance = variance_type::fixed_small;
    bool clip = true;
    std::optional<double> eta = std::nullopt; ///< given, 0 to 1: reverse steps are DDIM's
    x0_limits limits = {};                    ///< of clipping

    /// float_schedule's steps with these settings, DDIM's with eta 0 when there is none.
    [[nodiscard]] posterior ddim(int from, int to) const {
        posterior p = training.ddim(from, to, prediction, static_cast<float>(eta.value_or(0.0)), clip);
        p.limits = limits;
        return p;
    }
    [[nodiscard]] posterior ancestral(int from, int to, float beta, variance_type read_as) const {
        posterior p = training.ancestral(from, to, beta, prediction, read_as, clip);
        p.limits = limits;
        return p;
    }

    [[nodiscard]] int timestep(int index) const { return timesteps[static_cast<std::size_t>(index)]; }

    /// Training timesteps per visited one, rounded down.
    [[nodiscard]] int stride() const { return training.size() / static_cast<int>(timesteps.size()); }
};

namespace detail {

/// The one count that the loops of diffusers and MONAI take; an empty spec is all of `steps`. Throws
/// std::invalid_argument.
inline int plain_count(const char* algorithm, int steps, std::string_view spec, const char* also = "") {
    int count = steps;
    const auto [end, code] = std::from_chars(spec.data(), spec.data() + spec.size(), count);
    if (!spec.empty() && (code != std::errc() || end != spec.data() + spec.size() || count < 1 || count > steps)) {
        throw std::invalid_argument("timesteps of the algorithm " + std::string(algorithm) +
                                    " must be a count from 1 to " + std::to_string(steps) + also + ", got " +
                                    quoted(spec));
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

} // namespace repaint
