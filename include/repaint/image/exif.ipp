#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include <repaint/config.hpp>
#include <repaint/image/exif.hpp>
#include <repaint/io/bytes.hpp>

namespace repaint {

namespace detail {

REPAINT_COLD int exif_orientation(std::span<const std::byte> tiff) {
    if (tiff.size() < 8) {
        return 1;
    }
    const bool big_endian = byte_at(tiff, 0) == 'M';
    if (byte_at(tiff, 0) != byte_at(tiff, 1) || (!big_endian && byte_at(tiff, 0) != 'I') ||
        number_at(tiff, 2, 2, big_endian) != 42) {
        return 1;
    }
    const std::size_t directory = number_at(tiff, 4, 4, big_endian);
    if (directory > tiff.size() - 2) {
        return 1;
    }
    const std::size_t entries = number_at(tiff, directory, 2, big_endian);
    for (std::size_t i = 0; i < entries; ++i) {
        const std::size_t entry = directory + 2 + 12 * i;
        if (entry + 12 > tiff.size()) {
            return 1;
        }
        constexpr std::uint32_t orientation_tag = 274;
        constexpr std::uint32_t short_type = 3;
        if (number_at(tiff, entry, 2, big_endian) == orientation_tag) {
            const std::uint32_t value = number_at(tiff, entry + 8, 2, big_endian);
            return number_at(tiff, entry + 2, 2, big_endian) == short_type && value >= 1 && value <= 8
                       ? static_cast<int>(value)
                       : 1;
        }
    }
    return 1;
}

} // namespace detail

} // namespace repaint
