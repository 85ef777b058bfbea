#pragma once

#include <cstddef>

#include <repaint/core/host_tensor.hpp>
#include <repaint/core/shape.hpp>

/// What the measures of this folder have in common: which images can be compared, and how a hole weighs its pixels.
namespace repaint {

namespace detail {

/// Throws shape_error, naming the measure, unless images are (n, c, h, w) and truth is (1 or n, c, h, w).
void check_comparable(const shape4& images, const shape4& truth, const char* measure);

/// Throws shape_error, naming the measure, unless images are (n, c, h, w) and keep is (1 or n, 1 or c, h, w).
void check_hole(const shape4& images, const shape4& keep, const char* measure);

/// The plane of channel c of image i. A tensor of one image has it for every i, one of one channel for every c.
const float* plane_of(const host_tensor& t, int i, int c);

/// A mean in which every value has a weight, such as how much its pixel is missing. NaN when all weights are 0.
struct weighted_mean {
    double sum = 0.0;
    double weight = 0.0;

    void add(double value, double by);
    [[nodiscard]] double value() const { return sum / weight; }
};

/// How much a pixel belongs to the hole, 1 - keep. keep: the plane of a mask; null: every pixel belongs to it.
double hole_weight(const float* keep, std::size_t pixel);

} // namespace detail

} // namespace repaint

#ifndef REPAINT_COMPILED
#include <repaint/evaluation/comparison.ipp>
#endif
