#pragma once

#include <cstddef>
#include <span>
#include <string>

#include <repaint/image/picture.hpp>

namespace repaint {

namespace detail {

/// The picture in the bytes of a PNG file, upright. name is what messages call the file. Throws format_error, see
/// decode_picture.
picture decode_png(std::span<const std::byte> file, const std::string& name, std::size_t max_pixels);

} // namespace detail

} // namespace repaint

#ifndef REPAINT_COMPILED
#include <repaint/image/png.ipp>
#endif
