#pragma once

#include <cstddef>

#include <repaint/config.hpp>
#include <repaint/core/host_tensor.hpp>
#include <repaint/core/text.hpp>
#include <repaint/diffusion/interfaces.hpp>
#include <repaint/error.hpp>

namespace repaint {

namespace detail {

REPAINT_INLINE void check_prediction(const host_tensor& prediction, int t) {
    if (const std::size_t broken = not_finite(prediction.values()); broken > 0) {
        throw error(joined_text({"the network returned ", broken, " NaN or infinite of ", prediction.size(),
                                 " values at timestep ", t, " of the run, so no picture can come of it"}));
    }
}

} // namespace detail

} // namespace repaint
