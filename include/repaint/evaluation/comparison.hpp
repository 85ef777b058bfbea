#pragma once

#include <cstddef>

#include <repaint/core/host_tensor.hpp>
#include <repaint/core/shape.hpp>

/// What the measures of this folder have in common: which images can be compared, and how a hole weighs its pixels.
namespace repaint {

namespace detail {

/// Throws shape_error unless truth (1 or n, c, h, w) goes with images (n, c, h, w).
void check_comparable(const shape4& images, const shape4& truth, const char* measure);

/// Throws shape_error unless keep is (1 or n, 1 or c, h, w).
void check_hole(const shape4& images, const shape4& keep, const char* measure);

/// The plane of channel c of image i; a tensor of one image or one channel stands for all.
const float* plane_of(const host_tensor& t, int i, int c);

/// A sum in which every value counts as much as its pixel is missing, and its mean: NaN when nothing is missing.
struct weighted_mean {
    double sum = 0.0;
    double weight = 0.0;

    void add(double value, double by);
    [[nodiscard]] double value() const { return sum / weight; }
};

/// How much a pixel belongs to the hole; without a mask all do.
double hole_weight(const float* keep, std::size_t pixel);

} // namespace detail

} // namespace repaint

#ifndef REPAINT_COMPILED
#include <repaint/evaluation/comparison.ipp>
#endif
