#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <repaint/config.hpp>
#include <repaint/core/text.hpp>
#include <repaint/image/official_crop.hpp>
#include <repaint/image/picture.hpp>
#include <repaint/image/pixels.hpp>

namespace repaint {

namespace detail {

/// The filters of PIL that the official program resizes with. Shrinking stretches them over the pixels that become one.
enum class pil_filter { box, bicubic };

inline double pil_filter_support(pil_filter filter) { return filter == pil_filter::box ? 0.5 : 2.0; }

inline double pil_filter_at(pil_filter filter, double x) {
    if (filter == pil_filter::box) {
        return x > -0.5 && x <= 0.5 ? 1.0 : 0.0;
    }
    constexpr double a = -0.5;
    x = std::abs(x);
    if (x < 1.0) {
        return ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0;
    }
    return x < 2.0 ? (((x - 5.0) * x + 8.0) * x - 4.0) * a : 0.0;
}

/// 8-bit pixels times fixed-point weights fit 32 bits with a sign and a bit to spare.
inline constexpr int pil_weight_bits = 32 - 8 - 2;

/// For each of the positions [first, first + count) of an axis resized from `from` to `to`: where its input begins, and
/// the weights of the input from there on.
struct pil_axis {
    struct position {
        int start;
        std::size_t weights_at;
        int taps;
    };
    std::vector<position> positions;
    std::vector<std::int32_t> weights;

    pil_axis(int from, int to, pil_filter filter, int first, int count) {
        const double scale = static_cast<double>(from) / to;
        const double stretch = std::max(scale, 1.0);
        const double support = pil_filter_support(filter) * stretch;
        std::vector<double> exact;
        for (int i = first; i < first + count; ++i) {
            const double centre = (i + 0.5) * scale;
            const int start = std::max(static_cast<int>(centre - support + 0.5), 0);
            const int end = std::min(static_cast<int>(centre + support + 0.5), from);
            exact.clear();
            double sum = 0.0;
            for (int x = start; x < end; ++x) {
                exact.push_back(pil_filter_at(filter, (x - centre + 0.5) * (1.0 / stretch)));
                sum += exact.back();
            }
            positions.push_back({start, weights.size(), end - start});
            for (const double weight : exact) {
                const double fixed = (sum != 0.0 ? weight / sum : weight) * (1 << pil_weight_bits);
                weights.push_back(static_cast<std::int32_t>(fixed + (fixed < 0.0 ? -0.5 : 0.5)));
            }
        }
    }

    /// The first and the end of the input that any position reads.
    [[nodiscard]] std::pair<int, int> reach() const {
        int first = positions.front().start;
        int end = first;
        for (const auto& p : positions) {
            first = std::min(first, p.start);
            end = std::max(end, p.start + p.taps);
        }
        return {first, end};
    }

    /// The byte at position i of a line of bytes that are `stride` apart, the first of them being input `offset`.
    [[nodiscard]] std::uint8_t at(std::size_t i, const std::uint8_t* line, std::size_t stride, int offset) const {
        const position& p = positions[i];
        const std::uint8_t* input = line + static_cast<std::size_t>(p.start - offset) * stride;
        std::int32_t sum = 1 << (pil_weight_bits - 1);
        for (int k = 0; k < p.taps; ++k) {
            sum += weights[p.weights_at + static_cast<std::size_t>(k)] * *input;
            input += stride;
        }
        return static_cast<std::uint8_t>(std::clamp(sum >> pil_weight_bits, 0, 255));
    }
};

/// The part [left, left + width) x [top, top + height) of a picture resized to `to_width` x `to_height`: byte for byte
/// what PIL gives, which resizes rows, rounds to 8 bits and resizes columns (Pillow 13 does tall pictures the other way
/// round; the official program is older).
inline picture pil_resized(const picture& p, int to_width, int to_height, pil_filter filter, int left, int top,
                           int width, int height) {
    const pil_axis across(p.width, to_width, filter, left, width);
    const pil_axis down(p.height, to_height, filter, top, height);
    const auto [first_row, end_row] = down.reach();
    const auto channels = static_cast<std::size_t>(p.channels);
    const std::size_t row_bytes = static_cast<std::size_t>(p.width) * channels;
    const std::size_t new_row_bytes = static_cast<std::size_t>(width) * channels;

    std::vector<std::uint8_t> rows(new_row_bytes * static_cast<std::size_t>(end_row - first_row));
    std::uint8_t* out = rows.data();
    for (int y = first_row; y < end_row; ++y) {
        const std::uint8_t* row = p.pixels.data() + static_cast<std::size_t>(y) * row_bytes;
        for (std::size_t x = 0; x < static_cast<std::size_t>(width); ++x) {
            for (std::size_t c = 0; c < channels; ++c) {
                *out++ = across.at(x, row + c, channels, 0);
            }
        }
    }
    picture result = blank_picture(width, height, p.channels);
    out = result.pixels.data();
    for (std::size_t y = 0; y < static_cast<std::size_t>(height); ++y) {
        for (std::size_t x = 0; x < new_row_bytes; ++x) {
            *out++ = down.at(y, rows.data() + x, new_row_bytes, first_row);
        }
    }
    return result;
}

} // namespace detail

REPAINT_INLINE picture official_crop(const picture& p, int size) {
    constexpr int largest = 16384; // its square is max_picture_pixels
    detail::check_picture(p, "official_crop");
    if (size < 1 || size > largest) {
        throw std::invalid_argument(joined_text({"official_crop: the size must be 1 to ", largest, ", got ", size}));
    }
    picture rgb = detail::blank_picture(p.width, p.height, 3);
    std::uint8_t* out = rgb.pixels.data();
    for (std::size_t i = 0; i < detail::pixel_count(p); ++i) {
        for (int c = 0; c < 3; ++c) {
            *out++ = detail::colour(p, i, c, 3);
        }
    }
    while (std::min(rgb.width, rgb.height) >= 2 * size) {
        const int width = rgb.width / 2;
        const int height = rgb.height / 2;
        rgb = detail::pil_resized(rgb, width, height, detail::pil_filter::box, 0, 0, width, height);
    }
    // Half to even, as Python rounds. A narrow picture can become very long, which is why only the middle is made.
    const double scale = static_cast<double>(size) / std::min(rgb.width, rgb.height);
    const auto width = static_cast<int>(std::nearbyint(rgb.width * scale));
    const auto height = static_cast<int>(std::nearbyint(rgb.height * scale));
    return detail::pil_resized(rgb, width, height, detail::pil_filter::bicubic, (width - size) / 2, (height - size) / 2,
                               size, size);
}

REPAINT_INLINE picture box_resized(const picture& p, int width, int height) {
    const picture flat = over_white(p);
    return detail::pil_resized(flat, width, height, detail::pil_filter::box, 0, 0, width, height);
}

} // namespace repaint
