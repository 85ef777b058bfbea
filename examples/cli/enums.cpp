#include "enums.hpp"

#include <stdexcept>

namespace cli {

repaint::ssim_window parse_ssim_window(const std::string& text) {
    if (text == "skimage") {
        return repaint::ssim_window::uniform;
    }
    if (text == "gaussian") {
        return repaint::ssim_window::gaussian;
    }
    throw std::invalid_argument("there is no SSIM " + text);
}

} // namespace cli
