#pragma once

#include <algorithm>
#include <array>
#include <cstddef>

#include <repaint/backend/cpu/context.hpp>
#include <repaint/backend/cpu/mean.hpp>
#include <repaint/backend/cpu/running_moments.hpp>

namespace repaint::detail::cpu {

/// The means of the sixteen channels of a block, in pieces whose means are joined in double.
inline void mean_of_block(const context& with, const storage& x, int n, int block, float* means) {
    const float* plane = x.plane(n, block);
    const int pixels = static_cast<int>(x.shape.plane());
    constexpr int piece = 256;
    std::array<running_moments, lanes> all;
    for (int first = 0; first < pixels; first += piece) {
        const int count = std::min(piece, pixels - first);
        alignas(64) std::array<float, lanes> mean;
        alignas(64) std::array<float, lanes> squares;
        with.kernels.moments(plane + size_of(first) * lanes, count, mean.data(), squares.data());
        for (std::size_t i = 0; i < lanes; ++i) {
            all[i].join(count, static_cast<double>(mean[i]), static_cast<double>(squares[i]));
        }
    }
    for (std::size_t i = 0; i < lanes; ++i) {
        means[i] = static_cast<float>(all[i].mean);
    }
}

/// Calls f(n, block) for every block of every image.
template <class F> void for_each_block(const context& with, const storage& x, F&& f) {
    const int blocks = x.blocks();
    with.pool.run(size_of(x.shape.n * blocks),
                  [&](std::size_t task, int) { f(static_cast<int>(task) / blocks, static_cast<int>(task) % blocks); });
}

REPAINT_INLINE void mean(const context& with, const storage& x, storage& y) {
    for_each_block(with, x, [&](int n, int block) { mean_of_block(with, x, n, block, y.plane(n, block)); });
}

REPAINT_INLINE void prepend_mean(const context& with, const storage& x, storage& y) {
    for_each_block(with, x, [&](int n, int block) {
        float* to = y.plane(n, block);
        mean_of_block(with, x, n, block, to);
        std::copy_n(x.plane(n, block), x.shape.plane() * lanes, to + lanes);
    });
}

/// The part of the mean's cotangent that goes to every pixel.
inline std::array<float, lanes> share_of_mean(const float* dy, const shape4& in) {
    std::array<float, lanes> share;
    std::transform(dy, dy + lanes, share.begin(),
                   [&in](float value) { return value / static_cast<float>(in.plane()); });
    return share;
}

REPAINT_INLINE void mean_vjp(const context& with, const storage& dy, storage& dx) {
    for_each_block(with, dx, [&](int n, int block) {
        const auto share = share_of_mean(dy.plane(n, block), dx.shape);
        float* to = dx.plane(n, block);
        for (std::size_t i = 0; i < dx.shape.plane(); ++i) {
            std::copy(share.begin(), share.end(), to + i * lanes);
        }
    });
}

REPAINT_INLINE void prepend_mean_vjp(const context& with, const storage& dy, storage& dx) {
    for_each_block(with, dx, [&](int n, int block) {
        const float* from = dy.plane(n, block);
        const auto share = share_of_mean(from, dx.shape);
        epilogue e;
        e.constant = share.data();
        with.kernels.finish(from + lanes, lanes, static_cast<int>(dx.shape.plane()), e, dx.plane(n, block));
    });
}

} // namespace repaint::detail::cpu
