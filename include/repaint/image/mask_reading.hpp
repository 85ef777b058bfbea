#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include <repaint/core/host_tensor.hpp>
#include <repaint/image/picture.hpp>

/// How people's pictures and arrays say what is known. keep_mask (picture.hpp) reads bytes as they are; here a mask that
/// means something else than its bytes is understood, with a note, or refused.
namespace repaint {

/// A mask as it was understood.
struct understood_mask {
    host_tensor keep;               ///< (1, 1, h, w) of a picture, 1 = known and 0 = to be filled
    std::vector<std::string> notes; ///< what was assumed, a sentence each, to be put behind the file's name
};

/// Understands a picture as a mask. A colour counts as its brightest channel, and as its darkest one where the brightest
/// is the same everywhere: red on black and red on white both stand out. Two values only, whatever they are, are black
/// and white. Alpha is not looked at. weights: values between are meant, however many. Throws format_error for a picture with one colour that differs in alpha alone, with
/// one value that is neither black nor white, or with so many values far from both that it must be a photograph.
understood_mask understand_mask(const picture& p, mask_polarity polarity, bool weights = false);

/// Understands an array (n, c, h, w) as masks, n and c as they are. Two values only are 0 and 1; values up to 255 are
/// bytes. Throws format_error for other values outside [0, 1], for NaN, and for what must be a photograph.
understood_mask understand_mask(host_tensor values, mask_polarity polarity);

/// A keep mask (1, 1, h, w) from alpha: opaque is known, transparent is to be filled, or the other way round for paint.
/// Throws format_error when the picture has no alpha, or is opaque everywhere.
host_tensor alpha_mask(const picture& p, mask_polarity polarity = mask_polarity::keep);

/// A keep mask (1, 1, h, w) that is 0 where the picture has a colour, up to `tolerance` in each channel of 0 to 255.
/// Throws format_error when the colour is nowhere.
host_tensor colour_mask(const picture& p, const std::array<std::uint8_t, 3>& colour, int tolerance = 0);

/// A keep mask (1, 1, h, w) that is 0 where any channel of an image (1, c, h, w) is NaN.
host_tensor nan_mask(const host_tensor& image);

} // namespace repaint

#ifndef REPAINT_COMPILED
#include <repaint/image/mask_reading.ipp>
#endif
