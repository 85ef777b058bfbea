#pragma once

#include <vector>

namespace repaint::detail::cpu {

/// gamma and beta of a normalisation, one value for each channel.
struct packed_norm {
    std::vector<float> gamma;
    std::vector<float> beta;
};

} // namespace repaint::detail::cpu
