#pragma once

#include <algorithm>
#include <cstddef>

#include <repaint/backend/cpu/context.hpp>
#include <repaint/backend/cpu/diffusion.hpp>
#include <repaint/diffusion/philox.hpp>
#include <repaint/diffusion/step.hpp>

namespace repaint::detail::cpu {

/// Values that one task takes: a few tens of microseconds.
inline constexpr std::size_t step_values = 8192;

/// The values of one image, also where there are none.
inline std::size_t values_per_image(const shape4& s) { return size_of(s.c) * s.plane(); }

/// Calls f(image, first, count) for pieces of every image of `size` values.
template <class F> void for_each_piece(const context& with, int images, std::size_t size, F&& f) {
    const std::size_t pieces = (size + step_values - 1) / step_values;
    with.pool.run(size_of(images) * pieces, [&](std::size_t task, int) {
        const std::size_t first = task % pieces * step_values;
        f(task / pieces, first, std::min(step_values, size - first));
    });
}

REPAINT_INLINE void normal(const context& with, std::span<const std::uint64_t> seeds, std::uint64_t draw, storage& y) {
    const std::size_t size = values_per_image(y.shape);
    for_each_piece(with, y.shape.n, size, [&](std::size_t n, std::size_t first, std::size_t count) {
        philox_normal(seeds[n], draw, std::span<float>(y.data() + n * size + first, count), first);
    });
}

REPAINT_INLINE void reverse_step(const context& with, storage& x, const storage& prediction, const storage& z,
                                 const posterior& p, storage* x0, const storage* guidance) {
    const std::size_t size = values_per_image(x.shape);
    const std::size_t predicted = values_per_image(prediction.shape);
    const bool learned = is_learned(p.variance);
    for_each_piece(with, x.shape.n, size, [&](std::size_t n, std::size_t first, std::size_t count) {
        float* current = x.data() + n * size + first;
        const float* mean = prediction.data() + n * predicted + first;
        const float* variance = learned ? mean + size : nullptr;
        const float* noise = z.data() + n * size + first;
        const float* gradient = guidance == nullptr ? nullptr : guidance->data() + n * size + first;
        float* shown = x0 == nullptr ? nullptr : x0->data() + n * size + first;
        for (std::size_t i = 0; i < count; ++i) {
            const float g = gradient == nullptr ? 0.0F : gradient[i];
            const float v = learned ? variance[i] : 0.0F;
            const float clean = predicted_x0(p, current[i], mean[i], g);
            if (shown != nullptr) {
                shown[i] = clean;
            }
            current[i] = gradient == nullptr
                             ? repaint::reverse_step(p, current[i], mean[i], clean, v, noise[i])
                             : repaint::guided_reverse_step(p, current[i], mean[i], clean, v, noise[i], g);
        }
    });
}

REPAINT_INLINE void forward_step(const context& with, storage& x, const storage& z, const mixing& m) {
    for_each_piece(with, 1, x.shape.size(), [&](std::size_t, std::size_t first, std::size_t count) {
        float* current = x.data() + first;
        const float* noise = z.data() + first;
        for (std::size_t i = 0; i < count; ++i) {
            current[i] = repaint::forward_step(m, current[i], noise[i]);
        }
    });
}

REPAINT_INLINE void merge(const context& with, storage& x, const storage& known, const storage& keep, const storage& z,
                          const mixing& m) {
    const shape4 s = x.shape;
    const std::size_t pixels = s.plane();
    for_each_piece(with, s.n * s.c, pixels, [&](std::size_t plane, std::size_t first, std::size_t count) {
        const std::size_t n = plane / size_of(s.c);
        const std::size_t c = plane % size_of(s.c);
        float* to = x.data() + plane * pixels + first;
        const float* noise = z.data() + plane * pixels + first;
        const float* from = known.data() + ((known.shape.n == 1 ? 0 : n) * size_of(s.c) + c) * pixels + first;
        const float* mask =
            keep.data() + ((keep.shape.n == 1 ? 0 : n) * size_of(keep.shape.c) + (keep.shape.c == 1 ? 0 : c)) * pixels +
            first;
        for (std::size_t i = 0; i < count; ++i) {
            to[i] = merged(m, to[i], from[i], mask[i], noise[i]);
        }
    });
}

} // namespace repaint::detail::cpu
