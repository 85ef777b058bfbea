#pragma once

#include <cstddef>
#include <optional>
#include <string_view>
#include <vector>

#include <repaint/core/step_values.hpp>
#include <repaint/diffusion/beta_schedule.hpp>
#include <repaint/diffusion/noise_schedule.hpp>

namespace repaint {

/// A training schedule as the schedulers of diffusers and MONAI hold it: float32 tables over every training timestep,
/// and steps between any two of them. Below timestep 0 is the clean image. Nothing here checks a timestep's range.
class float_schedule {
public:
    /// ends_clean: false: what is below timestep 0 is as noisy as that. Throws std::invalid_argument when a setting
    /// cannot be, or a beta is not above 0 and at most 1.
    explicit float_schedule(const beta_schedule& described, bool ends_clean = true);

    /// From betas that were not computed in float32: each is rounded.
    explicit float_schedule(const noise_schedule& schedule, bool ends_clean = true);

    [[nodiscard]] int size() const { return static_cast<int>(betas_.size()); }
    [[nodiscard]] float beta(int t) const { return betas_[static_cast<std::size_t>(t)]; }
    [[nodiscard]] float alpha_bar(int t) const { return t < 0 ? below_ : alpha_bars_[static_cast<std::size_t>(t)]; }

    /// From a clean image straight to x_t.
    [[nodiscard]] mixing marginal(int t) const;

    /// x_{t-1} -> x_t.
    [[nodiscard]] mixing forward(int t) const;

    /// DDIM's step (Song et al. 2021, eq. 12) as both systems have it: x_0 is clipped, epsilon is what the network says,
    /// so the two need not fit together (guided-diffusion takes epsilon from the clipped x_0 again). Throws
    /// std::invalid_argument when `from` holds no noise or the network predicts the previous x.
    [[nodiscard]] posterior ddim(int from, int to, prediction_type prediction, float eta, bool clip) const;

    /// The step of Ho et al. 2020 (eq. 7) between timesteps whose alpha_bars have the ratio 1 - beta: MONAI takes beta
    /// from the table, diffusers from the ratio. No noise at timestep 0. Throws std::invalid_argument as ddim.
    [[nodiscard]] posterior ancestral(int from, int to, float beta, prediction_type prediction, variance_type variance,
                                      bool clip) const;

private:
    [[nodiscard]] posterior predicting(int from, prediction_type prediction, bool clip) const;

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
    [[nodiscard]] posterior ddim(int from, int to) const;
    [[nodiscard]] posterior ancestral(int from, int to, float beta, variance_type read_as) const;

    [[nodiscard]] int timestep(int index) const { return timesteps[static_cast<std::size_t>(index)]; }

    /// Training timesteps per visited one, rounded down.
    [[nodiscard]] int stride() const { return training.size() / static_cast<int>(timesteps.size()); }
};

namespace detail {

/// The one count that the loops of diffusers and MONAI take; an empty spec is all of `steps`. Throws
/// std::invalid_argument.
int plain_count(const char* algorithm, int steps, std::string_view spec, const char* also = "");

/// 0, stride, 2 stride ... with the largest stride that fits `count` times into `steps`.
std::vector<int> leading_timesteps(int steps, int count);

} // namespace detail

} // namespace repaint

#ifndef REPAINT_COMPILED
#include <repaint/diffusion/float_schedule.ipp>
#endif
