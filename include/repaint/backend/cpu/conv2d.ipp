#pragma once

#include <algorithm>
#include <array>
#include <cstddef>

#include <repaint/backend/cpu/conv2d.hpp>
#include <repaint/backend/cpu/convolution.hpp>
#include <repaint/backend/cpu/winograd.hpp>

namespace repaint::detail::cpu {

/// Any kernel, stride and padding.
inline void convolve_direct(const context& with, const convolution& c) {
    tap_grid grid{c.y.shape.h, c.y.shape.w, c.options.stride, {}};
    for (int row = 0; row < c.w.shape.h; ++row) {
        for (int column = 0; column < c.w.shape.w; ++column) {
            grid.shifts.push_back({row - c.options.padding, column - c.options.padding});
        }
    }
    sum_over_taps(with, c.x, grid, c.w.values.data(), c.blocks(),
                  [&](int n, int block, int first, int count, const float* sums) {
                      alignas(64) std::array<float, lanes> constant;
                      epilogue e = c.finishing(n, block, constant.data());
                      const std::size_t at = size_of(first) * lanes;
                      if (e.residual != nullptr) {
                          e.residual += at;
                      }
                      with.kernels.finish(sums, chunk_channels, count, e, c.y.plane(n, block) + at);
                  });
}

REPAINT_INLINE int tile_for(const shape4& kernel, const shape4& out, int stride) {
    if (kernel.h != 3 || kernel.w != 3 || stride != 1) {
        return 1;
    }
    const double products = static_cast<double>(kernel.c) * blocks_of(kernel.n);
    const auto cycles = [&](int tile, double per_product, double weights, double input, double output) {
        const double tiles = static_cast<double>(ceil_div(out.h, tile)) * ceil_div(out.w, tile);
        return tiles * (per_product * products + input * blocks_of(kernel.c) + output * blocks_of(kernel.n)) +
               weights * products;
    };
    const double direct = cycles(1, 4.5, 0.0, 0.0, 10.0);
    const double two = cycles(2, 8.0, 40.0, 80.0, 50.0);
    const double four = cycles(4, 18.0, 110.0, 250.0, 130.0);
    // Tiles of 4x4 round twice as much as tiles of 2x2. In small layers the time is short whichever way, and there the
    // rounding would show: without them, whole runs of small networks agree with the official program as plain sums do.
    const bool large = kernel.c >= 64 && kernel.n >= 64 && (kernel.c >= 128 || out.plane() >= 1024);
    if (large && four < std::min(direct, two)) {
        return 4;
    }
    return two < direct ? 2 : 1;
}

REPAINT_INLINE void conv2d(const context& with, const convolution& c) {
    const int tile = with.strict ? 1 : tile_for(c.w.shape, c.y.shape, c.options.stride);
    if (tile == 1) {
        convolve_direct(with, c);
        return;
    }
    convolve_by_winograd(with, c, tile);
}

} // namespace repaint::detail::cpu
