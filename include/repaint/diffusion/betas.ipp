#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <numbers>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <repaint/config.hpp>
#include <repaint/core/text.hpp>
#include <repaint/diffusion/betas.hpp>

namespace repaint {

namespace detail {

REPAINT_COLD void check_diffusion_steps(const char* what, int steps) {
    if (steps < 1 || steps > most_diffusion_steps) {
        throw std::invalid_argument(joined_text({std::string(what), ": the number of diffusion steps must be 1 to ",
                                                 most_diffusion_steps, ", got ", steps}));
    }
}

REPAINT_COLD std::vector<double> evenly_spaced(double first, double last, int count) {
    std::vector<double> values(static_cast<std::size_t>(count), first);
    if (count == 1) {
        return values;
    }
    const double step = (last - first) / static_cast<double>(count - 1);
    // Two loops, so that no compiler fuses the product and the sum: respacing magnifies a last-bit difference.
    for (std::size_t i = 0; i < values.size(); ++i) {
        values[i] = static_cast<double>(i) * step;
    }
    for (double& value : values) {
        value += first;
    }
    values.back() = last;
    return values;
}

REPAINT_COLD std::vector<float> evenly_spaced32(float first, float last, int count) {
    std::vector<float> values(static_cast<std::size_t>(count), first);
    if (count == 1) {
        return values;
    }
    const auto step = static_cast<double>((last - first) / static_cast<float>(count - 1));
    for (int i = 0; i < count; ++i) {
        // float times int is exact in float64.
        values[static_cast<std::size_t>(i)] = static_cast<float>(
            i < count / 2 ? static_cast<double>(first) + step * i : static_cast<double>(last) - step * (count - 1 - i));
    }
    return values;
}

inline double squared_cosine_signal(double time, double offset) {
    const double root = std::cos((time + offset) / (1.0 + offset) * std::numbers::pi / 2.0);
    return root * root;
}

/// alpha_bar at 0, 1/steps, ... 1 relative to that at 0, every operation rounded to float32.
inline std::vector<float> squared_cosine_signals32(const beta_schedule& s) {
    auto signals = evenly_spaced32(0.0F, static_cast<float>(s.steps), s.steps + 1);
    const auto offset = static_cast<float>(s.cosine_offset);
    const auto scale = static_cast<float>(1.0 + s.cosine_offset);
    for (float& signal : signals) {
        const float time = signal / static_cast<float>(s.steps) + offset;
        const float root = std::cos(time / scale * std::numbers::pi_v<float> * 0.5F);
        signal = root * root;
    }
    const float first = signals.front();
    for (float& signal : signals) {
        signal /= first;
    }
    return signals;
}

/// Throws std::invalid_argument when a setting that the kind uses cannot be.
inline void check_beta_schedule(const beta_schedule& s) {
    const auto refuse = [](const std::string& why) {
        throw std::invalid_argument(joined_text({"beta schedule: ", why}));
    };
    if (s.ends_in_noise && (s.kind == beta_kind::listed ? s.betas.size() : static_cast<std::size_t>(s.steps)) == 1) {
        refuse("a single timestep cannot end in nothing but noise");
    }
    if (s.kind == beta_kind::listed) {
        if (s.betas.empty() || s.betas.size() > static_cast<std::size_t>(most_diffusion_steps)) {
            refuse(joined_text({"the number of betas must be 1 to ", most_diffusion_steps, ", got ", s.betas.size()}));
        }
        return;
    }
    check_diffusion_steps("beta schedule", s.steps);
    const bool uses_ends =
        s.kind == beta_kind::linear || s.kind == beta_kind::scaled_linear || s.kind == beta_kind::sigmoid;
    if (uses_ends && !(s.start > 0.0 && s.start <= 1.0 && s.end > 0.0 && s.end <= 1.0)) {
        refuse(joined_text({"start and end must be above 0 and at most 1, got ", s.start, " and ", s.end}));
    }
    if (!(s.cosine_offset >= 0.0 && s.cosine_offset <= 1.0)) {
        refuse(joined_text({"the offset of a cosine must be 0 to 1, got ", s.cosine_offset}));
    }
    if (!(s.sigmoid_range > 0.0 && s.sigmoid_range <= 50.0)) {
        refuse(joined_text({"the range of a sigmoid must be above 0 and at most 50, got ", s.sigmoid_range}));
    }
}

/// The betas whose sqrt(alpha_bar) falls from the same first value to 0 (Lin et al. 2024, algorithm 1). Every operation is
/// rounded to T, but products are of float64.
template <class T> std::vector<T> ending_in_noise(std::vector<T> betas) {
    std::vector<T> roots;
    double product = 1.0;
    for (const T beta : betas) {
        product *= static_cast<double>(T(1) - beta);
        roots.push_back(std::sqrt(static_cast<T>(product)));
    }
    const T first = roots.front();
    const T last = roots.back();
    const T stretch = first / (first - last);
    for (std::size_t i = 0; i < betas.size(); ++i) {
        const T root = (roots[i] - last) * stretch;
        roots[i] = root * root;
        betas[i] = T(1) - (i == 0 ? roots[0] : roots[i] / roots[i - 1]);
    }
    return betas;
}

inline std::vector<double> described_betas64(const beta_schedule& s) {
    std::vector<double> betas;
    switch (s.kind) {
    case beta_kind::linear: return evenly_spaced(s.start, s.end, s.steps);
    case beta_kind::listed: return s.betas;
    case beta_kind::scaled_linear:
        betas = evenly_spaced(std::sqrt(s.start), std::sqrt(s.end), s.steps);
        for (double& beta : betas) {
            beta *= beta;
        }
        return betas;
    case beta_kind::sigmoid:
        betas = evenly_spaced(-s.sigmoid_range, s.sigmoid_range, s.steps);
        for (double& beta : betas) {
            beta = 1.0 / (1.0 + std::exp(-beta)) * (s.end - s.start) + s.start;
        }
        return betas;
    default: break;
    }
    const bool generative = s.kind == beta_kind::monai_generative_cosine;
    for (int i = 0; i < s.steps; ++i) {
        const auto steps = static_cast<double>(s.steps);
        const double beta = 1.0 - squared_cosine_signal(static_cast<double>(i + 1) / steps, s.cosine_offset) /
                                      squared_cosine_signal(static_cast<double>(i) / steps, s.cosine_offset);
        betas.push_back(generative ? std::clamp(beta, 1e-4, 0.9999) : std::min(beta, 0.999));
    }
    return betas;
}

inline std::vector<float> described_betas32(const beta_schedule& s) {
    std::vector<float> betas;
    switch (s.kind) {
    case beta_kind::linear: return evenly_spaced32(static_cast<float>(s.start), static_cast<float>(s.end), s.steps);
    case beta_kind::scaled_linear:
        betas = evenly_spaced32(static_cast<float>(std::sqrt(s.start)), static_cast<float>(std::sqrt(s.end)), s.steps);
        for (float& beta : betas) {
            beta *= beta;
        }
        return betas;
    case beta_kind::sigmoid: {
        const auto range = static_cast<float>(s.sigmoid_range);
        betas = evenly_spaced32(-range, range, s.steps);
        for (float& beta : betas) {
            beta = 1.0F / (1.0F + std::exp(-beta)) * static_cast<float>(s.end - s.start) + static_cast<float>(s.start);
        }
        return betas;
    }
    case beta_kind::monai_cosine:
    case beta_kind::monai_generative_cosine: {
        const auto signals = squared_cosine_signals32(s);
        for (std::size_t i = 0; i + 1 < signals.size(); ++i) {
            const float alpha = signals[i + 1] / signals[i];
            betas.push_back(s.kind == beta_kind::monai_cosine ? std::clamp(1.0F - alpha, 0.0F, 0.999F)
                                                              : 1.0F - std::clamp(alpha, 0.0001F, 0.9999F));
        }
        return betas;
    }
    default: break;
    }
    // diffusers computes these in Python's float64 and rounds the betas.
    for (const double beta : described_betas64(s)) {
        betas.push_back(static_cast<float>(beta));
    }
    return betas;
}

} // namespace detail

REPAINT_COLD std::vector<double> betas64(const beta_schedule& s) {
    detail::check_beta_schedule(s);
    auto betas = detail::described_betas64(s);
    return s.ends_in_noise ? detail::ending_in_noise(std::move(betas)) : betas;
}

REPAINT_COLD std::vector<float> betas32(const beta_schedule& s) {
    detail::check_beta_schedule(s);
    auto betas = detail::described_betas32(s);
    return s.ends_in_noise ? detail::ending_in_noise(std::move(betas)) : betas;
}

REPAINT_COLD std::vector<float> alpha_bars32(const beta_schedule& s, const std::vector<float>& betas) {
    if (s.kind == beta_kind::monai_generative_cosine) {
        auto signals = detail::squared_cosine_signals32(s);
        signals.pop_back();
        return signals;
    }
    std::vector<float> alpha_bars;
    double product = 1.0;
    for (const float beta : betas) {
        product *= static_cast<double>(1.0F - beta);
        alpha_bars.push_back(static_cast<float>(product));
    }
    return alpha_bars;
}

} // namespace repaint
