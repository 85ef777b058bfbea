#pragma once

#include <cstddef>
#include <string>

#include <repaint/core/host_tensor.hpp>
#include <repaint/core/shape.hpp>
#include <repaint/error.hpp>

/// What the measures of this folder have in common: which images can be compared, and how a hole weighs its pixels.
namespace repaint::detail {

/// Throws shape_error unless truth (1 or n, c, h, w) goes with images (n, c, h, w).
inline void check_comparable(const shape4& images, const shape4& truth, const char* measure) {
    if ((truth.n != 1 && truth.n != images.n) || truth.c != images.c || truth.h != images.h || truth.w != images.w ||
        images.size() == 0) {
        throw shape_error(std::string(measure) + ": images " + to_string(images) + " cannot be compared with " +
                          to_string(truth) + ", which must have the same size and be one or as many");
    }
}

/// Throws shape_error unless keep is (1 or n, 1 or c, h, w).
inline void check_hole(const shape4& images, const shape4& keep, const char* measure) {
    if ((keep.n != 1 && keep.n != images.n) || (keep.c != 1 && keep.c != images.c) || keep.h != images.h ||
        keep.w != images.w) {
        throw shape_error(std::string(measure) + ": keep mask " + to_string(keep) + " does not fit images " +
                          to_string(images));
    }
}

/// The plane of channel c of image i; a tensor of one image or one channel stands for all.
inline const float* plane_of(const host_tensor& t, int i, int c) {
    const shape4& s = t.shape();
    return t.image(s.n == 1 ? 0 : i).data() + (s.c == 1 ? 0 : static_cast<std::size_t>(c) * s.plane());
}

/// A sum in which every value counts as much as its pixel is missing, and its mean: NaN when nothing is missing.
struct weighted_mean {
    double sum = 0.0;
    double weight = 0.0;

    void add(double value, double by) {
        sum += by * value;
        weight += by;
    }
    [[nodiscard]] double value() const { return sum / weight; }
};

/// How much a pixel belongs to the hole; without a mask all do.
inline double hole_weight(const float* keep, std::size_t pixel) {
    return keep == nullptr ? 1.0 : 1.0 - static_cast<double>(keep[pixel]);
}

} // namespace repaint::detail
