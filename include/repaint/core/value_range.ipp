#pragma once

#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <string>
#include <utility>

#include <repaint/config.hpp>
#include <repaint/core/text.hpp>
#include <repaint/core/value_range.hpp>

namespace repaint {

REPAINT_INLINE host_tensor rescaled(host_tensor images, const value_range& from, const value_range& to) {
    if (from == to) {
        return images;
    }
    // By way of [-1, 1], which is where networks and pictures meet.
    for (float& value : images.values()) {
        const float centred = from == value_range{} ? value : (value - from.low) / (from.high - from.low) * 2.0F - 1.0F;
        value = to == value_range{} ? centred : to.low + (centred + 1.0F) * 0.5F * (to.high - to.low);
    }
    return images;
}

REPAINT_INLINE void check_values(const host_tensor& images, const value_range& range, const char* what) {
    float least = range.high;
    float most = range.low;
    for (const float value : images.values()) {
        if (!std::isfinite(value)) {
            throw std::invalid_argument(
                joined_text({std::string(what), " hold ", (std::isnan(value) ? "NaN" : "infinity"),
                             ", expected values from ", shortest_text(static_cast<double>(range.low)), " to ",
                             shortest_text(static_cast<double>(range.high))}));
        }
        least = std::min(least, value);
        most = std::max(most, value);
    }
    const float width = range.high - range.low;
    if (least < range.low - width || most > range.high + width) {
        throw std::invalid_argument(joined_text(
            {std::string(what), " hold values from ", shortest_text(static_cast<double>(least)), " to ",
             shortest_text(static_cast<double>(most)), ", expected about ",
             shortest_text(static_cast<double>(range.low)), " to ", shortest_text(static_cast<double>(range.high)),
             ": rescale them, or say their range in the options"}));
    }
}

} // namespace repaint
