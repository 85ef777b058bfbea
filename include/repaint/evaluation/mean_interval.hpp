#pragma once

#include <cstddef>
#include <span>

namespace repaint {

/// The mean of independent measurements and its 95 % confidence interval.
struct mean_interval {
    double mean = 0.0;         ///< NaN when nothing was counted
    double half_width = 0.0;   ///< the interval is mean -+ half_width; NaN for fewer than two
    std::size_t count = 0;     ///< measurements that went into the mean
    std::size_t infinite = 0;  ///< left out: the PSNR of equal pictures
    std::size_t undefined = 0; ///< left out: NaN, a measure over a hole that is not there
};

/// The t for which Student's distribution has 95 % between -t and t: 12.706 for one degree of freedom, 1.96 for many.
/// Throws std::invalid_argument for fewer than one.
double student_t_95(std::size_t degrees);

/// The mean of the finite values with its 95 % interval, by Student's t: half_width = t * standard deviation / sqrt(n).
mean_interval mean_with_interval(std::span<const double> values);

} // namespace repaint

#ifndef REPAINT_COMPILED
#include <repaint/evaluation/mean_interval.ipp>
#endif
