#pragma once

#include <filesystem>
#include <functional>
#include <vector>

#include <repaint/evaluation/lpips.hpp>

#include "engine.hpp"

namespace cli {

[[nodiscard]] std::unique_ptr<engine> make_cpu_engine(const source_opener& open, const engine_options& options);

/// What LPIPS sees in images (n, 3, h, w), computed on this backend with the weights of these files.
using perceptual_features = std::function<repaint::lpips_features(const repaint::host_tensor& images)>;
[[nodiscard]] perceptual_features make_cpu_lpips(const std::vector<std::filesystem::path>& weights,
                                                 const engine_options& options);

} // namespace cli
