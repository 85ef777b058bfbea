#pragma once

#include <vector>

#include <repaint/core/host_tensor.hpp>

namespace repaint {

/// The window of SSIM's local statistics. uniform: 7x7 pixels of equal weight and the sample covariance, the default of
/// scikit-image's structural_similarity. gaussian: 11x11 pixels, sigma 1.5, the setting of Wang et
/// al. 2004 (gaussian_weights=True, sigma=1.5, use_sample_covariance=False).
enum class ssim_window { uniform, gaussian };

namespace detail {

std::vector<double> ssim(const host_tensor& images, const host_tensor& truth, const host_tensor* keep,
                         ssim_window window);

} // namespace detail

/// The structural similarity of every image (Wang, Bovik, Sheikh and Simoncelli 2004), K1 = 0.01, K2 = 0.03: the mean
/// over the windows that lie inside the picture, averaged over the channels. images: (n, c, h, w) in [-1, 1], truth: (1
/// or n, c, h, w). scikit-image gives this number for the 8-bit levels (x + 1) * 127.5 with data_range=255. Throws
/// shape_error for shapes that do not fit and for images smaller than the window.
std::vector<double> ssim(const host_tensor& images, const host_tensor& truth,
                         ssim_window window = ssim_window::uniform);

/// The structural similarity of every image over the hole: a window counts 1 - keep of its centre. keep: 1 = known, (1
/// or n, 1 or c, h, w). NaN when no window has its centre in the hole. Throws shape_error.
std::vector<double> ssim(const host_tensor& images, const host_tensor& truth, const host_tensor& keep,
                         ssim_window window = ssim_window::uniform);

} // namespace repaint

#ifndef REPAINT_COMPILED
#include <repaint/evaluation/ssim.ipp>
#endif
