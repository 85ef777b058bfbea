#include "enums.hpp"

#include <stdexcept>

namespace cli {

repaint::algorithm parse_algorithm(const std::string& text) {
    using repaint::algorithm;
    for (const auto each : {algorithm::official, algorithm::diffusers, algorithm::monai}) {
        if (text == repaint::algorithm_name(each)) {
            return each;
        }
    }
    throw std::invalid_argument("there is no algorithm " + text);
}

repaint::ssim_window parse_ssim_window(const std::string& text) {
    if (text == "skimage") {
        return repaint::ssim_window::uniform;
    }
    if (text == "gaussian") {
        return repaint::ssim_window::gaussian;
    }
    throw std::invalid_argument("there is no SSIM " + text);
}

std::string to_string(repaint::prediction_type type) {
    switch (type) {
    case repaint::prediction_type::epsilon: return "epsilon";
    case repaint::prediction_type::x_0: return "x_0";
    case repaint::prediction_type::previous_x: return "previous_x";
    case repaint::prediction_type::velocity: return "velocity";
    }
    return "";
}

std::string to_string(repaint::variance_type type) {
    switch (type) {
    case repaint::variance_type::learned_range: return "learned_range";
    case repaint::variance_type::learned: return "learned";
    case repaint::variance_type::learned_range_linear: return "learned_range_linear";
    case repaint::variance_type::learned_linear: return "learned_linear";
    case repaint::variance_type::fixed_small: return "fixed_small";
    case repaint::variance_type::fixed_large: return "fixed_large";
    }
    return "";
}

} // namespace cli
