#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <span>

#include <repaint/config.hpp>
#include <repaint/core/host_tensor.hpp>
#include <repaint/model/timestep_embedding.hpp>

namespace repaint {

REPAINT_INLINE host_tensor timestep_embedding(float timestep, int dim, int images, bool sine_first,
                                              double frequency_shift) {
    host_tensor result({images, dim, 1, 1});
    const int half = dim / 2;
    const int sines = sine_first ? 0 : half;
    const int cosines = sine_first ? half : 0;
    const auto intervals = static_cast<float>(half - frequency_shift);
    // Every operation in float32, in the order the networks were trained with: at t = 999 one rounding more is visible.
    const auto log_period = static_cast<float>(-std::log(10000.0));
    for (int i = 0; i < half; ++i) {
        const float frequency = std::exp(log_period * static_cast<float>(i) / intervals);
        const float angle = timestep * frequency;
        for (int n = 0; n < images; ++n) {
            result(n, cosines + i, 0, 0) = std::cos(angle);
            result(n, sines + i, 0, 0) = std::sin(angle);
        }
    }
    return result;
}

namespace detail {

REPAINT_INLINE host_tensor label_rows(const host_weights& table, std::span<const int> labels) {
    const int width = table.shape.c;
    host_tensor rows({static_cast<int>(labels.size()), width, 1, 1});
    if (table.values) {
        for (std::size_t i = 0; i < labels.size(); ++i) {
            const std::size_t first = static_cast<std::size_t>(labels[i]) * static_cast<std::size_t>(width);
            std::copy_n(table.values.get() + first, width, rows.image(static_cast<int>(i)).begin());
        }
    }
    return rows;
}

} // namespace detail

} // namespace repaint
