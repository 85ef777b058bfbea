#pragma once

#include <repaint/backend/cpu/packed_norm.hpp>
#include <repaint/core/options.hpp>

namespace repaint::detail::cpu {

struct storage;

/// Everything one normalisation is about, but its result. x and scale_shift are blocked.
struct normalisation {
    const storage& x;
    const packed_norm& w;
    const storage* scale_shift; ///< (1 or n, 2c, 1, 1), or null
    group_norm_options options;
};

} // namespace repaint::detail::cpu
