#pragma once

#include <string>

#include <repaint/diffusion/step.hpp>
#include <repaint/evaluation/ssim.hpp>
#include <repaint/run_plan.hpp>

/// The library's enums as the program writes and reads them. parse_X throws std::invalid_argument for any other text.
namespace cli {

/// "official", "diffusers", "monai".
[[nodiscard]] repaint::algorithm parse_algorithm(const std::string& text);

/// "skimage", "gaussian".
[[nodiscard]] repaint::ssim_window parse_ssim_window(const std::string& text);

/// "epsilon", "x_0", ...
[[nodiscard]] std::string to_string(repaint::prediction_type type);

/// "learned_range", "fixed_small", ...
[[nodiscard]] std::string to_string(repaint::variance_type type);

} // namespace cli
