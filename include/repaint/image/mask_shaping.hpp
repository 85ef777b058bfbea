#pragma once

#include <cstdint>
#include <vector>

#include <repaint/core/host_tensor.hpp>

namespace repaint {

/// The squared distance of every pixel of a plane from the nearest one that is marked, in pixels, between their centres;
/// 0 where it is marked, INT64_MAX everywhere when none is. Exact, in linear time (Felzenszwalb and Huttenlocher 2012).
/// marked: height rows of width values. Throws shape_error when marked has another size.
std::vector<std::int64_t> squared_distances(const std::vector<bool>& marked, int width, int height);

/// A keep mask of 0 and 1: known where the mask is at least `threshold`, which is above 0 and at most 1. Throws
/// std::invalid_argument for another threshold.
host_tensor thresholded(host_tensor keep, float threshold);

/// A keep mask whose hole has grown by a round brush: what lies within `pixels` of a pixel that is not wholly known is
/// to be filled. keep: (n, c, h, w), every plane by itself. Throws std::invalid_argument when pixels is negative.
host_tensor grown(host_tensor keep, double pixels);

/// A keep mask whose hole fades out: outside of it, the mask rises from 0 to 1 over `pixels`, as half a cosine. What is
/// blended so is not the known picture any more. keep: (n, c, h, w), every plane by itself; soft values of its own stay
/// where they are lower. Throws std::invalid_argument when pixels is negative.
host_tensor feathered(host_tensor keep, double pixels);

} // namespace repaint

#ifndef REPAINT_COMPILED
#include <repaint/image/mask_shaping.ipp>
#endif
