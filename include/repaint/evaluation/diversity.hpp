#pragma once

#include <cmath>
#include <cstddef>
#include <stdexcept>
#include <string>
#include <vector>

#include <repaint/evaluation/comparison.hpp>
#include <repaint/evaluation/lpips.hpp>

/// How much the samples of one picture differ from each other. Neither number is the DiversityScore of RePaint's table
/// 6, which has another scale.
namespace repaint {

namespace detail {

inline void check_samples(int count, const char* measure) {
    if (count < 2) {
        throw std::invalid_argument(std::string(measure) + ": two samples or more can differ, got " +
                                    std::to_string(count));
    }
}

inline double lpips_diversity(const lpips_features& samples, const host_tensor* keep) {
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

inline double sample_deviation(const host_tensor& samples, const host_tensor* keep) {
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

/// The mean LPIPS between every two samples of one picture, 0 when all are the same: larger is more diverse. samples:
/// features of two images or more. Throws std::invalid_argument for fewer.
inline double lpips_diversity(const lpips_features& samples) { return detail::lpips_diversity(samples, nullptr); }

/// The same over the hole. keep: 1 = known, (1, 1 or c, h, w); NaN when there is no hole. Throws shape_error, too.
inline double lpips_diversity(const lpips_features& samples, const host_tensor& keep) {
    detail::check_hole({1, samples.images.c, samples.images.h, samples.images.w}, keep.shape(), "lpips_diversity");
    return detail::lpips_diversity(samples, &keep);
}

/// The standard deviation over the samples of one picture (of n - 1 degrees of freedom), in 8-bit levels, as a mean over
/// pixels and channels: for when there are no LPIPS weights. samples: (n, c, h, w) in [-1, 1], n of 2 or more. Throws
/// std::invalid_argument for fewer.
inline double sample_deviation(const host_tensor& samples) { return detail::sample_deviation(samples, nullptr); }

/// The same over the hole. keep: 1 = known, (1, 1 or c, h, w); NaN when there is no hole. Throws shape_error, too.
inline double sample_deviation(const host_tensor& samples, const host_tensor& keep) {
    detail::check_hole({1, samples.shape().c, samples.shape().h, samples.shape().w}, keep.shape(), "sample_deviation");
    return detail::sample_deviation(samples, &keep);
}

} // namespace repaint
