#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <sstream>
#include <string>

#include <repaint/core/host_tensor.hpp>
#include <repaint/diffusion/philox.hpp>

#include "catch.hpp"

/// How far a result may be from what is expected: largest error of one element relative to the largest expected value
/// (or absolute, when that is below 1), and mean squared error relative to the expected mean square.
struct tolerance {
    double element = 1e-5;
    double nmse = 1e-11;
};

/// Empty when they agree; else both shapes, the worst element, and the errors as a share of the tolerance.
inline std::string difference(const repaint::host_tensor& actual, const repaint::host_tensor& expected,
                              tolerance allowed) {
    if (actual.shape() != expected.shape()) {
        return "shape " + to_string(actual.shape()) + " instead of " + to_string(expected.shape());
    }
    double largest = 1.0;
    double worst = 0.0;
    double squares = 0.0;
    double errors = 0.0;
    std::size_t at = 0;
    for (std::size_t i = 0; i < actual.size(); ++i) {
        const double e = static_cast<double>(expected.values()[i]);
        const double error = std::fabs(static_cast<double>(actual.values()[i]) - e);
        largest = std::max(largest, std::fabs(e));
        squares += e * e;
        errors += error * error;
        if (!(error <= worst)) { // a NaN is the worst there is
            worst = std::isnan(error) ? std::numeric_limits<double>::infinity() : error;
            at = i;
        }
    }
    const double nmse = errors / std::max(squares, 1e-30);
    if (worst <= allowed.element * largest && nmse <= allowed.nmse) {
        return {};
    }
    std::ostringstream text;
    text << to_string(actual.shape()) << ": element " << at << " is " << actual.values()[at] << ", expected "
         << expected.values()[at] << "; largest error " << worst << " (" << 100.0 * worst / (allowed.element * largest)
         << " % of the tolerance), nmse " << nmse << " (" << 100.0 * nmse / allowed.nmse << " %)";
    return text.str();
}

inline double largest_difference(const repaint::host_tensor& a, const repaint::host_tensor& b) {
    REQUIRE(a.shape() == b.shape());
    double worst = 0.0;
    for (std::size_t i = 0; i < a.size(); ++i) {
        const double d = std::fabs(static_cast<double>(a.values()[i]) - static_cast<double>(b.values()[i]));
        worst = std::isnan(d) ? std::numeric_limits<double>::infinity() : std::max(worst, d);
    }
    return worst;
}

inline bool same_bits(const repaint::host_tensor& a, const repaint::host_tensor& b) {
    return a.shape() == b.shape() && std::equal(a.values().begin(), a.values().end(), b.values().begin());
}

/// N(0, 1) values, the same on every machine.
inline repaint::host_tensor random_tensor(repaint::shape4 shape, std::uint64_t seed) {
    repaint::host_tensor result(shape);
    repaint::philox_normal(seed, 0, result.values());
    return result;
}

/// Images with values from -1 to 1, the same on every machine.
inline repaint::host_tensor random_images(repaint::shape4 shape, std::uint64_t seed) {
    auto result = random_tensor(shape, seed);
    for (float& value : result.values()) {
        value = std::clamp(0.25F * value, -1.0F, 1.0F);
    }
    return result;
}
