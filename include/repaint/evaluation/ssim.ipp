#pragma once

#include <array>
#include <cmath>
#include <cstddef>
#include <string>
#include <vector>

#include <repaint/config.hpp>
#include <repaint/core/text.hpp>
#include <repaint/error.hpp>
#include <repaint/evaluation/comparison.hpp>
#include <repaint/evaluation/ssim.hpp>

namespace repaint {

namespace detail {

struct ssim_kernel {
    std::vector<double> weights; ///< of rows and of columns; sum 1
    double covariance = 1.0;     ///< n / (n - 1) for the sample covariance of n pixels, 1 for the population's
};

inline ssim_kernel ssim_kernel_of(ssim_window window) {
    if (window == ssim_window::uniform) {
        constexpr int side = 7;
        constexpr double pixels = side * side;
        return {std::vector<double>(side, 1.0 / side), pixels / (pixels - 1.0)};
    }
    constexpr int radius = 5; // 3.5 sigma, rounded
    constexpr double sigma = 1.5;
    ssim_kernel kernel;
    double sum = 0.0;
    for (int at = -radius; at <= radius; ++at) {
        kernel.weights.push_back(std::exp(-0.5 * at * at / (sigma * sigma)));
        sum += kernel.weights.back();
    }
    for (double& weight : kernel.weights) {
        weight /= sum;
    }
    return kernel;
}

/// Calls found(row, column, value) with the centre and the SSIM of every window that lies inside two planes. It goes
/// row by row and needs memory for a few rows only.
template <class F>
void for_each_ssim(const float* x, const float* y, int h, int w, const ssim_kernel& kernel, F found) {
    constexpr double range = 255.0;
    constexpr double c1 = (0.01 * range) * (0.01 * range);
    constexpr double c2 = (0.03 * range) * (0.03 * range);
    // SSIM depends on where zero is: as for the 8-bit picture, at black.
    const auto level = [](float value) { return (static_cast<double>(value) + 1.0) * 127.5; };
    const std::size_t side = kernel.weights.size();
    const std::size_t radius = side / 2;
    const auto width = static_cast<std::size_t>(w);
    // Of each column under the window: the means of x, y, x^2, y^2 and x y.
    std::array<std::vector<double>, 5> columns;
    for (std::size_t top = 0; top + side <= static_cast<std::size_t>(h); ++top) {
        for (auto& column : columns) {
            column.assign(width, 0.0);
        }
        for (std::size_t i = 0; i < side; ++i) {
            const double weight = kernel.weights[i];
            const float* x_row = x + (top + i) * width;
            const float* y_row = y + (top + i) * width;
            for (std::size_t j = 0; j < width; ++j) {
                const double a = level(x_row[j]);
                const double b = level(y_row[j]);
                columns[0][j] += weight * a;
                columns[1][j] += weight * b;
                columns[2][j] += weight * a * a;
                columns[3][j] += weight * b * b;
                columns[4][j] += weight * a * b;
            }
        }
        for (std::size_t left = 0; left + side <= width; ++left) {
            std::array<double, 5> mean{};
            for (std::size_t j = 0; j < side; ++j) {
                for (std::size_t k = 0; k < mean.size(); ++k) {
                    mean[k] += kernel.weights[j] * columns[k][left + j];
                }
            }
            const auto [mx, my, mxx, myy, mxy] = mean;
            const double vx = kernel.covariance * (mxx - mx * mx);
            const double vy = kernel.covariance * (myy - my * my);
            const double vxy = kernel.covariance * (mxy - mx * my);
            found(top + radius, left + radius,
                  (2.0 * mx * my + c1) * (2.0 * vxy + c2) / ((mx * mx + my * my + c1) * (vx + vy + c2)));
        }
    }
}

REPAINT_INLINE std::vector<double> ssim(const host_tensor& images, const host_tensor& truth, const host_tensor* keep,
                                        ssim_window window) {
    const shape4& s = images.shape();
    check_comparable(s, truth.shape(), "ssim");
    const ssim_kernel kernel = ssim_kernel_of(window);
    const auto side = static_cast<int>(kernel.weights.size());
    if (s.h < side || s.w < side) {
        throw shape_error(joined_text(
            {"ssim: images ", to_string(s), " are smaller than the window of ", side, "x", side, " pixels"}));
    }
    std::vector<double> result;
    for (int i = 0; i < s.n; ++i) {
        weighted_mean similarity;
        for (int c = 0; c < s.c; ++c) {
            const float* known = keep == nullptr ? nullptr : plane_of(*keep, i, c);
            for_each_ssim(plane_of(images, i, c), plane_of(truth, i, c), s.h, s.w, kernel,
                          [&](std::size_t row, std::size_t column, double value) {
                              const std::size_t at = row * static_cast<std::size_t>(s.w) + column;
                              similarity.add(value, hole_weight(known, at));
                          });
        }
        result.push_back(similarity.value());
    }
    return result;
}

} // namespace detail

REPAINT_INLINE std::vector<double> ssim(const host_tensor& images, const host_tensor& truth, ssim_window window) {
    return detail::ssim(images, truth, nullptr, window);
}

REPAINT_INLINE std::vector<double> ssim(const host_tensor& images, const host_tensor& truth, const host_tensor& keep,
                                        ssim_window window) {
    detail::check_hole(images.shape(), keep.shape(), "ssim");
    return detail::ssim(images, truth, &keep, window);
}

} // namespace repaint
