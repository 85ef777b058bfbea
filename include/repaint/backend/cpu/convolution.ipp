#pragma once

#include <algorithm>

#include <repaint/backend/cpu/convolution.hpp>

namespace repaint::detail::cpu {

REPAINT_INLINE epilogue convolution::finishing(int n, int block, float* constant) const {
    if (transposed) {
        std::fill_n(constant, lanes, 0.0F);
    } else {
        std::copy_n(w.bias.data() + block * lanes, lanes, constant);
    }
    epilogue e;
    e.constant = constant;
    e.then = options.then;
    if (residual != nullptr) {
        const float* plane = residual->plane(residual->shape.n == 1 ? 0 : n, block);
        if (residual->shape.plane() == 1 && y.shape.plane() != 1) {
            for (int i = 0; i < lanes; ++i) {
                constant[i] += plane[i];
            }
        } else {
            e.residual = plane;
        }
    }
    return e;
}

} // namespace repaint::detail::cpu
