#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include <repaint/core/host_tensor.hpp>
#include <repaint/image/metadata.hpp>

namespace repaint {

/// The largest width and height of a picture, in pixels.
inline constexpr int max_picture_side = 65535;

/// The largest width * height of a picture.
inline constexpr std::size_t max_picture_pixels = std::size_t{1} << 28;

/// Pixels of 8 bits, and of 16 where a file has them, in the order of files: rows from the top, pixels from the left, the channels of a pixel together (HWC).
/// channels: 1 grey, 2 grey and alpha, 3 RGB, 4 RGB and alpha. Colours are not multiplied by alpha.
struct picture {
    int width = 0;
    int height = 0;
    int channels = 0;
    std::vector<std::uint8_t> pixels;
    /// The same samples in 16 bits, where the file has more than eight; else empty.
    std::vector<std::uint16_t> deep = {};
    /// What the file said beside the pixels; null for a picture that was made.
    std::shared_ptr<const picture_metadata> metadata = {};

    /// Equal pixels, in all their bits. What files say beside them is not compared.
    friend bool operator==(const picture& a, const picture& b) {
        return a.width == b.width && a.height == b.height && a.channels == b.channels && a.pixels == b.pixels &&
               a.deep == b.deep;
    }
};

/// The meaning of white in a mask file. keep: white is known. paint: white is to be filled.
enum class mask_polarity { keep, paint };

/// How a value of [-1, 1] becomes a byte. nearest: every byte that to_tensor read comes back. truncated: as the
/// official RePaint program writes, where bytes 1 to 63 come back one lower.
enum class pixel_rounding { nearest, truncated };

/// The picture as an image tensor: (1, channels, height, width) in [-1, 1], byte / 127.5 - 1 in float32, of 16 bits
/// value / 32767.5 - 1.
/// channels: 3 (grey is replicated) or 1 (RGB becomes Rec. 601 luma, rounded to a byte). Alpha is dropped.
/// Throws shape_error for an inconsistent picture, std::invalid_argument for other channels.
host_tensor to_tensor(const picture& p, int channels = 3);

/// A mask picture as a keep mask (1 = known, 0 = to be filled): byte / 255, or 1 - byte / 255 for paint, so soft values
/// stay soft. Returns (1, 1, h, w) for grey and for RGB whose channels agree, (1, 3, h, w) when they differ. Alpha is
/// ignored. Throws format_error for a mask that differs in alpha alone, because its polarity is unknown, and
/// shape_error for an inconsistent picture.
host_tensor keep_mask(const picture& p, mask_polarity polarity);

/// Image `image_index` of (n, 1 or 3, h, w) in [-1, 1] as a grey or RGB picture: (x + 1) * 127.5, rounded and clamped;
/// NaN becomes 0. Throws shape_error for other shapes.
picture to_picture(const host_tensor& images, int image_index = 0, pixel_rounding rounding = pixel_rounding::nearest);

/// The output picture of an inpainting: where keep is 1, the bytes of `original`; elsewhere image `image_index` of
/// `filled` (n, 3 or 1, h, w), rounded to nearest, in 16 bits where the original has them. What the original's file said
/// beside the pixels is kept. A soft keep is taken as already blended into `filled`.
/// keep (1 = known): (1 or n, 1 or c, h, w). A grey original stays grey: a fill of three channels becomes luma. A fill of
/// one channel makes an RGB original grey. Alpha of the original is kept where everything is known; what was filled is
/// opaque, unless keep_alpha says to keep alpha everywhere. Throws shape_error.
picture compose_picture(const picture& original, const host_tensor& filled, int image_index, const host_tensor& keep,
                        bool keep_alpha = false);

/// The picture without alpha, as it looks on white. Throws shape_error for an inconsistent picture.
picture over_white(const picture& p);

/// The picture turned and mirrored upright, given its EXIF orientation 1 to 8 (TIFF 6.0, tag 274).
/// Throws shape_error for an inconsistent picture, std::invalid_argument for another orientation.
picture oriented(const picture& p, int orientation);

/// The layout of a contact_sheet.
struct contact_sheet_options {
    int scale = 1;                                            ///< a pixel becomes scale x scale pixels; 1 or more
    int gap = 4;                                              ///< between and around the cells, in pixels of the sheet
    std::array<std::uint8_t, 3> background = {255, 255, 255}; ///< RGB
};

/// An RGB picture of rows of pictures. Every cell is as wide as the widest and as tall as the tallest picture, and a
/// smaller picture stands in the middle of its cell. Alpha is shown over white, a default-constructed picture leaves
/// its cell empty, and short rows end early. Throws std::invalid_argument for impossible options or no picture,
/// shape_error beyond the picture limits.
picture contact_sheet(const std::vector<std::vector<picture>>& rows, const contact_sheet_options& options = {});

} // namespace repaint

#ifndef REPAINT_COMPILED
#include <repaint/image/picture.ipp>
#endif
