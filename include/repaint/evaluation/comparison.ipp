#pragma once

#include <cstddef>
#include <string>

#include <repaint/config.hpp>
#include <repaint/core/host_tensor.hpp>
#include <repaint/core/shape.hpp>
#include <repaint/core/text.hpp>
#include <repaint/error.hpp>
#include <repaint/evaluation/comparison.hpp>

namespace repaint {

namespace detail {

REPAINT_INLINE void check_comparable(const shape4& images, const shape4& truth, const char* measure) {
    if ((truth.n != 1 && truth.n != images.n) || truth.c != images.c || truth.h != images.h || truth.w != images.w ||
        images.size() == 0) {
        throw shape_error(
            joined_text({std::string(measure), ": images ", to_string(images), " cannot be compared with ",
                         to_string(truth), ", which must have the same size and be one or as many"}));
    }
}

REPAINT_INLINE void check_hole(const shape4& images, const shape4& keep, const char* measure) {
    if ((keep.n != 1 && keep.n != images.n) || (keep.c != 1 && keep.c != images.c) || keep.h != images.h ||
        keep.w != images.w) {
        throw shape_error(joined_text(
            {std::string(measure), ": keep mask ", to_string(keep), " does not fit images ", to_string(images)}));
    }
}

REPAINT_INLINE const float* plane_of(const host_tensor& t, int i, int c) {
    const shape4& s = t.shape();
    return t.image(s.n == 1 ? 0 : i).data() + (s.c == 1 ? 0 : static_cast<std::size_t>(c) * s.plane());
}

REPAINT_INLINE void weighted_mean::add(double value, double by) {
    sum += by * value;
    weight += by;
}

REPAINT_INLINE double hole_weight(const float* keep, std::size_t pixel) {
    return keep == nullptr ? 1.0 : 1.0 - static_cast<double>(keep[pixel]);
}

} // namespace detail

} // namespace repaint
