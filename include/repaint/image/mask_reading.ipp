#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <repaint/config.hpp>
#include <repaint/core/host_tensor.hpp>
#include <repaint/core/text.hpp>
#include <repaint/error.hpp>
#include <repaint/image/mask_reading.hpp>
#include <repaint/image/mask_shaping.hpp>
#include <repaint/image/picture.hpp>
#include <repaint/image/pixels.hpp>

namespace repaint {

namespace detail {

/// The values of a mask, or nothing once there are more than two.
inline std::optional<std::vector<float>> few_values(std::span<const float> values) {
    std::vector<float> found;
    for (const float value : values) {
        if (std::find(found.begin(), found.end(), value) == found.end()) {
            if (found.size() == 2) {
                return std::nullopt;
            }
            found.push_back(value);
        }
    }
    std::sort(found.begin(), found.end());
    return found;
}

/// Throws format_error when a plane of values in [0, 1] is a photograph rather than a mask: too much of it is far from
/// both ends, and is no blur of an edge between them.
inline void refuse_photograph(std::span<const float> values, int width, int height) {
    constexpr float end = 0.125F;
    const std::size_t count = values.size();
    std::size_t middle = 0;
    for (const float value : values) {
        middle += value > end && value < 1.0F - end ? 1U : 0U;
    }
    if (count < 64 || middle * 25 <= count) { // up to 4 %: edges, compression
        return;
    }
    // A blurred edge has both ends near, and is smooth.
    constexpr std::int64_t near = 64LL * 64;
    std::vector<bool> low(count);
    std::vector<bool> high(count);
    for (std::size_t i = 0; i < count; ++i) {
        low[i] = values[i] <= end;
        high[i] = values[i] >= 1.0F - end;
    }
    const auto from_low = squared_distances(low, width, height);
    const auto from_high = squared_distances(high, width, height);
    std::size_t stray = 0;
    for (int y = 0; y < height; ++y) {
        for (int x = 0; x < width; ++x) {
            const std::size_t i =
                static_cast<std::size_t>(y) * static_cast<std::size_t>(width) + static_cast<std::size_t>(x);
            if (low[i] || high[i]) {
                continue;
            }
            float bend = 0.0F;
            if (x > 0 && x + 1 < width) {
                bend = std::abs(values[i - 1] + values[i + 1] - 2.0F * values[i]);
            }
            if (y > 0 && y + 1 < height) {
                const auto w = static_cast<std::size_t>(width);
                bend = std::max(bend, std::abs(values[i - w] + values[i + w] - 2.0F * values[i]));
            }
            stray += from_low[i] > near || from_high[i] > near || bend > 0.35F ? 1U : 0U;
        }
    }
    if (middle * 2 > count || stray * 10 > middle) {
        throw format_error(
            joined_text({"does not look like a mask: ", (100 * middle + count / 2) / count,
                         " % of it is neither near black nor near white. Is it a picture? If it is meant, "
                         "give --threshold"}));
    }
}

inline void invert(host_tensor& mask) {
    for (float& value : mask.values()) {
        value = 1.0F - value;
    }
}

} // namespace detail

REPAINT_INLINE understood_mask understand_mask(const picture& p, mask_polarity polarity, bool weights) {
    detail::check_picture(p, "understand_mask");
    const std::size_t count = detail::pixel_count(p);
    const auto stride = static_cast<std::size_t>(p.channels);
    const auto colours = static_cast<std::size_t>(detail::colour_channels(p));
    const auto extreme = [&](bool brightest) {
        host_tensor mask({1, 1, p.height, p.width});
        for (std::size_t i = 0; i < count; ++i) {
            const std::uint8_t* pixel = p.pixels.data() + i * stride;
            mask.values()[i] = static_cast<float>(brightest ? *std::max_element(pixel, pixel + colours)
                                                            : *std::min_element(pixel, pixel + colours));
        }
        return mask;
    };
    understood_mask result{extreme(true), {}};
    auto values = detail::few_values(result.keep.values());
    if (values && values->size() == 1 && colours > 1) {
        host_tensor darkest = extreme(false);
        auto others = detail::few_values(darkest.values());
        if (!others || others->size() > 1) {
            result.keep = std::move(darkest);
            values = std::move(others);
        }
    }
    if (values && values->size() == 1 && detail::has_alpha(p)) {
        for (std::size_t i = 0; i < count; ++i) {
            if (p.pixels[i * stride + colours] != 255) {
                throw format_error(
                    "has one colour and differs only in alpha: give alpha:FILE instead of FILE, with --paint "
                    "to fill what is transparent, with --keep to fill what is opaque");
            }
        }
    }
    if (values && values->size() == 1 && values->front() != 0.0F && values->front() != 255.0F) {
        throw format_error(joined_text(
            {"has the one value ", static_cast<int>(values->front()), ", which is neither black (0) nor white (255)"}));
    }
    if (values && values->size() == 2 && (values->front() != 0.0F || values->back() != 255.0F)) {
        result.notes.push_back(joined_text({"its two values, ", static_cast<int>(values->front()), " and ",
                                            static_cast<int>(values->back()), ", were taken as black and white"}));
        for (float& value : result.keep.values()) {
            value = value == values->front() ? 0.0F : 255.0F;
        }
    }
    for (float& value : result.keep.values()) {
        value /= 255.0F;
    }
    if (!values && !weights) {
        detail::refuse_photograph(result.keep.values(), p.width, p.height);
    }
    if (polarity == mask_polarity::paint) {
        for (float& value : result.keep.values()) {
            value = (255.0F - std::round(value * 255.0F)) / 255.0F; // as keep_mask makes of the bytes, to the bit
        }
    }
    return result;
}

REPAINT_INLINE understood_mask understand_mask(host_tensor values, mask_polarity polarity) {
    understood_mask result{std::move(values), {}};
    host_tensor& keep = result.keep;
    float least = 0.0F;
    float most = 1.0F;
    for (const float value : keep.values()) {
        if (std::isnan(value)) {
            throw format_error("holds NaN, a mask holds 0 to 1");
        }
        least = std::min(least, value);
        most = std::max(most, value);
    }
    const auto few = detail::few_values(keep.values());
    if (few && few->size() == 2) {
        if (few->front() != 0.0F || few->back() != 1.0F) {
            result.notes.push_back(
                joined_text({"its two values, ", shortest_text(static_cast<double>(few->front())), " and ",
                             shortest_text(static_cast<double>(few->back())), ", were taken as 0 and 1"}));
            for (float& value : keep.values()) {
                value = value == few->front() ? 0.0F : 1.0F;
            }
        }
    } else if (few && few->size() == 1 && few->front() == 255.0F) {
        for (float& value : keep.values()) {
            value = 1.0F;
        }
    } else if (least < 0.0F || most > 255.0F || (few && most > 1.0F)) {
        throw format_error(
            joined_text({"holds values from ", shortest_text(static_cast<double>(least)), " to ",
                         shortest_text(static_cast<double>(most)), ", a mask holds 0 to 1, or bytes of 0 to 255"}));
    } else if (most > 1.0F) {
        result.notes.emplace_back("its values were taken as bytes, 255 for white");
        for (float& value : keep.values()) {
            value /= 255.0F;
        }
    }
    if (!few) {
        const std::size_t plane = keep.shape().plane();
        for (std::size_t begin = 0; begin < keep.size(); begin += plane) {
            detail::refuse_photograph(std::as_const(keep).values().subspan(begin, plane), keep.shape().w,
                                      keep.shape().h);
        }
    }
    if (polarity == mask_polarity::paint) {
        detail::invert(keep);
    }
    return result;
}

REPAINT_INLINE host_tensor alpha_mask(const picture& p, mask_polarity polarity) {
    detail::check_picture(p, "alpha_mask");
    if (!detail::has_alpha(p)) {
        throw format_error("has no alpha, so nothing of it is transparent");
    }
    const auto stride = static_cast<std::size_t>(p.channels);
    host_tensor mask({1, 1, p.height, p.width});
    bool opaque = true;
    for (std::size_t i = 0; i < detail::pixel_count(p); ++i) {
        const std::uint8_t alpha = p.pixels[i * stride + stride - 1];
        opaque = opaque && alpha == 255;
        mask.values()[i] = static_cast<float>(polarity == mask_polarity::keep ? alpha : 255 - alpha) / 255.0F;
    }
    if (opaque) {
        throw format_error("is opaque everywhere, so nothing of it is transparent");
    }
    return mask;
}

REPAINT_INLINE host_tensor colour_mask(const picture& p, const std::array<std::uint8_t, 3>& colour, int tolerance) {
    detail::check_picture(p, "colour_mask");
    host_tensor mask({1, 1, p.height, p.width});
    bool found = false;
    for (std::size_t i = 0; i < detail::pixel_count(p); ++i) {
        bool alike = true;
        for (int c = 0; c < 3; ++c) {
            alike = alike && std::abs(detail::colour(p, i, c, 3) - colour[static_cast<std::size_t>(c)]) <= tolerance;
        }
        found = found || alike;
        mask.values()[i] = alike ? 0.0F : 1.0F;
    }
    if (!found) {
        throw format_error("has that colour nowhere: give --tolerance, if it was saved with losses");
    }
    return mask;
}

REPAINT_INLINE host_tensor nan_mask(const host_tensor& image) {
    const shape4& s = image.shape();
    host_tensor mask({1, 1, s.h, s.w});
    const std::size_t plane = s.plane();
    for (std::size_t i = 0; i < plane; ++i) {
        bool known = true;
        for (std::size_t at = i; at < image.size(); at += plane) {
            known = known && !std::isnan(image.values()[at]);
        }
        mask.values()[i] = known ? 1.0F : 0.0F;
    }
    return mask;
}

} // namespace repaint
