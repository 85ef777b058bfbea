#pragma once

#include <string>

#include <repaint/evaluation/ssim.hpp>

/// The library's enums as the program writes and reads them. parse_X throws std::invalid_argument for any other text.
namespace cli {

/// "skimage", "gaussian".
[[nodiscard]] repaint::ssim_window parse_ssim_window(const std::string& text);

} // namespace cli
