#pragma once

#include <cmath>
#include <cstddef>
#include <limits>
#include <vector>

#include <repaint/config.hpp>
#include <repaint/evaluation/comparison.hpp>
#include <repaint/evaluation/psnr.hpp>

namespace repaint {

namespace detail {

REPAINT_INLINE std::vector<double> psnr(const host_tensor& images, const host_tensor& truth, const host_tensor* keep) {
    const shape4& s = images.shape();
    check_comparable(s, truth.shape(), "psnr");
    std::vector<double> result;
    for (int i = 0; i < s.n; ++i) {
        weighted_mean error;
        for (int c = 0; c < s.c; ++c) {
            const float* x = plane_of(images, i, c);
            const float* y = plane_of(truth, i, c);
            const float* known = keep == nullptr ? nullptr : plane_of(*keep, i, c);
            for (std::size_t at = 0; at < s.plane(); ++at) {
                const double difference = static_cast<double>(x[at]) - static_cast<double>(y[at]);
                error.add(difference * difference, hole_weight(known, at));
            }
        }
        constexpr double range = 2.0;
        const double mean = error.value();
        result.push_back(mean == 0.0 ? std::numeric_limits<double>::infinity()
                                     : 10.0 * std::log10(range * range / mean));
    }
    return result;
}

} // namespace detail

REPAINT_INLINE std::vector<double> psnr(const host_tensor& images, const host_tensor& truth) {
    return detail::psnr(images, truth, nullptr);
}

REPAINT_INLINE std::vector<double> psnr(const host_tensor& images, const host_tensor& truth, const host_tensor& keep) {
    detail::check_hole(images.shape(), keep.shape(), "psnr");
    return detail::psnr(images, truth, &keep);
}

} // namespace repaint
