#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

/// What random masks are drawn with.
namespace repaint {

namespace detail {

/// a / b, rounded down.
inline std::int64_t floor_divide(std::int64_t a, std::int64_t b) {
    const std::int64_t q = a / b;
    return a % b != 0 && (a < 0) != (b < 0) ? q - 1 : q;
}

/// a / b, rounded up.
inline std::int64_t ceil_divide(std::int64_t a, std::int64_t b) { return -floor_divide(-a, b); }

/// SplitMix64 (Steele et al. 2014). It draws ranges itself, because the distributions of standard libraries differ.
class mask_random {
public:
    explicit mask_random(std::uint64_t seed) : state_(seed) {}

    /// An integer in [0, end), end being 1 to 2^32.
    std::int64_t below(std::int64_t end);

    /// An integer in [first, last].
    std::int64_t between(std::int64_t first, std::int64_t last) { return first + below(last - first + 1); }

private:
    std::uint64_t next();

    std::uint64_t state_;
};

struct mask_point {
    std::int64_t x = 0;
    std::int64_t y = 0;
};

/// Which pixels are missing. All arithmetic is on integers, so that every platform draws the same pixels.
class mask_canvas {
public:
    mask_canvas(int width, int height);

    [[nodiscard]] std::int64_t width() const { return width_; }
    [[nodiscard]] std::int64_t height() const { return height_; }
    /// True when pixel i, counted row by row, is missing.
    [[nodiscard]] bool missing(std::size_t i) const { return missing_[i] != 0; }

    [[nodiscard]] std::size_t missing_count() const;

    /// Makes every pixel known.
    void clear() { std::fill(missing_.begin(), missing_.end(), std::uint8_t{0}); }

    /// Makes the pixels of a box missing. The box may reach beyond the canvas.
    void box(std::int64_t left, std::int64_t top, std::int64_t box_width, std::int64_t box_height);

    /// Makes the pixels within thickness / 2 of the segment from a to b missing: a line with round ends.
    void line(mask_point a, mask_point b, std::int64_t thickness);

private:
    void span(std::int64_t y, std::int64_t left, std::int64_t right);

    void disc_row(mask_point centre, std::int64_t diameter, std::int64_t y);

    /// Narrows [left, right] to the u with low <= factor * u <= high. Returns false when there is no such u.
    static bool narrow(std::int64_t factor, std::int64_t low, std::int64_t high, std::int64_t& left,
                       std::int64_t& right);

    std::int64_t width_;
    std::int64_t height_;
    std::vector<std::uint8_t> missing_;
};

} // namespace detail

} // namespace repaint

#ifndef REPAINT_COMPILED
#include <repaint/image/mask_canvas.ipp>
#endif
