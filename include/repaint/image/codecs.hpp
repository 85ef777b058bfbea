#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <repaint/image/picture.hpp>

// Reading and writing needs libpng and TurboJPEG: link repaint::image. repaint.hpp does not include this header.

namespace repaint {

/// A picture from the bytes of a PNG or JPEG file, upright: the EXIF orientation is applied. `name` is what messages
/// call the file. Palettes and 1, 2 and 4 bits become 8 bits, 16 bits are there in both depths, a transparent colour
/// becomes alpha, grey stays grey, CMYK becomes RGB as Adobe's convention has it; no gamma or profile is applied. What
/// the file says beside the pixels is in the metadata. Throws format_error for other formats, damaged and incomplete
/// files, sides above max_picture_side and more than max_pixels pixels (before memory for them is allocated).
picture decode_picture(std::span<const std::byte> bytes, std::string_view name,
                       std::size_t max_pixels = max_picture_pixels);

/// The bytes of a PNG file with exactly these pixels, in 16 bits where there are any, and with what the picture's file
/// said beside them: profile, gamma, EXIF, XMP, texts, resolution. Throws shape_error for an inconsistent picture.
std::vector<std::uint8_t> encode_png(const picture& p);

/// The bytes of a JPEG file; alpha is shown over white. quality: 1 to 100, without chroma subsampling; 0: as the JPEG file
/// that the picture was read from, or 95. Throws shape_error for an inconsistent picture and for sides above 65500
/// pixels, the most that libjpeg writes.
std::vector<std::uint8_t> encode_jpeg(const picture& p, int quality = 0);

/// Reads a PNG or JPEG file as decode_picture does; the content tells the format. Throws format_error, which names the
/// path.
picture read_picture(const std::string& path);

/// Writes a file whose extension, in any case, tells its format: .png as encode_png, .jpg and .jpeg as encode_jpeg. The
/// file appears complete or not at all. quality: of a JPEG, as of encode_jpeg. Throws std::invalid_argument for another
/// extension, shape_error for a picture that the format cannot hold, error when the system refuses.
void write_picture(const std::string& path, const picture& p, int quality = 0);

} // namespace repaint

#ifndef REPAINT_COMPILED
#include <repaint/image/codecs.ipp>
#endif
