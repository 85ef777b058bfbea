#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>

#include <repaint/config.hpp>
#include <repaint/image/mask_canvas.hpp>

namespace repaint {

namespace detail {

REPAINT_INLINE std::int64_t mask_random::below(std::int64_t end) {
    return static_cast<std::int64_t>(((next() >> 32U) * static_cast<std::uint64_t>(end)) >> 32U);
}

REPAINT_INLINE std::uint64_t mask_random::next() {
    state_ += 0x9E3779B97F4A7C15U;
    std::uint64_t z = state_;
    z = (z ^ (z >> 30U)) * 0xBF58476D1CE4E5B9U;
    z = (z ^ (z >> 27U)) * 0x94D049BB133111EBU;
    return z ^ (z >> 31U);
}

inline std::int64_t integer_root(std::int64_t n) {
    auto root = static_cast<std::int64_t>(std::sqrt(static_cast<double>(n)));
    while (root * root > n) {
        --root;
    }
    while ((root + 1) * (root + 1) <= n) {
        ++root;
    }
    return root;
}

REPAINT_INLINE mask_canvas::mask_canvas(int width, int height)
    : width_(width), height_(height),
      missing_(static_cast<std::size_t>(width) * static_cast<std::size_t>(height), std::uint8_t{0}) {}

REPAINT_INLINE std::size_t mask_canvas::missing_count() const {
    std::size_t count = 0;
    for (const std::uint8_t m : missing_) {
        count += m;
    }
    return count;
}

REPAINT_INLINE void mask_canvas::box(std::int64_t left, std::int64_t top, std::int64_t box_width,
                                     std::int64_t box_height) {
    for (std::int64_t y = std::max<std::int64_t>(top, 0); y < std::min(top + box_height, height_); ++y) {
        span(y, left, left + box_width - 1);
    }
}

REPAINT_INLINE void mask_canvas::line(mask_point a, mask_point b, std::int64_t thickness) {
    const std::int64_t dx = b.x - a.x;
    const std::int64_t dy = b.y - a.y;
    const std::int64_t length2 = dx * dx + dy * dy;
    // |cross product of (pixel - a) and (b - a)| <= length * thickness / 2; its square stays below 2^61.
    const std::int64_t reach = integer_root(thickness * thickness * length2 / 4);
    const std::int64_t first = std::max<std::int64_t>(std::min(a.y, b.y) - thickness / 2, 0);
    const std::int64_t last = std::min(std::max(a.y, b.y) + thickness / 2, height_ - 1);
    for (std::int64_t y = first; y <= last; ++y) {
        disc_row(a, thickness, y);
        disc_row(b, thickness, y);
        std::int64_t left = -a.x;
        std::int64_t right = width_ - a.x;
        if (length2 > 0 && narrow(dx, -(y - a.y) * dy, length2 - (y - a.y) * dy, left, right) &&
            narrow(dy, (y - a.y) * dx - reach, (y - a.y) * dx + reach, left, right)) {
            span(y, a.x + left, a.x + right);
        }
    }
}

REPAINT_INLINE void mask_canvas::span(std::int64_t y, std::int64_t left, std::int64_t right) {
    left = std::max<std::int64_t>(left, 0);
    right = std::min(right, width_ - 1);
    if (left <= right) {
        std::fill_n(missing_.begin() + (y * width_ + left), right - left + 1, std::uint8_t{1});
    }
}

REPAINT_INLINE void mask_canvas::disc_row(mask_point centre, std::int64_t diameter, std::int64_t y) {
    const std::int64_t room = diameter * diameter / 4 - (y - centre.y) * (y - centre.y);
    if (room >= 0) {
        const std::int64_t half = integer_root(room);
        span(y, centre.x - half, centre.x + half);
    }
}

REPAINT_INLINE bool mask_canvas::narrow(std::int64_t factor, std::int64_t low, std::int64_t high, std::int64_t& left,
                                        std::int64_t& right) {
    if (factor == 0) {
        return low <= 0 && 0 <= high;
    }
    left = std::max(left, factor > 0 ? ceil_divide(low, factor) : ceil_divide(high, factor));
    right = std::min(right, factor > 0 ? floor_divide(high, factor) : floor_divide(low, factor));
    return left <= right;
}

} // namespace detail

} // namespace repaint
