#pragma once

#include <cstddef>
#include <span>
#include <vector>

namespace repaint {

namespace detail {

/// The orientation (1 to 8) in an EXIF block that starts with its TIFF header (TIFF 6.0, tag 274). 1 when there is no
/// orientation or the block is malformed, because a picture is worth more than its label.
int exif_orientation(std::span<const std::byte> tiff);

/// The same block, saying that the picture is upright.
std::vector<std::byte> upright_exif(std::span<const std::byte> tiff);

} // namespace detail

} // namespace repaint

#ifndef REPAINT_COMPILED
#include <repaint/image/exif.ipp>
#endif
