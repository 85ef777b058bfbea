#pragma once

#include <cstddef>
#include <span>
#include <string>

#include <repaint/config.hpp>
#include <repaint/core/text.hpp>
#include <repaint/image/decoding.hpp>
#include <repaint/image/exif.hpp>
#include <repaint/image/pixels.hpp>
#include <repaint/io/bytes.hpp>

namespace repaint {

namespace detail {

REPAINT_COLD void check_extents(const std::string& name, long long width, long long height, std::size_t max_pixels) {
    if (width < 1 || height < 1 || width > max_picture_side || height > max_picture_side ||
        static_cast<std::size_t>(width) * static_cast<std::size_t>(height) > max_pixels) {
        refuse(name, joined_text({"claims ", size_text(width, height), " pixels; sides are 1 to ", max_picture_side,
                                  ", and at most ", max_pixels, " pixels in all"}));
    }
}

REPAINT_COLD void check_density(const std::string& name, int width, int height, std::size_t bytes,
                                std::size_t least_bytes) {
    if (bytes < least_bytes) {
        refuse(name, joined_text({"is cut off or damaged: ", bytes, " bytes cannot hold ", size_text(width, height),
                                  " pixels"}));
    }
}

REPAINT_COLD picture upright(picture p, std::span<const std::byte> exif) {
    const int orientation = exif_orientation(exif);
    if (orientation == 1) {
        return p;
    }
    return oriented(p, orientation);
}

} // namespace detail

} // namespace repaint
