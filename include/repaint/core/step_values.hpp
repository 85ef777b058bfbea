#pragma once

#include <string>

#include <repaint/core/host_device.hpp>

namespace repaint {

/// x <- signal * x + noise * z. Both factors are standard deviations, not variances.
struct mixing {
    float signal = 1.0F;
    float noise = 0.0F;
};

/// What the network's first channels mean. velocity: sqrt(alpha_bar) epsilon - sqrt(1 - alpha_bar) x_0 (Salimans and Ho
/// 2022).
enum class prediction_type { epsilon, x_0, previous_x, velocity };

/// Where the variance of a reverse step comes from. learned and learned_range read its logarithm from the network's last
/// channels, learned_linear and learned_range_linear the variance itself, as MONAI's scheduler does.
enum class variance_type { learned_range, learned, fixed_small, fixed_large, learned_range_linear, learned_linear };

/// "epsilon", "x_0", ...
[[nodiscard]] std::string to_string(prediction_type prediction);

/// "learned_range", "fixed_small", ...
[[nodiscard]] std::string to_string(variance_type variance);

/// True when the network has to return 2c channels for images of c channels.
REPAINT_HOST_DEVICE constexpr bool is_learned(variance_type v) {
    return v != variance_type::fixed_small && v != variance_type::fixed_large;
}

/// Between what a predicted x_0 is clipped.
struct x0_limits {
    float low = -1.0F;
    float high = 1.0F;
};

/// How a network's output is read, and what is done to the x_0 that it predicts.
struct prediction_reading {
    prediction_type prediction = prediction_type::epsilon;
    variance_type variance = variance_type::learned_range;
    bool clip = true; ///< the predicted x_0 is clipped to `limits`
    x0_limits limits = {};
};

/// The coefficients of one reverse step x_t -> x_{t-1}, computed in float64 and rounded once; g is the gradient of
/// classifier guidance, 0 without.
///   x_0  = x0_from_x * x_t + x0_from_prediction * prediction                     (then clipped to limits if clip)
///          + x0_from_guidance * g
///   mean = mean_from_x0 * x_0 + mean_from_x * x_t + mean_from_prediction * prediction   (Ho et al. 2020, eq. 7)
///          + mean_from_guidance * g + variance * g if guidance_by_variance       (Sohl-Dickstein et al. 2015)
///   log variance: learned_range interpolates min_log_variance..max_log_variance by (v + 1) / 2; learned is v itself;
///   fixed_* are min_log_variance                                                 (Nichol and Dhariwal 2021, eq. 15)
///   x_{t-1} = mean + noise * exp(log_variance / 2) * z, noise being 0 at t = 0 and 1 elsewhere.
/// For previous_x the prediction itself is the mean, and x_0 is only shown.
struct posterior {
    prediction_type prediction = prediction_type::epsilon;
    variance_type variance = variance_type::learned_range;
    bool clip = true;
    x0_limits limits = {};
    bool guidance_by_variance = true;
    float x0_from_x = 0.0F;
    float x0_from_prediction = 1.0F;
    float x0_from_guidance = 0.0F;
    float mean_from_x0 = 1.0F;
    float mean_from_x = 0.0F;
    float mean_from_prediction = 0.0F;
    float mean_from_guidance = 0.0F;
    float min_log_variance = 0.0F;
    float max_log_variance = 0.0F;
    float noise = 0.0F;
};

/// One move of the walk. Down (to = from - 1) is a reverse step, evaluated by the network at `from`; up (to = from + 1)
/// adds the noise of timestep `to`. The move to -1 gives the clean image.
struct transition {
    int from = 0;
    int to = 0;

    friend bool operator==(const transition&, const transition&) = default;
};

} // namespace repaint

#ifndef REPAINT_COMPILED
#include <repaint/core/step_values.ipp>
#endif
