#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

#include <repaint/config.hpp>
#include <repaint/core/host_tensor.hpp>
#include <repaint/core/text.hpp>
#include <repaint/image/mask.hpp>
#include <repaint/image/mask_canvas.hpp>
#include <repaint/image/picture.hpp>
#include <repaint/image/pixels.hpp>

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

/// LaMa's settings of one kind of mask, in pixels of a 256 x 256 picture. Numbers of strokes include both ends.
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

/// Draws five variants and returns one of those with at most half of the pixels missing, all with equal chance. While
/// no variant has so few, it draws five more, ten times at most; then it returns the variant with the fewest missing
/// pixels (in a picture of a few pixels every stroke covers more than half).
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
    throw std::invalid_argument(joined_text({"to_string: there is no mask kind ", static_cast<int>(kind)}));
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
    throw std::invalid_argument(joined_text({"a mask is ", names, ", not '", std::string(name), "'"}));
}

REPAINT_INLINE host_tensor make_mask(mask_kind kind, int width, int height, std::uint64_t seed) {
    if (width < 1 || height < 1 || width > max_picture_side || height > max_picture_side ||
        static_cast<std::size_t>(width) * static_cast<std::size_t>(height) > max_picture_pixels) {
        throw std::invalid_argument(
            joined_text({"make_mask: ", detail::size_text(width, height), " pixels; sides are 1 to ", max_picture_side,
                         ", and at most ", max_picture_pixels, " pixels in all"}));
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
    throw std::invalid_argument(joined_text({"make_mask: there is no mask kind ", static_cast<int>(kind)}));
}

} // namespace repaint
