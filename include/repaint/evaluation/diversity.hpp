#pragma once

#include <repaint/evaluation/lpips.hpp>

/// How much the samples of one picture differ from each other. Neither measure is the DiversityScore of RePaint's table
/// 6, which has another scale.
namespace repaint {

namespace detail {

double lpips_diversity(const lpips_features& samples, const host_tensor* keep);

double sample_deviation(const host_tensor& samples, const host_tensor* keep);

} // namespace detail

/// The mean LPIPS between every two samples of one picture: 0 when all are equal, larger when they are more diverse.
/// samples: features of two images or more. Throws std::invalid_argument for fewer than two.
double lpips_diversity(const lpips_features& samples);

/// The mean LPIPS over the hole between every two samples of one picture. keep: 1 = known, (1, 1 or c, h, w). NaN when
/// there is no hole. Throws std::invalid_argument for fewer than two samples, shape_error for another mask.
double lpips_diversity(const lpips_features& samples, const host_tensor& keep);

/// The standard deviation over the samples of one picture (of n - 1 degrees of freedom) in 8-bit levels, averaged over
/// pixels and channels. It needs no LPIPS weights. samples: (n, c, h, w) in [-1, 1], n of 2 or more. Throws
/// std::invalid_argument for fewer than two.
double sample_deviation(const host_tensor& samples);

/// The standard deviation over the samples of one picture, averaged over the pixels of the hole. keep: 1 = known, (1, 1
/// or c, h, w). NaN when there is no hole. Throws std::invalid_argument for fewer than two samples, shape_error for
/// another mask.
double sample_deviation(const host_tensor& samples, const host_tensor& keep);

} // namespace repaint

#ifndef REPAINT_COMPILED
#include <repaint/evaluation/diversity.ipp>
#endif
