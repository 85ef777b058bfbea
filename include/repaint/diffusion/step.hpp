#pragma once

#include <cmath>

#include <repaint/core/host_device.hpp>
#include <repaint/core/step_values.hpp>

/// One element of every step of a sampler: what backends loop over.
namespace repaint {

/// The predicted x_0 of one element. Not clamped by comparison with NaN: a NaN stays visible.
REPAINT_HOST_DEVICE inline float predicted_x0(const posterior& p, float x, float prediction, float g = 0.0F) {
    float x0 = detail::multiply_add(p.x0_from_x, x, p.x0_from_prediction * prediction);
    if (p.clip) {
        x0 = x0 < p.limits.low ? p.limits.low : (x0 > p.limits.high ? p.limits.high : x0);
    }
    return detail::multiply_add(p.x0_from_guidance, g, x0);
}

/// The variance of one element; v is the network's variance channel, ignored for fixed variances.
REPAINT_HOST_DEVICE inline float step_variance(const posterior& p, float v) {
    const float fraction = (v + 1.0F) / 2.0F;
    switch (p.variance) {
    case variance_type::learned_range:
        return std::exp(detail::multiply_add(fraction, p.max_log_variance, (1.0F - fraction) * p.min_log_variance));
    case variance_type::learned: return std::exp(v);
    case variance_type::learned_range_linear:
        return detail::multiply_add(fraction, std::exp(p.max_log_variance),
                                    (1.0F - fraction) * std::exp(p.min_log_variance));
    case variance_type::learned_linear: return v;
    default: return std::exp(p.min_log_variance);
    }
}

/// The standard deviation of one element; the logarithm is halved before exp where there is one, as published.
REPAINT_HOST_DEVICE inline float step_deviation(const posterior& p, float v) {
    const float fraction = (v + 1.0F) / 2.0F;
    switch (p.variance) {
    case variance_type::learned_range:
        return std::exp(0.5F *
                        detail::multiply_add(fraction, p.max_log_variance, (1.0F - fraction) * p.min_log_variance));
    case variance_type::learned: return std::exp(0.5F * v);
    case variance_type::learned_range_linear:
    case variance_type::learned_linear: return detail::square_root(step_variance(p, v));
    default: return std::exp(0.5F * p.min_log_variance);
    }
}

/// The mean of x_{t-1} of one element, before guidance.
REPAINT_HOST_DEVICE inline float step_mean(const posterior& p, float x, float prediction, float x0) {
    const float from_x0_and_x = detail::multiply_add(p.mean_from_x0, x0, p.mean_from_x * x);
    return p.prediction == prediction_type::previous_x
               ? prediction
               : detail::multiply_add(p.mean_from_prediction, prediction, from_x0_and_x);
}

/// x_{t-1} of one element, from x_t, the prediction, its x_0, the variance channel and a normal z.
REPAINT_HOST_DEVICE inline float reverse_step(const posterior& p, float x, float prediction, float x0, float v,
                                              float z) {
    return detail::multiply_add(p.noise * step_deviation(p, v), z, step_mean(p, x, prediction, x0));
}

/// The same with the gradient g of classifier guidance; x0 holds its share already.
REPAINT_HOST_DEVICE inline float guided_reverse_step(const posterior& p, float x, float prediction, float x0, float v,
                                                     float z, float g) {
    const float share = p.mean_from_guidance + (p.guidance_by_variance ? step_variance(p, v) : 0.0F);
    const float mean = detail::multiply_add(share, g, step_mean(p, x, prediction, x0));
    return detail::multiply_add(p.noise * step_deviation(p, v), z, mean);
}

/// One element of a forward step, which is RePaint's undo as well: x_t from x_{t-1} and a normal z.
REPAINT_HOST_DEVICE inline float forward_step(const mixing& m, float x, float z) {
    return detail::multiply_add(m.signal, x, m.noise * z);
}

/// One element of RePaint's merge (Lugmayr et al. 2022, eq. 8): keep = 1 takes the known image, noised to the level of
/// x.
REPAINT_HOST_DEVICE inline float merged(const mixing& m, float x, float known, float keep, float z) {
    return detail::multiply_add(keep, forward_step(m, known, z), (1.0F - keep) * x);
}

} // namespace repaint
