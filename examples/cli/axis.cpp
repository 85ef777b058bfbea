#include "axis.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>

namespace cli {

namespace {

/// Of the larger end of a range: numbers that are nearer to each other are shown as if they were that far apart.
constexpr double least_extent = 1e-6;
constexpr double one_value_extent = 0.1;

} // namespace

void plot_range::include(double value) {
    if (std::isfinite(value)) {
        low_ = std::min(low_, value);
        high_ = std::max(high_, value);
    }
}

std::string plot_axis::label(double tick) const {
    std::array<char, 400> text{}; // the largest double has 309 digits
    std::snprintf(text.data(), text.size(), "%.*f", decimals, tick);
    return text.data();
}

plot_axis round_axis(const plot_range& shown, int count, double room) {
    if (shown.empty()) {
        return {};
    }
    const double largest = std::max(std::abs(shown.low()), std::abs(shown.high()));
    const double extent = shown.high() - shown.low();
    const double least = extent > 0.0 ? least_extent * largest : one_value_extent * std::max(largest, 1.0);
    const double beside = room * std::max(extent, least) + 0.5 * std::max(least - extent, 0.0);
    plot_axis axis;
    axis.first = shown.low() - beside;
    axis.last = shown.high() + beside;
    if (shown.low() >= 0.0) {
        axis.first = std::max(axis.first, 0.0);
    }
    const double rough = (axis.last - axis.first) / count;
    const double power = std::pow(10.0, std::floor(std::log10(rough)));
    const double part = rough / power;
    const double step = power * (part < 1.5 ? 1.0 : part < 3.5 ? 2.0 : part < 7.5 ? 5.0 : 10.0);
    axis.decimals = std::clamp(static_cast<int>(-std::floor(std::log10(step) + 1e-9)), 0, 9);
    const double end = std::floor(axis.last / step + 1e-9);
    for (double at = std::ceil(axis.first / step - 1e-9); at <= end; at += 1.0) {
        axis.ticks.push_back(at * step + 0.0); // -0 becomes 0
    }
    return axis;
}

} // namespace cli
