#pragma once

#include <vector>

#include <repaint/core/host_tensor.hpp>

namespace repaint {

namespace detail {

std::vector<double> psnr(const host_tensor& images, const host_tensor& truth, const host_tensor* keep);

} // namespace detail

/// The peak signal-to-noise ratio of every image in dB: 10 log10(range^2 / mean squared error), over pixels and
/// channels. images: (n, c, h, w) in [-1, 1], truth: (1 or n, c, h, w). Infinite for equal images; otherwise what 8-bit
/// pictures with a range of 255 would give. Throws shape_error.
std::vector<double> psnr(const host_tensor& images, const host_tensor& truth);

/// The peak signal-to-noise ratio of every image in dB over the hole: every squared error counts 1 - keep. keep: 1 =
/// known, (1 or n, 1 or c, h, w). NaN when there is no hole. Throws shape_error.
std::vector<double> psnr(const host_tensor& images, const host_tensor& truth, const host_tensor& keep);

} // namespace repaint

#ifndef REPAINT_COMPILED
#include <repaint/evaluation/psnr.ipp>
#endif
