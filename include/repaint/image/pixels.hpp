#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

// picture.hpp ends with definitions that need this header, so it is not included here.

/// How the functions of this folder look at the pixels of a picture.
namespace repaint {

struct picture;

namespace detail {

/// "640 x 480"
std::string size_text(long long width, long long height);

/// True when the last channel is alpha.
bool has_alpha(const picture& p);

/// Channels without alpha: 1 or 3.
int colour_channels(const picture& p);

/// width * height
std::size_t pixel_count(const picture& p);

/// Throws shape_error, naming the operation, unless width, height and channels are those of a picture and there are as
/// many bytes as they say.
void check_picture(const picture& p, const std::string& operation);

/// A picture of that many pixels, every byte of it `value`. The caller has checked the extents.
picture blank_picture(int width, int height, int channels, std::uint8_t value = 0);

/// Rec. 601 luma in 16-bit fixed point, rounded as PIL does for its mode "L".
std::uint8_t luma(const std::uint8_t* rgb);

/// The 8 bits of a 16-bit sample, rounded to nearest.
constexpr std::uint8_t to_8_bits(std::uint16_t value) {
    return static_cast<std::uint8_t>((value * 255U + 32895U) >> 16U);
}

/// Channel c of pixel i, as `colour`, in 16 bits.
std::uint16_t deep_colour(const picture& p, std::size_t i, int c, int wanted);

/// Channel c of pixel i for a tensor with `wanted` channels (1 or 3): grey is replicated, RGB is reduced to luma.
std::uint8_t colour(const picture& p, std::size_t i, int c, int wanted);

/// A colour value with that alpha, as it looks on white.
std::uint8_t over_white(std::uint8_t value, std::uint8_t alpha);

} // namespace detail

} // namespace repaint

#ifndef REPAINT_COMPILED
#include <repaint/image/pixels.ipp>
#endif
