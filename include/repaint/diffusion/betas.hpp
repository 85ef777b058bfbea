#pragma once

#include <vector>

namespace repaint {

/// The published ways to space betas.
enum class beta_kind {
    linear,         ///< even from start to end (Ho et al. 2020)
    scaled_linear,  ///< the square roots are even (Rombach et al. 2022)
    sigmoid,        ///< a sigmoid from -sigmoid_range to sigmoid_range, from start to end
    squared_cosine, ///< alpha_bar is a squared cosine, betas at most 0.999 (Nichol and Dhariwal 2021, eq. 17)
    monai_cosine,   ///< the same as MONAI computes it since 1.5: all of it in float32
    /// The same as MONAI Generative and MONAI 1.4 have it: betas from 1e-4 to 0.9999, and alpha_bar neither recomputed
    /// from them nor in its place, but one timestep early (alpha_bar(0) = 1)
    monai_generative_cosine,
    listed ///< the betas themselves
};

/// The training schedule in the words of diffusers' and MONAI's configurations. The samplers of those systems compute
/// with float32 tables, which are made from this (float_schedule.hpp); rounding float64 tables would give others.
struct beta_schedule {
    beta_kind kind = beta_kind::linear;
    int steps = 1000;
    double start = 1e-4;
    double end = 0.02;
    double cosine_offset = 0.008;
    double sigmoid_range = 6.0;
    std::vector<double> betas = {}; ///< of `listed`, which takes nothing else from here but the next
    bool ends_in_noise = false;     ///< sqrt(alpha_bar) is shifted and stretched to end at 0 (Lin et al. 2024)
};

namespace detail {

/// Far above any trained network, low enough that a hostile configuration cannot exhaust memory.
inline constexpr int most_diffusion_steps = 1'000'000;

void check_diffusion_steps(const char* what, int steps);

std::vector<double> evenly_spaced(double first, double last, int count);

/// torch.linspace in float32: from either end to the middle, every value rounded once.
std::vector<float> evenly_spaced32(float first, float last, int count);

} // namespace detail

/// The betas in float64, for noise_schedule. Throws std::invalid_argument when a setting that the kind uses cannot be.
[[nodiscard]] std::vector<double> betas64(const beta_schedule& s);

/// The betas as PyTorch computes them in float32. Throws std::invalid_argument as betas64.
[[nodiscard]] std::vector<float> betas32(const beta_schedule& s);

/// alpha_bar to those betas, as PyTorch: 1 - beta in float32, products in float64, rounded each. Of
/// monai_generative_cosine what MONAI takes for it.
[[nodiscard]] std::vector<float> alpha_bars32(const beta_schedule& s, const std::vector<float>& betas);

} // namespace repaint

#ifndef REPAINT_COMPILED
#include <repaint/diffusion/betas.ipp>
#endif
