#pragma once

#include <span>
#include <string_view>
#include <vector>

#include <repaint/core/step_values.hpp>
#include <repaint/diffusion/betas.hpp>

/// What every step of a sampler is made of, tabulated over the timesteps: noise_schedule in float64, as the official
/// program computes, and scheduler_tables in float32, as the schedulers of diffusers and MONAI do. The two round at
/// different places, which is why there are two.
namespace repaint {

/// How much noise each timestep holds, and the coefficients of every step between timesteps. Index t runs over
/// 0..size()-1, 0 being the cleanest. Tables are float64; the coefficients handed out are rounded to float32 where the
/// published sampling programs round them. Notation of Ho et al. 2020: alpha_bar(t) = (1 - beta(0)) ... (1 - beta(t)).
class noise_schedule {
public:
    /// A schedule of given betas, each in (0, 1]. Throws std::invalid_argument naming the first that is not.
    explicit noise_schedule(std::vector<double> betas);

    /// A schedule in the words of a configuration. Throws std::invalid_argument when a setting cannot be.
    explicit noise_schedule(const beta_schedule& described) : noise_schedule(betas64(described)) {}

    /// Betas rise evenly from 1e-4 to 0.02, scaled by 1000 / steps (Ho et al. 2020). Needs at least 20 steps: with
    /// fewer the last beta exceeds 1 and std::invalid_argument is thrown.
    [[nodiscard]] static noise_schedule linear(int steps = 1000);

    /// Betas rise evenly from beta_start to beta_end, whatever the number of steps. Throws std::invalid_argument unless
    /// both ends are above 0 and at most 1.
    [[nodiscard]] static noise_schedule linear(int steps, double beta_start, double beta_end);

    /// alpha_bar follows a squared cosine, betas at most 0.999 (Nichol and Dhariwal 2021, eq. 17).
    [[nodiscard]] static noise_schedule cosine(int steps = 1000);

    /// The square roots of the betas rise evenly (Rombach et al. 2022). Throws std::invalid_argument unless both ends
    /// are above 0 and at most 1.
    [[nodiscard]] static noise_schedule scaled_linear(int steps = 1000, double beta_start = 0.00085,
                                                      double beta_end = 0.012);

    /// Betas follow a sigmoid over -6 ... 6 (GeoDiff, Xu et al. 2022). Throws std::invalid_argument unless both ends
    /// are above 0 and at most 1.
    [[nodiscard]] static noise_schedule sigmoid(int steps = 1000, double beta_start = 0.0001, double beta_end = 0.02);

    /// The same process visited at fewer timesteps; see respaced_timesteps for what spec may be and what it throws.
    [[nodiscard]] noise_schedule respaced(std::string_view spec) const;

    /// The same process visited at the kept indices of this schedule only (strictly ascending, each in 0..size()-1).
    /// Betas are rebuilt from the ratios of alpha_bar and everything else from those; timestep() still tells the
    /// network the timestep it was trained with. Throws std::invalid_argument.
    [[nodiscard]] noise_schedule respaced(std::span<const int> kept) const;

    /// Number of timesteps.
    [[nodiscard]] int size() const { return static_cast<int>(betas_.size()); }

    /// What the network is told at index t: the timestep of the schedule it was trained with.
    [[nodiscard]] int timestep(int t) const { return timesteps_[checked(t)]; }

    /// timestep(t) for every t.
    [[nodiscard]] std::span<const int> timesteps() const { return timesteps_; }

    /// The variance added by the step from t - 1 to t.
    [[nodiscard]] std::span<const double> betas() const { return betas_; }

    /// The share of the image's variance left at t.
    [[nodiscard]] std::span<const double> alpha_bars() const { return alpha_bars_; }

    /// alpha_bars() one step earlier; entry 0 is 1.
    [[nodiscard]] std::span<const double> alpha_bars_previous() const { return alpha_bars_previous_; }

    /// The variance of q(x_{t-1} | x_t, x_0) (Ho et al. 2020, eq. 7); entry 0 is 0.
    [[nodiscard]] std::span<const double> posterior_variance() const { return posterior_variance_; }

    /// Its logarithm with entry 0, which would be minus infinity, replaced by entry 1. A schedule of one timestep,
    /// which has no entry 1, holds log(beta) there.
    [[nodiscard]] std::span<const double> posterior_log_variance() const { return posterior_log_variance_; }

    /// The step that adds noise, x_{t-1} -> x_t: RePaint's resampling. Throws std::invalid_argument when t is out of
    /// range.
    [[nodiscard]] mixing forward(int t) const;

    /// From a clean image straight to x_t (Ho et al. 2020, eq. 4). Throws std::invalid_argument when t is out of range.
    [[nodiscard]] mixing marginal(int t) const;

    /// The reverse step x_t -> x_{t-1} for a network that predicts `prediction`. clip limits the predicted x_0 to [-1,
    /// 1]. fixed_large is beta, entry 0 replaced by the posterior variance at 1. Throws std::invalid_argument when t is
    /// out of range, or when no signal is left (alpha_bar = 0) where the prediction needs some.
    [[nodiscard]] posterior reverse(int t, prediction_type prediction, variance_type variance, bool clip = true) const;

    /// The reverse step of DDIM (Song et al. 2021, eq. 12), whatever variance the network has learned: eta = 0 draws
    /// nothing, eta = 1 as much as fixed_small. epsilon is taken from the (clipped) x_0, as guided-diffusion does it, and
    /// guidance shifts epsilon (Dhariwal and Nichol 2021, algorithm 2). Throws std::invalid_argument when t is out of
    /// range, eta is not 0 to 1, or no signal or no noise is left at t.
    [[nodiscard]] posterior ddim(int t, prediction_type prediction, double eta, bool clip = true) const;

private:
    /// The weights of x_0 and x_t in the mean of q(x_{t-1} | x_t, x_0).
    [[nodiscard]] double mean_from_x0(std::size_t i) const;
    [[nodiscard]] double mean_from_x(std::size_t i) const;

    /// How x_0 follows from x_t and the prediction; the rest of the step is not filled in.
    [[nodiscard]] posterior predicting(std::size_t i, prediction_type prediction, bool clip) const;

    static noise_schedule described(const char* what, beta_kind kind, int steps, double start, double end);

    void tabulate();

    [[nodiscard]] std::size_t checked(int t) const;

    static void require_signal(bool some, int t, const char* what);

    std::vector<double> betas_;
    std::vector<double> alpha_bars_;
    std::vector<double> alpha_bars_previous_;
    std::vector<double> posterior_variance_;
    std::vector<double> posterior_log_variance_;
    std::vector<int> timesteps_;
};

/// The training schedule as the schedulers of diffusers and MONAI hold it: float32 tables over every training timestep,
/// and steps between any two of them. Below timestep 0 is the clean image. Nothing here checks a timestep's range.
class scheduler_tables {
public:
    /// ends_clean: false: what is below timestep 0 is as noisy as that. Throws std::invalid_argument when a setting
    /// cannot be, or a beta is not above 0 and at most 1.
    explicit scheduler_tables(const beta_schedule& described, bool ends_clean = true);

    /// From betas that were not computed in float32: each is rounded.
    explicit scheduler_tables(const noise_schedule& schedule, bool ends_clean = true);

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

} // namespace repaint

#ifndef REPAINT_COMPILED
#include <repaint/diffusion/tables.ipp>
#endif
