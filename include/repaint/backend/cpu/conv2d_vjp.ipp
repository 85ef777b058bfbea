#pragma once

#include <algorithm>
#include <cstddef>
#include <vector>

#include <repaint/backend/cpu/conv2d.hpp>
#include <repaint/backend/cpu/conv2d_vjp.hpp>
#include <repaint/backend/cpu/convolution.hpp>
#include <repaint/backend/cpu/winograd.hpp>

namespace repaint::detail::cpu {

/// Any kernel, stride and padding. Pixels of dx that are a stride apart meet the same taps, at neighbours in dy: each
/// of the stride^2 such sets is a sum over its taps alone.
inline void transpose_direct(const context& with, const storage& dy, const packed_conv2d& w,
                             const conv2d_options& options, storage& dx) {
    const shape4 in = dx.shape;
    const int step = options.stride;
    for (int top = 0; top < std::min(step, in.h); ++top) {
        for (int left = 0; left < std::min(step, in.w); ++left) {
            tap_grid grid{ceil_div(in.h - top, step), ceil_div(in.w - left, step), 1, {}};
            std::vector<int> taps;
            for (int t = 0; t < w.taps(); ++t) {
                const int row = top + options.padding - t / w.shape.w;
                const int column = left + options.padding - t % w.shape.w;
                if (row % step == 0 && column % step == 0) {
                    grid.shifts.push_back({row / step, column / step});
                    taps.push_back(t);
                }
            }
            const memory_block matrix = transposed(with, w, taps);
            sum_over_taps(with, dy, grid, matrix.data(), dx.blocks(),
                          [&](int n, int block, int first, int count, const float* sums) {
                              float* const plane = dx.plane(n, block);
                              int row = top + first / grid.columns * step;
                              int column = left + first % grid.columns * step;
                              for (int i = 0; i < count; ++i) {
                                  std::copy_n(sums + i * chunk_channels, lanes,
                                              plane + (size_of(row) * size_of(in.w) + size_of(column)) * lanes);
                                  column += step;
                                  if (column >= in.w) {
                                      column = left;
                                      row += step;
                                  }
                              }
                          });
        }
    }
}

REPAINT_INLINE void conv2d_vjp(const context& with, const storage& dy, const packed_conv2d& w,
                               const conv2d_options& options, storage& dx) {
    const shape4 turned{w.shape.c, w.shape.n, w.shape.h, w.shape.w};
    const int tile = with.strict ? 1 : tile_for(turned, dx.shape, options.stride);
    if (tile == 1) {
        transpose_direct(with, dy, w, options, dx);
        return;
    }
    const convolution c{dy, w, nullptr, {.stride = 1, .padding = 2 - options.padding}, dx, true};
    convolve_by_winograd(with, c, tile);
}

} // namespace repaint::detail::cpu
