#pragma once

#include <cmath>

namespace repaint {

/// x <- signal * x + noise * z. Both factors are standard deviations, not variances.
struct mixing {
    float signal = 1.0F;
    float noise = 0.0F;
};

/// What the network's first channels mean.
enum class prediction_type { epsilon, x_0, previous_x };

/// Where the variance of a reverse step comes from. learned and learned_range read it from the network's last channels.
enum class variance_type { learned_range, learned, fixed_small, fixed_large };

/// True when the network has to return 2c channels for images of c channels.
constexpr bool is_learned(variance_type v) { return v == variance_type::learned_range || v == variance_type::learned; }

/// The coefficients of one reverse step x_t -> x_{t-1}, computed in float64 and rounded once.
///   x_0  = x0_from_x * x_t + x0_from_prediction * prediction                     (then clipped to [-1, 1] if clip)
///   mean = mean_from_x0 * x_0 + mean_from_x * x_t                                (Ho et al. 2020, eq. 7)
///   log variance: learned_range interpolates min_log_variance..max_log_variance by (v + 1) / 2; learned is v itself;
///   fixed_* are min_log_variance                                                 (Nichol and Dhariwal 2021, eq. 15)
///   x_{t-1} = mean + noise * exp(log_variance / 2) * z, noise being 0 at t = 0 and 1 elsewhere.
/// For previous_x the prediction itself is the mean, and x_0 is only shown.
struct posterior {
    prediction_type prediction = prediction_type::epsilon;
    variance_type variance = variance_type::learned_range;
    bool clip = true;
    float x0_from_x = 0.0F;
    float x0_from_prediction = 1.0F;
    float mean_from_x0 = 1.0F;
    float mean_from_x = 0.0F;
    float min_log_variance = 0.0F;
    float max_log_variance = 0.0F;
    float noise = 0.0F;
};

/// The predicted x_0 of one element. Not clamped by comparison with NaN: a NaN stays visible.
inline float predicted_x0(const posterior& p, float x, float prediction) {
    const float x0 = p.x0_from_x * x + p.x0_from_prediction * prediction;
    if (!p.clip) {
        return x0;
    }
    return x0 < -1.0F ? -1.0F : (x0 > 1.0F ? 1.0F : x0);
}

/// The log variance of one element; v is the network's variance channel, ignored for fixed variances.
inline float log_variance(const posterior& p, float v) {
    switch (p.variance) {
    case variance_type::learned_range: {
        const float fraction = (v + 1.0F) / 2.0F;
        return fraction * p.max_log_variance + (1.0F - fraction) * p.min_log_variance;
    }
    case variance_type::learned: return v;
    default: return p.min_log_variance;
    }
}

/// x_{t-1} of one element, from x_t, the prediction, its x_0, the variance channel and a normal z.
inline float reverse_step(const posterior& p, float x, float prediction, float x0, float v, float z) {
    const float mean =
        p.prediction == prediction_type::previous_x ? prediction : p.mean_from_x0 * x0 + p.mean_from_x * x;
    return mean + p.noise * std::exp(0.5F * log_variance(p, v)) * z;
}

/// One element of RePaint's merge (Lugmayr et al. 2022, eq. 8): keep = 1 takes the known image, noised to the level of
/// x.
inline float merged(const mixing& m, float x, float known, float keep, float z) {
    return keep * (m.signal * known + m.noise * z) + (1.0F - keep) * x;
}

} // namespace repaint
