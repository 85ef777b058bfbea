#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include <repaint/config.hpp>
#include <repaint/core/text.hpp>
#include <repaint/error.hpp>
#include <repaint/image/picture.hpp>
#include <repaint/image/pixels.hpp>

namespace repaint {

namespace detail {

REPAINT_INLINE std::string size_text(long long width, long long height) { return joined_text({width, " x ", height}); }

REPAINT_INLINE bool has_alpha(const picture& p) { return p.channels % 2 == 0; }

REPAINT_INLINE int colour_channels(const picture& p) { return p.channels >= 3 ? 3 : 1; }

REPAINT_INLINE std::size_t pixel_count(const picture& p) {
    return static_cast<std::size_t>(p.width) * static_cast<std::size_t>(p.height);
}

REPAINT_INLINE void check_picture(const picture& p, const std::string& operation) {
    if (p.width < 1 || p.height < 1 || p.width > max_picture_side || p.height > max_picture_side ||
        pixel_count(p) > max_picture_pixels) {
        throw shape_error(
            joined_text({operation, ": a picture of ", size_text(p.width, p.height), " pixels; sides are 1 to ",
                         max_picture_side, ", and at most ", max_picture_pixels, " pixels in all"}));
    }
    if (p.channels < 1 || p.channels > 4) {
        throw shape_error(joined_text({operation, ": a picture with ", p.channels,
                                       " channels; 1 grey, 2 grey and alpha, 3 RGB and 4 RGBA are accepted"}));
    }
    const std::size_t expected = pixel_count(p) * static_cast<std::size_t>(p.channels);
    if (p.pixels.size() != expected) {
        throw shape_error(joined_text({operation, ": a picture of ", size_text(p.width, p.height), " pixels with ",
                                       p.channels, " channels needs ", expected, " bytes, got ", p.pixels.size()}));
    }
    if (!p.deep.empty() && p.deep.size() != expected) {
        throw shape_error(joined_text({operation, ": a picture of ", expected, " samples has ", p.deep.size(),
                                       " in 16 bits, all or none are expected"}));
    }
}

REPAINT_INLINE picture blank_picture(int width, int height, int channels, std::uint8_t value) {
    picture p{width, height, channels, {}};
    p.pixels.assign(pixel_count(p) * static_cast<std::size_t>(channels), value);
    return p;
}

REPAINT_INLINE std::uint8_t luma(const std::uint8_t* rgb) {
    return static_cast<std::uint8_t>((19595U * rgb[0] + 38470U * rgb[1] + 7471U * rgb[2] + 32768U) >> 16U);
}

REPAINT_INLINE std::uint8_t colour(const picture& p, std::size_t i, int c, int wanted) {
    const std::uint8_t* pixel = p.pixels.data() + i * static_cast<std::size_t>(p.channels);
    if (colour_channels(p) == 1) {
        return pixel[0];
    }
    return wanted == 1 ? luma(pixel) : pixel[c];
}

REPAINT_INLINE std::uint16_t deep_colour(const picture& p, std::size_t i, int c, int wanted) {
    const std::uint16_t* pixel = p.deep.data() + i * static_cast<std::size_t>(p.channels);
    if (colour_channels(p) == 1) {
        return pixel[0];
    }
    return wanted == 1 ? static_cast<std::uint16_t>((19595U * static_cast<std::uint64_t>(pixel[0]) +
                                                     38470U * static_cast<std::uint64_t>(pixel[1]) +
                                                     7471U * static_cast<std::uint64_t>(pixel[2]) + 32768U) >>
                                                    16U)
                       : pixel[c];
}

REPAINT_INLINE std::uint8_t over_white(std::uint8_t value, std::uint8_t alpha) {
    return static_cast<std::uint8_t>((value * alpha + 255 * (255 - alpha) + 127) / 255);
}

} // namespace detail

} // namespace repaint
