#pragma once

#include <string>
#include <vector>

#include <repaint/core/host_tensor.hpp>

#include "engine_cpu.hpp"

namespace ablation {

/// What is measured of a fill, the first of all in the figures. perceptual: LPIPS, too.
[[nodiscard]] std::vector<std::string> measure_names(bool perceptual);

/// The measures of images (n, c, h, w), each image's in the order of measure_names. features: empty without LPIPS.
[[nodiscard]] std::vector<std::vector<double>> measured(const repaint::host_tensor& images,
                                                        const repaint::host_tensor& truth,
                                                        const repaint::host_tensor& keep,
                                                        const cli::perceptual_features& features);

} // namespace ablation
