#pragma once

#include <repaint/core/host_tensor.hpp>

namespace repaint {

/// The values that black and white have in images.
struct value_range {
    float low = -1.0F;
    float high = 1.0F;

    friend bool operator==(const value_range&, const value_range&) = default;
};

/// Images whose black and white are those of `from`, rescaled so that they are those of `to`. Equal ranges change
/// nothing, not even a bit.
[[nodiscard]] host_tensor rescaled(host_tensor images, const value_range& from, const value_range& to);

/// Throws std::invalid_argument when images hold NaN, infinity, or values further outside the range than it is wide:
/// bytes of 0 to 255 where -1 to 1 is meant, for one. `what` is what the message calls the images.
void check_values(const host_tensor& images, const value_range& range, const char* what);

} // namespace repaint

#ifndef REPAINT_COMPILED
#include <repaint/core/value_range.ipp>
#endif
