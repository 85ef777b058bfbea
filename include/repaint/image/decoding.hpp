#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>

#include <repaint/image/picture.hpp>

/// What the decoders of all formats share.
namespace repaint {

namespace detail {

/// What a decoder's walk over the chunks or segments of a file finds before a library sees the file.
struct picture_outline {
    bool complete = false;           ///< the end mark of the format was reached
    std::span<const std::byte> exif; ///< from its TIFF header on; empty when there is none
};

/// The end of the sentence about a file whose end mark is missing.
inline constexpr std::string_view cut_off = "is cut off: its end is missing";

/// Throws format_error when the extents that a file claims are beyond the limits, before anything is allocated for
/// them.
void check_extents(const std::string& name, long long width, long long height, std::size_t max_pixels);

/// Throws format_error when the file is shorter than the least bytes that its extents need, so that a few bytes cannot
/// ask for gigabytes.
void check_density(const std::string& name, int width, int height, std::size_t bytes, std::size_t least_bytes);

/// The picture turned upright, as the EXIF block of its file says.
picture upright(picture p, std::span<const std::byte> exif);

} // namespace detail

} // namespace repaint

#ifndef REPAINT_COMPILED
#include <repaint/image/decoding.ipp>
#endif
