#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include <repaint/config.hpp>
#include <repaint/core/host_tensor.hpp>
#include <repaint/core/shape.hpp>
#include <repaint/core/text.hpp>
#include <repaint/error.hpp>
#include <repaint/image/picture.hpp>
#include <repaint/image/pixels.hpp>

namespace repaint {

namespace detail {

/// A value of [-1, 1] as a byte. Values outside are clamped, NaN is 0. float32 up to the rounding, as in the official
/// program.
inline std::uint8_t to_byte(float value, pixel_rounding rounding) {
    const float scaled = (value + 1.0F) * 127.5F;
    const float clamped = scaled > 0.0F ? (scaled < 255.0F ? scaled : 255.0F) : 0.0F;
    // In float64, so that the largest float32 below 0.5 is not carried over to 1.
    return static_cast<std::uint8_t>(static_cast<double>(clamped) + (rounding == pixel_rounding::nearest ? 0.5 : 0.0));
}

/// The same in 16 bits, rounded to nearest.
inline std::uint16_t to_word(float value) {
    const double scaled = (static_cast<double>(value) + 1.0) * 32767.5;
    const double clamped = scaled > 0.0 ? (scaled < 65535.0 ? scaled : 65535.0) : 0.0;
    return static_cast<std::uint16_t>(clamped + 0.5);
}

inline void check_image_of(const host_tensor& images, int image_index, const std::string& operation) {
    const shape4& s = images.shape();
    if (s.c != 1 && s.c != 3) {
        throw shape_error(
            joined_text({operation, ": images ", to_string(s), " have ", s.c, " channels; 1 and 3 make a picture"}));
    }
    if (image_index < 0 || image_index >= s.n) {
        throw shape_error(joined_text(
            {operation, ": image ", image_index, " of images ", to_string(s), ", which are numbered from 0"}));
    }
}

/// What a file said, but for the profile: that of RGB is none of grey.
inline std::shared_ptr<const picture_metadata> without_profile(const std::shared_ptr<const picture_metadata>& whole) {
    if (whole == nullptr) {
        return whole;
    }
    auto rest = std::make_shared<picture_metadata>(*whole);
    rest->icc.clear();
    std::erase_if(rest->pieces, [](const picture_metadata::piece& piece) {
        constexpr std::string_view jpeg_profile("ICC_PROFILE");
        const bool starts = piece.data.size() > jpeg_profile.size() &&
                            std::equal(jpeg_profile.begin(), jpeg_profile.end(), piece.data.begin(),
                                       [](char c, std::byte b) { return static_cast<std::byte>(c) == b; });
        return piece.type == "iCCP" || piece.type == "cHRM" || piece.type == "cICP" || starts;
    });
    return rest;
}

/// An RGB image as grey: (1, 1, h, w), Rec. 601 luma.
inline host_tensor luma(const host_tensor& images, int image_index) {
    const shape4& s = images.shape();
    const std::size_t plane = s.plane();
    const float* const rgb = images.image(image_index).data();
    host_tensor grey({1, 1, s.h, s.w});
    for (std::size_t i = 0; i < plane; ++i) {
        grey.values()[i] = 0.299F * rgb[i] + 0.587F * rgb[plane + i] + 0.114F * rgb[2 * plane + i];
    }
    return grey;
}

/// What is known in every channel of a mask: (1, 1, h, w).
inline host_tensor least_of_channels(const host_tensor& keep, int image_index) {
    const shape4& s = keep.shape();
    const std::size_t plane = s.plane();
    const float* const values = keep.image(s.n == 1 ? 0 : image_index).data();
    host_tensor least({1, 1, s.h, s.w});
    for (std::size_t i = 0; i < plane; ++i) {
        least.values()[i] = values[i];
        for (int c = 1; c < s.c; ++c) {
            least.values()[i] = std::min(least.values()[i], values[static_cast<std::size_t>(c) * plane + i]);
        }
    }
    return least;
}

} // namespace detail

REPAINT_INLINE host_tensor to_tensor(const picture& p, int channels) {
    detail::check_picture(p, "to_tensor");
    if (channels != 1 && channels != 3) {
        throw std::invalid_argument(joined_text({"to_tensor: channels must be 1 or 3, got ", channels}));
    }
    host_tensor image({1, channels, p.height, p.width});
    const std::size_t plane = image.shape().plane();
    for (int c = 0; c < channels; ++c) {
        float* values = image.data() + static_cast<std::size_t>(c) * plane;
        for (std::size_t i = 0; i < plane; ++i) {
            values[i] = p.deep.empty() ? static_cast<float>(detail::colour(p, i, c, channels)) / 127.5F - 1.0F
                                       : static_cast<float>(detail::deep_colour(p, i, c, channels)) / 32767.5F - 1.0F;
        }
    }
    return image;
}

REPAINT_INLINE host_tensor keep_mask(const picture& p, mask_polarity polarity) {
    detail::check_picture(p, "keep_mask");
    const std::size_t count = detail::pixel_count(p);
    const auto stride = static_cast<std::size_t>(p.channels);
    const auto colours = static_cast<std::size_t>(detail::colour_channels(p));
    bool agree = true;
    bool constant = true;
    bool opaque = true;
    for (std::size_t i = 0; i < count; ++i) {
        const std::uint8_t* pixel = p.pixels.data() + i * stride;
        agree = agree && pixel[0] == pixel[colours - 1] && pixel[0] == pixel[colours / 2];
        constant = constant && std::equal(pixel, pixel + colours, p.pixels.data());
        opaque = opaque && (!detail::has_alpha(p) || pixel[colours] == 255);
    }
    if (constant && !opaque) {
        throw format_error(
            joined_text({"keep_mask: the mask of ", detail::size_text(p.width, p.height),
                         " pixels has one colour and differs only in alpha; use a grey mask without alpha"}));
    }
    host_tensor mask({1, agree ? 1 : 3, p.height, p.width});
    float* values = mask.data();
    for (std::size_t c = 0; c < static_cast<std::size_t>(mask.shape().c); ++c) {
        for (std::size_t i = 0; i < count; ++i) {
            const int byte = p.pixels[i * stride + c];
            values[c * count + i] = static_cast<float>(polarity == mask_polarity::keep ? byte : 255 - byte) / 255.0F;
        }
    }
    return mask;
}

REPAINT_INLINE picture to_picture(const host_tensor& images, int image_index, pixel_rounding rounding) {
    detail::check_image_of(images, image_index, "to_picture");
    const shape4& s = images.shape();
    picture p = detail::blank_picture(s.w, s.h, s.c);
    const float* values = images.image(image_index).data();
    const std::size_t plane = s.plane();
    const auto channels = static_cast<std::size_t>(s.c);
    for (std::size_t c = 0; c < channels; ++c) {
        for (std::size_t i = 0; i < plane; ++i) {
            p.pixels[i * channels + c] = detail::to_byte(values[c * plane + i], rounding);
        }
    }
    return p;
}

REPAINT_INLINE picture compose_picture(const picture& original, const host_tensor& filled, int image_index,
                                       const host_tensor& keep, bool keep_alpha) {
    detail::check_picture(original, "compose_picture");
    detail::check_image_of(filled, image_index, "compose_picture");
    const shape4& s = filled.shape();
    const shape4& k = keep.shape();
    if (s.w != original.width || s.h != original.height) {
        throw shape_error(joined_text({"compose_picture: images ", to_string(s), " do not fit the original picture of ",
                                       detail::size_text(original.width, original.height), " pixels"}));
    }
    if ((k.n != 1 && k.n != s.n) || (k.c != 1 && k.c != s.c) || k.h != s.h || k.w != s.w) {
        throw shape_error(
            joined_text({"compose_picture: keep mask ", to_string(k), " does not fit images ", to_string(s)}));
    }
    const int alpha = detail::has_alpha(original) ? 1 : 0;
    if (s.c == 3 && detail::colour_channels(original) == 1) {
        return compose_picture(original, detail::luma(filled, image_index), 0,
                               detail::least_of_channels(keep, image_index), keep_alpha);
    }
    picture p = detail::blank_picture(s.w, s.h, s.c + alpha);
    p.metadata = detail::colour_channels(p) == detail::colour_channels(original)
                     ? original.metadata
                     : detail::without_profile(original.metadata);
    p.deep.resize(original.deep.empty() ? 0 : p.pixels.size());
    const std::size_t plane = s.plane();
    const auto stride = static_cast<std::size_t>(p.channels);
    const float* values = filled.image(image_index).data();
    const float* known = keep.image(k.n == 1 ? 0 : image_index).data();
    for (int c = 0; c < s.c; ++c) {
        const auto channel = static_cast<std::size_t>(c);
        const float* channel_known = known + (k.c == 1 ? 0 : channel * plane);
        for (std::size_t i = 0; i < plane; ++i) {
            const bool is_known = channel_known[i] == 1.0F;
            const float value = values[channel * plane + i];
            const std::size_t at = i * stride + channel;
            if (p.deep.empty()) {
                p.pixels[at] =
                    is_known ? detail::colour(original, i, c, s.c) : detail::to_byte(value, pixel_rounding::nearest);
            } else {
                p.deep[at] = is_known ? detail::deep_colour(original, i, c, s.c) : detail::to_word(value);
                p.pixels[at] = detail::to_8_bits(p.deep[at]);
            }
        }
    }
    if (alpha == 1) {
        const auto original_stride = static_cast<std::size_t>(original.channels);
        for (std::size_t i = 0; i < plane; ++i) {
            bool wholly_known = keep_alpha;
            if (!wholly_known) {
                wholly_known = true;
                for (int c = 0; c < k.c; ++c) {
                    wholly_known = wholly_known && known[static_cast<std::size_t>(c) * plane + i] == 1.0F;
                }
            }
            const std::size_t from = i * original_stride + original_stride - 1;
            const std::size_t at = i * stride + stride - 1;
            p.pixels[at] = wholly_known ? original.pixels[from] : std::uint8_t{255};
            if (!p.deep.empty()) {
                p.deep[at] = wholly_known ? original.deep[from] : std::uint16_t{65535};
            }
        }
    }
    return p;
}

REPAINT_INLINE picture over_white(const picture& p) {
    detail::check_picture(p, "over_white");
    if (!detail::has_alpha(p)) {
        return p;
    }
    picture flat = detail::blank_picture(p.width, p.height, p.channels - 1);
    const auto colours = static_cast<std::size_t>(flat.channels);
    for (std::size_t i = 0; i < detail::pixel_count(p); ++i) {
        const std::uint8_t* pixel = p.pixels.data() + i * (colours + 1);
        for (std::size_t c = 0; c < colours; ++c) {
            flat.pixels[i * colours + c] = detail::over_white(pixel[c], pixel[colours]);
        }
    }
    return flat;
}

REPAINT_INLINE picture oriented(const picture& p, int orientation) {
    detail::check_picture(p, "oriented");
    if (orientation < 1 || orientation > 8) {
        throw std::invalid_argument(joined_text({"oriented: the orientation must be 1 to 8, got ", orientation}));
    }
    if (orientation == 1) {
        return p;
    }
    const bool transposed = orientation >= 5;
    const bool from_bottom = orientation == 3 || orientation == 4 || orientation == 6 || orientation == 7;
    const bool from_right = orientation == 2 || orientation == 3 || orientation == 7 || orientation == 8;
    picture upright =
        detail::blank_picture(transposed ? p.height : p.width, transposed ? p.width : p.height, p.channels);
    const auto channels = static_cast<std::size_t>(p.channels);
    upright.metadata = p.metadata;
    upright.deep.resize(p.deep.size());
    std::uint8_t* out = upright.pixels.data();
    std::uint16_t* deep_out = upright.deep.data();
    for (int y = 0; y < upright.height; ++y) {
        for (int x = 0; x < upright.width; ++x) {
            const int row = transposed ? x : y;
            const int column = transposed ? y : x;
            const auto source_row = static_cast<std::size_t>(from_bottom ? p.height - 1 - row : row);
            const auto source_column = static_cast<std::size_t>(from_right ? p.width - 1 - column : column);
            const auto source = (source_row * static_cast<std::size_t>(p.width) + source_column) * channels;
            out = std::copy_n(p.pixels.data() + source, channels, out);
            if (!p.deep.empty()) {
                deep_out = std::copy_n(p.deep.data() + source, channels, deep_out);
            }
        }
    }
    return upright;
}

REPAINT_INLINE picture contact_sheet(const std::vector<std::vector<picture>>& rows,
                                     const contact_sheet_options& options) {
    if (options.scale < 1 || options.scale > max_picture_side || options.gap < 0 || options.gap > max_picture_side) {
        throw std::invalid_argument(joined_text(
            {"contact_sheet: scale must be 1 to 65535 and gap 0 to 65535, got ", options.scale, " and ", options.gap}));
    }
    const picture empty;
    std::size_t columns = 0;
    int widest = 0;
    int tallest = 0;
    for (const auto& row : rows) {
        columns = std::max(columns, row.size());
        for (const auto& p : row) {
            if (p != empty) {
                detail::check_picture(p, "contact_sheet");
                widest = std::max(widest, p.width);
                tallest = std::max(tallest, p.height);
            }
        }
    }
    if (widest == 0) {
        throw std::invalid_argument("contact_sheet: there is no picture to show");
    }
    const auto limit = static_cast<std::size_t>(max_picture_side);
    const auto scale = static_cast<std::size_t>(options.scale);
    const auto gap = static_cast<std::size_t>(options.gap);
    const std::size_t cell_width = static_cast<std::size_t>(widest) * scale;
    const std::size_t cell_height = static_cast<std::size_t>(tallest) * scale;
    const std::size_t width = columns > limit ? limit + 1 : columns * (cell_width + gap) + gap;
    const std::size_t height = rows.size() > limit ? limit + 1 : rows.size() * (cell_height + gap) + gap;
    if (width > limit || height > limit || width * height > max_picture_pixels) {
        throw shape_error(joined_text({"contact_sheet: ", rows.size(), " rows of ", columns, " pictures of ",
                                       detail::size_text(widest, tallest), " pixels, ", options.scale,
                                       " times larger, exceed a sheet of ", max_picture_side, " a side and ",
                                       max_picture_pixels, " pixels"}));
    }
    picture sheet = detail::blank_picture(static_cast<int>(width), static_cast<int>(height), 3);
    for (std::size_t i = 0; i < sheet.pixels.size(); ++i) {
        sheet.pixels[i] = options.background[i % 3];
    }
    for (std::size_t r = 0; r < rows.size(); ++r) {
        for (std::size_t c = 0; c < rows[r].size(); ++c) {
            if (rows[r][c] == empty) {
                continue;
            }
            const picture flat = over_white(rows[r][c]);
            const std::size_t shown_width = static_cast<std::size_t>(flat.width) * scale;
            const std::size_t shown_height = static_cast<std::size_t>(flat.height) * scale;
            const std::size_t left = gap + c * (cell_width + gap) + (cell_width - shown_width) / 2;
            const std::size_t top = gap + r * (cell_height + gap) + (cell_height - shown_height) / 2;
            for (std::size_t y = 0; y < shown_height; ++y) {
                std::uint8_t* out = sheet.pixels.data() + ((top + y) * width + left) * 3;
                const std::size_t row_start = y / scale * static_cast<std::size_t>(flat.width);
                for (std::size_t x = 0; x < shown_width; ++x) {
                    for (int channel = 0; channel < 3; ++channel) {
                        *out++ = detail::colour(flat, row_start + x / scale, channel, 3);
                    }
                }
            }
        }
    }
    return sheet;
}

} // namespace repaint
