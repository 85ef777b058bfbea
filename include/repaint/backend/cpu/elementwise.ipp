#pragma once

#include <algorithm>
#include <array>
#include <cstddef>

#include <repaint/backend/cpu/context.hpp>
#include <repaint/backend/cpu/elementwise.hpp>

namespace repaint::detail::cpu {

/// Calls f(n, block, first, count) for pieces of every plane.
template <class F> void for_each_piece_of_planes(const context& with, const storage& x, F&& f) {
    constexpr int piece = 1024; // pixels: 64 kB
    const int pixels = static_cast<int>(x.shape.plane());
    const int pieces = ceil_div(pixels, piece);
    const int blocks = x.blocks();
    with.pool.run(size_of(x.shape.n * blocks) * size_of(pieces), [&](std::size_t task, int) {
        const int first = static_cast<int>(task % size_of(pieces)) * piece;
        const int plane = static_cast<int>(task / size_of(pieces));
        f(plane / blocks, plane % blocks, first, std::min(piece, pixels - first));
    });
}

REPAINT_INLINE void activation_vjp(const context& with, const storage& x, activation f, const storage& dy,
                                   storage& dx) {
    for_each_piece_of_planes(with, x, [&](int n, int block, int first, int count) {
        const std::size_t at = size_of(first) * lanes;
        with.gradient_kernels().activation_vjp(x.plane(n, block) + at, f, dy.plane(n, block) + at, count,
                                               dx.plane(n, block) + at);
    });
}

REPAINT_INLINE void accumulate(const context& with, storage& sum, const storage& x) {
    alignas(64) static constexpr std::array<float, lanes> zeros{};
    for_each_piece_of_planes(with, x, [&](int n, int block, int first, int count) {
        float* to = sum.plane(n, block) + size_of(first) * lanes;
        epilogue e;
        e.constant = zeros.data();
        e.residual = x.plane(n, block) + size_of(first) * lanes;
        with.kernels.finish(to, lanes, count, e, to);
    });
}

} // namespace repaint::detail::cpu
