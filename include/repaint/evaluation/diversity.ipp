#pragma once

#include <cmath>
#include <cstddef>
#include <stdexcept>
#include <string>

#include <repaint/config.hpp>
#include <repaint/core/text.hpp>
#include <repaint/evaluation/comparison.hpp>
#include <repaint/evaluation/diversity.hpp>
#include <repaint/evaluation/lpips.hpp>

namespace repaint {

namespace detail {

inline void check_samples(int count, const char* measure) {
    if (count < 2) {
        throw std::invalid_argument(
            joined_text({std::string(measure), ": two samples or more can differ, got ", count}));
    }
}

REPAINT_INLINE double lpips_diversity(const lpips_features& samples, const host_tensor* keep) {
    const int n = samples.images.n;
    check_samples(n, "lpips_diversity");
    double sum = 0.0;
    for (int i = 0; i < n; ++i) {
        for (int j = i + 1; j < n; ++j) {
            sum += lpips_distance(samples, i, samples, j, keep, 0);
        }
    }
    return sum / (0.5 * n * (n - 1));
}

REPAINT_INLINE double sample_deviation(const host_tensor& samples, const host_tensor* keep) {
    const shape4& s = samples.shape();
    check_samples(s.n, "sample_deviation");
    weighted_mean deviation;
    for (int c = 0; c < s.c; ++c) {
        const float* known = keep == nullptr ? nullptr : plane_of(*keep, 0, c);
        for (std::size_t at = 0; at < s.plane(); ++at) {
            double mean = 0.0;
            for (int i = 0; i < s.n; ++i) {
                mean += static_cast<double>(plane_of(samples, i, c)[at]) / s.n;
            }
            double squares = 0.0;
            for (int i = 0; i < s.n; ++i) {
                const double difference = static_cast<double>(plane_of(samples, i, c)[at]) - mean;
                squares += difference * difference;
            }
            deviation.add(127.5 * std::sqrt(squares / (s.n - 1)), hole_weight(known, at));
        }
    }
    return deviation.value();
}

} // namespace detail

REPAINT_INLINE double lpips_diversity(const lpips_features& samples) {
    return detail::lpips_diversity(samples, nullptr);
}

REPAINT_INLINE double lpips_diversity(const lpips_features& samples, const host_tensor& keep) {
    detail::check_hole({1, samples.images.c, samples.images.h, samples.images.w}, keep.shape(), "lpips_diversity");
    return detail::lpips_diversity(samples, &keep);
}

REPAINT_INLINE double sample_deviation(const host_tensor& samples) {
    return detail::sample_deviation(samples, nullptr);
}

REPAINT_INLINE double sample_deviation(const host_tensor& samples, const host_tensor& keep) {
    detail::check_hole({1, samples.shape().c, samples.shape().h, samples.shape().w}, keep.shape(), "sample_deviation");
    return detail::sample_deviation(samples, &keep);
}

} // namespace repaint
