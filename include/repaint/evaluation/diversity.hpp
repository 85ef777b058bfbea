#pragma once

#include <repaint/evaluation/lpips.hpp>

/// How much the samples of one picture differ from each other. Neither number is the DiversityScore of RePaint's table
/// 6, which has another scale.
namespace repaint {

namespace detail {

double lpips_diversity(const lpips_features& samples, const host_tensor* keep);

double sample_deviation(const host_tensor& samples, const host_tensor* keep);

} // namespace detail

/// The mean LPIPS between every two samples of one picture, 0 when all are the same: larger is more diverse. samples:
/// features of two images or more. Throws std::invalid_argument for fewer.
double lpips_diversity(const lpips_features& samples);

/// The same over the hole. keep: 1 = known, (1, 1 or c, h, w); NaN when there is no hole. Throws shape_error, too.
double lpips_diversity(const lpips_features& samples, const host_tensor& keep);

/// The standard deviation over the samples of one picture (of n - 1 degrees of freedom), in 8-bit levels, as a mean over
/// pixels and channels: for when there are no LPIPS weights. samples: (n, c, h, w) in [-1, 1], n of 2 or more. Throws
/// std::invalid_argument for fewer.
double sample_deviation(const host_tensor& samples);

/// The same over the hole. keep: 1 = known, (1, 1 or c, h, w); NaN when there is no hole. Throws shape_error, too.
double sample_deviation(const host_tensor& samples, const host_tensor& keep);

} // namespace repaint

#ifndef REPAINT_COMPILED
#include <repaint/evaluation/diversity.ipp>
#endif
