#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include <repaint/core/host_tensor.hpp>

namespace repaint {

/// The masks of the RePaint paper (section 5.2) and a box. The list says which pixels are known:
///   wide, narrow    all but random strokes, thick (and boxes) or thin: the settings random_thick_256 and
///                   random_thin_256 of LaMa (Suvorov et al. 2022), in proportion to the shorter side; at most half of
///                   a picture is missing, unless it is so small that every stroke covers more
///   half            the left half, columns below width / 2
///   expand          the central quarter of the width and height, 64 x 64 of 256 x 256
///   lines           every second row, the odd ones counted from 0
///   super_resolve   every second pixel of every second row, both odd
///   box             all but one random box with sides of 1/4 to 1/2 of the picture's, 1/16 or more from its border
enum class mask_kind { wide, narrow, half, expand, lines, super_resolve, box };

/// "wide", "narrow", "half", "expand", "lines", "super-resolve", "box". Throws std::invalid_argument for a value that
/// is no mask kind.
std::string to_string(mask_kind kind);

/// The mask kind whose to_string is `name`. Throws std::invalid_argument, which lists the names, when there is none.
mask_kind parse_mask_kind(std::string_view name);

/// A keep mask (1, 1, height, width), 1 = known and 0 = to be filled. wide, narrow and box are drawn from the seed,
/// with equal pixels on every platform. Throws std::invalid_argument for sides outside 1 to 65535 or more than 2^28
/// pixels.
host_tensor make_mask(mask_kind kind, int width, int height, std::uint64_t seed = 0);

} // namespace repaint

#ifndef REPAINT_COMPILED
#include <repaint/image/mask.ipp>
#endif
