#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <repaint/core/host_tensor.hpp>

namespace repaint {

/// The masks of the RePaint paper (section 5.2) and a box. What is known:
///   wide, narrow    all but random strokes, thick (and boxes) or thin: the settings random_thick_256 and
///                   random_thin_256 of LaMa (Suvorov et al. 2022), in proportion to the shorter side; at most half of
///                   a picture is missing, unless it is so small that every stroke covers more
///   half            the left half, columns below width / 2
///   expand          the central quarter of the width and height, 64 x 64 of 256 x 256
///   lines           every second row, the odd ones counted from 0
///   super_resolve   every second pixel of every second row, both odd
///   box             all but one random box with sides of 1/4 to 1/2 of the picture's, 1/16 or more from its border
enum class mask_kind { wide, narrow, half, expand, lines, super_resolve, box };

namespace detail {

/// SplitMix64 (Steele et al. 2014). The standard's distributions differ between libraries, so ranges are drawn here.
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
    [[nodiscard]] bool missing(std::size_t i) const { return missing_[i] != 0; }

    [[nodiscard]] std::size_t missing_count() const;

    void clear() { std::fill(missing_.begin(), missing_.end(), std::uint8_t{0}); }

    void box(std::int64_t left, std::int64_t top, std::int64_t box_width, std::int64_t box_height);

    /// The pixels within thickness / 2 of the segment from a to b: a line with round ends.
    void line(mask_point a, mask_point b, std::int64_t thickness);

private:
    void span(std::int64_t y, std::int64_t left, std::int64_t right);

    void disc_row(mask_point centre, std::int64_t diameter, std::int64_t y);

    /// Narrows [left, right] to the u with low <= factor * u <= high; false when none is left.
    static bool narrow(std::int64_t factor, std::int64_t low, std::int64_t high, std::int64_t& left,
                       std::int64_t& right);

    std::int64_t width_;
    std::int64_t height_;
    std::vector<std::uint8_t> missing_;
};

} // namespace detail

/// The name a mask kind has on the command line: "super-resolve" for super_resolve, its own for the others.
std::string to_string(mask_kind kind);

/// The mask kind of a name. Throws std::invalid_argument, which lists the names, for another one.
mask_kind parse_mask_kind(std::string_view name);

/// A keep mask (1, 1, height, width), 1 = known and 0 = to be filled. wide, narrow and box are drawn from the seed: the
/// same pixels on every platform. Throws std::invalid_argument for sides outside 1 to 65535 or more than 2^28 pixels.
host_tensor make_mask(mask_kind kind, int width, int height, std::uint64_t seed = 0);

} // namespace repaint

#ifndef REPAINT_COMPILED
#include <repaint/image/mask.ipp>
#endif
