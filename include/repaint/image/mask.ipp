#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

#include <repaint/config.hpp>
#include <repaint/core/host_tensor.hpp>
#include <repaint/image/mask.hpp>
#include <repaint/image/picture.hpp>

namespace repaint {

namespace detail {

inline constexpr std::array<std::pair<std::string_view, mask_kind>, 7> mask_names{{
    {"wide", mask_kind::wide},
    {"narrow", mask_kind::narrow},
    {"half", mask_kind::half},
    {"expand", mask_kind::expand},
    {"lines", mask_kind::lines},
    {"super-resolve", mask_kind::super_resolve},
    {"box", mask_kind::box},
}};

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

inline std::int64_t floor_divide(std::int64_t a, std::int64_t b) {
    const std::int64_t q = a / b;
    return a % b != 0 && (a < 0) != (b < 0) ? q - 1 : q;
}

inline std::int64_t ceil_divide(std::int64_t a, std::int64_t b) { return -floor_divide(-a, b); }

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

/// LaMa's settings of one kind, in pixels of a 256 x 256 picture. A range of times has its ends included.
struct stroke_settings {
    std::int64_t min_strokes;
    std::int64_t max_strokes;
    std::int64_t length_range;
    std::int64_t width_range;
    std::int64_t box_permille; // how many of 1000 masks are made of boxes
};

inline constexpr stroke_settings wide_strokes{1, 6, 200, 100, 231};

inline constexpr stroke_settings narrow_strokes{4, 51, 40, 10, 0};

inline std::int64_t in_proportion(std::int64_t length_at_256, const mask_canvas& canvas) {
    const std::int64_t side = std::min(canvas.width(), canvas.height());
    return std::max<std::int64_t>((length_at_256 * side + 128) / 256, 1);
}

inline void draw_strokes(mask_canvas& canvas, const stroke_settings& settings, mask_random& random) {
    // sin and cos of 0.01, 1.01, 2.01 and 3.01 radians in units of 2^-20: LaMa adds 0.01 to whole radians below 4.
    constexpr std::array<std::array<std::int64_t, 2>, 4> directions{
        {{10486, 1048524}, {887968, 557696}, {949056, -445874}, {137587, -1039510}}};
    const std::int64_t strokes = random.between(settings.min_strokes, settings.max_strokes);
    for (std::int64_t stroke = 0; stroke < strokes; ++stroke) {
        const std::int64_t start_x = random.below(canvas.width());
        mask_point start{start_x, random.below(canvas.height())};
        const std::int64_t segments = random.between(1, 5);
        for (std::int64_t segment = 0; segment < segments; ++segment) {
            const auto& direction = directions[static_cast<std::size_t>(random.below(4))];
            const std::int64_t length = in_proportion(10 + random.below(settings.length_range), canvas);
            const std::int64_t thickness = in_proportion(5 + random.below(settings.width_range), canvas);
            const std::int64_t sine = stroke % 2 == 0 ? -direction[0] : direction[0];
            const mask_point end{
                std::clamp<std::int64_t>(start.x + floor_divide(length * sine, 1 << 20), 0, canvas.width()),
                std::clamp<std::int64_t>(start.y + floor_divide(length * direction[1], 1 << 20), 0, canvas.height())};
            canvas.line(start, end, thickness);
            start = end;
        }
    }
}

/// LaMa's boxes: 1 to 3 of them with sides of 30 to 150 and a margin of 10, in proportion to each side of the picture.
inline void draw_boxes(mask_canvas& canvas, mask_random& random) {
    const auto along = [&random](std::int64_t side) {
        const std::int64_t extent = std::max<std::int64_t>((random.between(30, 150) * side + 128) / 256, 1);
        const std::int64_t margin = std::min((10 * side + 128) / 256, (side - extent) / 2);
        return std::pair{random.between(margin, side - margin - extent), extent};
    };
    const std::int64_t boxes = random.between(1, 3);
    for (std::int64_t box = 0; box < boxes; ++box) {
        const auto [left, width] = along(canvas.width());
        const auto [top, height] = along(canvas.height());
        canvas.box(left, top, width, height);
    }
}

/// One of the variants among five with at most half of the pixels missing, each as likely; five more while there is
/// none. Where no stroke is small enough (a picture of a few pixels), the variant with the fewest missing pixels.
inline mask_canvas random_strokes(int width, int height, const stroke_settings& settings, mask_random& random) {
    constexpr int variants = 5;
    constexpr int rounds = 10;
    mask_canvas chosen(width, height);
    mask_canvas drawn(width, height);
    const std::size_t pixels = static_cast<std::size_t>(width) * static_cast<std::size_t>(height);
    std::size_t fewest = pixels + 1;
    int accepted = 0;
    for (int round = 0; round < rounds && accepted == 0; ++round) {
        for (int variant = 0; variant < variants; ++variant) {
            drawn.clear();
            if (random.below(1000) < settings.box_permille) {
                draw_boxes(drawn, random);
            } else {
                draw_strokes(drawn, settings, random);
            }
            const std::size_t missing = drawn.missing_count();
            if (missing * 2 <= pixels) {
                ++accepted;
                if (random.below(accepted) == 0) {
                    std::swap(chosen, drawn);
                }
            } else if (accepted == 0 && missing < fewest) {
                fewest = missing;
                std::swap(chosen, drawn);
            }
        }
    }
    return chosen;
}

inline mask_canvas random_box(int width, int height, mask_random& random) {
    const auto along = [&random](std::int64_t side) {
        const std::int64_t extent = random.between(ceil_divide(side, 4), std::max(side / 2, ceil_divide(side, 4)));
        const std::int64_t margin = std::min(ceil_divide(side, 16), (side - extent) / 2);
        return std::pair{random.between(margin, side - margin - extent), extent};
    };
    mask_canvas canvas(width, height);
    const auto [left, box_width] = along(width);
    const auto [top, box_height] = along(height);
    canvas.box(left, top, box_width, box_height);
    return canvas;
}

/// A keep mask from a predicate over (column, row).
template <class Known> host_tensor mask_where(int width, int height, Known known) {
    host_tensor mask({1, 1, height, width});
    float* value = mask.data();
    for (int y = 0; y < height; ++y) {
        for (int x = 0; x < width; ++x) {
            *value++ = known(x, y) ? 1.0F : 0.0F;
        }
    }
    return mask;
}

inline host_tensor keep_mask_of(const mask_canvas& canvas) {
    host_tensor mask({1, 1, static_cast<int>(canvas.height()), static_cast<int>(canvas.width())});
    for (std::size_t i = 0; i < mask.size(); ++i) {
        mask.data()[i] = canvas.missing(i) ? 0.0F : 1.0F;
    }
    return mask;
}

} // namespace detail

REPAINT_INLINE std::string to_string(mask_kind kind) {
    for (const auto& [name, named] : detail::mask_names) {
        if (named == kind) {
            return std::string(name);
        }
    }
    throw std::invalid_argument("to_string: there is no mask kind " + std::to_string(static_cast<int>(kind)));
}

REPAINT_INLINE mask_kind parse_mask_kind(std::string_view name) {
    std::string names;
    for (const auto& [known, kind] : detail::mask_names) {
        if (known == name) {
            return kind;
        }
        names += names.empty() ? "" : kind == mask_kind::box ? " or " : ", ";
        names += known;
    }
    throw std::invalid_argument("a mask is " + names + ", not '" + std::string(name) + "'");
}

REPAINT_INLINE host_tensor make_mask(mask_kind kind, int width, int height, std::uint64_t seed) {
    if (width < 1 || height < 1 || width > max_picture_side || height > max_picture_side ||
        static_cast<std::size_t>(width) * static_cast<std::size_t>(height) > max_picture_pixels) {
        throw std::invalid_argument("make_mask: " + detail::size_text(width, height) + " pixels; sides are 1 to " +
                                    std::to_string(max_picture_side) + ", and at most " +
                                    std::to_string(max_picture_pixels) + " pixels in all");
    }
    detail::mask_random random(seed);
    switch (kind) {
    case mask_kind::wide:
        return detail::keep_mask_of(detail::random_strokes(width, height, detail::wide_strokes, random));
    case mask_kind::narrow:
        return detail::keep_mask_of(detail::random_strokes(width, height, detail::narrow_strokes, random));
    case mask_kind::half: return detail::mask_where(width, height, [=](int x, int) { return x < width / 2; });
    case mask_kind::expand: {
        const int shown_width = std::max(width / 4, 1);
        const int shown_height = std::max(height / 4, 1);
        const int left = (width - shown_width) / 2;
        const int top = (height - shown_height) / 2;
        return detail::mask_where(width, height, [=](int x, int y) {
            return x >= left && x < left + shown_width && y >= top && y < top + shown_height;
        });
    }
    case mask_kind::lines: return detail::mask_where(width, height, [](int, int y) { return y % 2 == 1; });
    case mask_kind::super_resolve:
        return detail::mask_where(width, height, [](int x, int y) { return x % 2 == 1 && y % 2 == 1; });
    case mask_kind::box: return detail::keep_mask_of(detail::random_box(width, height, random));
    }
    throw std::invalid_argument("make_mask: there is no mask kind " + std::to_string(static_cast<int>(kind)));
}

} // namespace repaint
