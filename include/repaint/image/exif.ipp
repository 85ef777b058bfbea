#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include <repaint/config.hpp>
#include <repaint/image/exif.hpp>
#include <repaint/io/bytes.hpp>

namespace repaint {

namespace detail {

/// Where the value of the orientation stands, and how it is written; no place when there is none that is valid.
struct orientation_place {
    std::size_t at = 0;
    bool big_endian = false;
};

REPAINT_COLD orientation_place find_orientation(std::span<const std::byte> tiff) {
    if (tiff.size() < 8) {
        return {};
    }
    const bool big_endian = byte_at(tiff, 0) == 'M';
    if (byte_at(tiff, 0) != byte_at(tiff, 1) || (!big_endian && byte_at(tiff, 0) != 'I') ||
        number_at(tiff, 2, 2, big_endian) != 42) {
        return {};
    }
    const std::size_t directory = number_at(tiff, 4, 4, big_endian);
    if (directory > tiff.size() - 2) {
        return {};
    }
    const std::size_t entries = number_at(tiff, directory, 2, big_endian);
    for (std::size_t i = 0; i < entries; ++i) {
        const std::size_t entry = directory + 2 + 12 * i;
        if (entry + 12 > tiff.size()) {
            return {};
        }
        constexpr std::uint32_t orientation_tag = 274;
        constexpr std::uint32_t short_type = 3;
        if (number_at(tiff, entry, 2, big_endian) == orientation_tag) {
            const std::uint32_t value = number_at(tiff, entry + 8, 2, big_endian);
            const bool valid = number_at(tiff, entry + 2, 2, big_endian) == short_type && value >= 1 && value <= 8;
            return {valid ? entry + 8 : 0, big_endian};
        }
    }
    return {};
}

REPAINT_COLD int exif_orientation(std::span<const std::byte> tiff) {
    const auto place = find_orientation(tiff);
    return place.at == 0 ? 1 : static_cast<int>(number_at(tiff, place.at, 2, place.big_endian));
}

REPAINT_COLD std::vector<std::byte> upright_exif(std::span<const std::byte> tiff) {
    std::vector<std::byte> block(tiff.begin(), tiff.end());
    if (const auto place = find_orientation(tiff); place.at != 0) {
        block[place.at] = std::byte{static_cast<unsigned char>(place.big_endian ? 0 : 1)};
        block[place.at + 1] = std::byte{static_cast<unsigned char>(place.big_endian ? 1 : 0)};
    }
    return block;
}

} // namespace detail

} // namespace repaint
