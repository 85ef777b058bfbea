#pragma once

#include <cstddef>

#include <repaint/backend/cpu/context.hpp>
#include <repaint/backend/cpu/resize.hpp>

namespace repaint::detail::cpu {

/// Calls f(x's plane, y's plane, row) for every `rows` rows of every block of every image.
template <class F> void for_each_row(const context& with, const storage& x, storage& y, int rows, F&& f) {
    const int blocks = x.blocks();
    with.pool.run(size_of(x.shape.n * blocks), [&](std::size_t task, int) {
        const int n = static_cast<int>(task) / blocks;
        const int block = static_cast<int>(task) % blocks;
        for (int row = 0; row < rows; ++row) {
            f(x.plane(n, block), y.plane(n, block), size_of(row));
        }
    });
}

REPAINT_INLINE void double_pixels(const context& with, const storage& x, float factor, storage& y) {
    const std::size_t row = size_of(x.shape.w) * lanes;
    for_each_row(with, x, y, x.shape.h, [&](const float* from, float* to, std::size_t i) {
        with.kernels.double_row(from + i * row, x.shape.w, factor, to + 4 * i * row, to + 4 * i * row + 2 * row);
    });
}

REPAINT_INLINE void halve_pixels(const context& with, const storage& x, float factor, storage& y) {
    const std::size_t row = size_of(x.shape.w) * lanes;
    for_each_row(with, x, y, y.shape.h, [&](const float* from, float* to, std::size_t i) {
        with.kernels.halve_rows(from + 2 * i * row, from + (2 * i + 1) * row, y.shape.w, factor, to + i * row / 2);
    });
}

} // namespace repaint::detail::cpu
