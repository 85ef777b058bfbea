#pragma once

#include <cmath>
#include <cstddef>
#include <limits>
#include <span>
#include <stdexcept>
#include <string>

#include <repaint/config.hpp>
#include <repaint/core/text.hpp>
#include <repaint/evaluation/mean_interval.hpp>

namespace repaint {

REPAINT_INLINE double student_t_95(std::size_t degrees) {
    if (degrees < 1) {
        throw std::invalid_argument(joined_text({"student_t_95: there must be a degree of freedom, got ", degrees}));
    }
    constexpr double z = 1.959963984540054;
    const auto n = static_cast<double>(degrees);
    if (degrees > 1000) {
        // Abramowitz and Stegun 26.7.5, as far as it is needed.
        const double first = (z * z * z + z) / 4.0;
        const double second = (5.0 * z * z * z * z * z + 16.0 * z * z * z + 3.0 * z) / 96.0;
        return z + first / n + second / (n * n);
    }
    // The probability between -t and t as a finite sum over t = sqrt(n) tan(angle): Abramowitz and Stegun 26.7.3, 26.7.4.
    constexpr double pi = 3.141592653589793;
    const auto probability = [&](double angle) {
        const double cosine = std::cos(angle);
        const bool odd = degrees % 2 == 1;
        double term = odd ? cosine : 1.0;
        double sum = 0.0;
        for (std::size_t k = odd ? 1 : 0; k + 2 <= degrees; k += 2) {
            sum += term;
            const auto at = static_cast<double>(k);
            term *= cosine * cosine * (at + 1.0) / (at + 2.0);
        }
        return odd ? 2.0 / pi * (angle + std::sin(angle) * sum) : std::sin(angle) * sum;
    };
    double low = 0.0;
    double high = pi / 2.0;
    for (int i = 0; i < 60; ++i) {
        const double middle = 0.5 * (low + high);
        (probability(middle) < 0.95 ? low : high) = middle;
    }
    return std::sqrt(n) * std::tan(0.5 * (low + high));
}

REPAINT_INLINE mean_interval mean_with_interval(std::span<const double> values) {
    mean_interval result;
    double sum = 0.0;
    for (const double value : values) {
        if (std::isfinite(value)) {
            sum += value;
            ++result.count;
        } else {
            ++(std::isnan(value) ? result.undefined : result.infinite);
        }
    }
    const auto n = static_cast<double>(result.count);
    result.mean = result.count == 0 ? std::numeric_limits<double>::quiet_NaN() : sum / n;
    result.half_width = std::numeric_limits<double>::quiet_NaN();
    if (result.count >= 2) {
        double squares = 0.0;
        for (const double value : values) {
            if (std::isfinite(value)) {
                squares += (value - result.mean) * (value - result.mean);
            }
        }
        result.half_width = student_t_95(result.count - 1) * std::sqrt(squares / (n - 1.0) / n);
    }
    return result;
}

} // namespace repaint
