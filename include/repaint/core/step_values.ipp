#pragma once

#include <string>

#include <repaint/config.hpp>
#include <repaint/core/step_values.hpp>

namespace repaint {

REPAINT_COLD std::string to_string(prediction_type prediction) {
    switch (prediction) {
    case prediction_type::epsilon: return "epsilon";
    case prediction_type::x_0: return "x_0";
    case prediction_type::previous_x: return "previous_x";
    case prediction_type::velocity: return "velocity";
    }
    return "";
}

REPAINT_COLD std::string to_string(variance_type variance) {
    switch (variance) {
    case variance_type::learned_range: return "learned_range";
    case variance_type::learned: return "learned";
    case variance_type::learned_range_linear: return "learned_range_linear";
    case variance_type::learned_linear: return "learned_linear";
    case variance_type::fixed_small: return "fixed_small";
    case variance_type::fixed_large: return "fixed_large";
    }
    return "";
}

} // namespace repaint
