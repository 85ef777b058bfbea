#pragma once

#include <repaint/image/picture.hpp>

namespace repaint {

/// The square RGB picture of size x size pixels that guided-diffusion and the official RePaint program make of a
/// picture or a mask of any size, byte for byte as with PIL: halved with a box filter while its shorter side is at
/// least twice the size, resized bicubically until that side is the size, and the middle cut out. Grey is replicated,
/// alpha is dropped. The edges of a mask that is not of that size become soft. Throws shape_error for an inconsistent
/// picture, std::invalid_argument for a size outside 1 to 16384.
picture official_crop(const picture& p, int size);

/// The picture at another size, in RGB and without alpha, resampled with PIL's box filter. width, height: pixels, 1 or
/// more. Throws shape_error for an inconsistent picture.
picture box_resized(const picture& p, int width, int height);

} // namespace repaint

#ifndef REPAINT_COMPILED
#include <repaint/image/official_crop.ipp>
#endif
