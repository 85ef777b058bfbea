#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include <repaint/backend/reference/network.hpp>
#include <repaint/diffusion/philox.hpp>
#include <repaint/diffusion/step.hpp>

/// The diffusion primitives of reference_backend: the arithmetic of diffusion/step.hpp, element by element.
namespace repaint::detail::reference {

inline void normal(std::span<const std::uint64_t> seeds, std::uint64_t draw, array4& y) {
    const std::size_t size = y.size() / extent(y, 0);
    for (std::size_t n = 0; n < extent(y, 0); ++n) {
        philox_normal(seeds[n], draw, std::span<float>(image(y, n), size));
    }
}

inline void reverse_step(array4& x, const array4& prediction, const array4& z, const posterior& p, array4* x0) {
    const std::size_t size = x.size() / extent(x, 0);
    for (std::size_t n = 0; n < extent(x, 0); ++n) {
        float* current = image(x, n);
        const float* mean = image(prediction, n);
        const float* variance = is_learned(p.variance) ? mean + size : nullptr;
        const float* noise = image(z, n);
        float* shown = x0 == nullptr ? nullptr : image(*x0, n);
        for (std::size_t i = 0; i < size; ++i) {
            const float clean = predicted_x0(p, current[i], mean[i]);
            if (shown != nullptr) {
                shown[i] = clean;
            }
            const float v = variance == nullptr ? 0.0F : variance[i];
            current[i] = repaint::reverse_step(p, current[i], mean[i], clean, v, noise[i]);
        }
    }
}

inline void forward_step(array4& x, const array4& z, const mixing& m) { xt::noalias(x) = m.signal * x + m.noise * z; }

inline void merge(array4& x, const array4& known, const array4& keep, const array4& z, const mixing& m) {
    const std::size_t channels = extent(x, 1);
    const std::size_t pixels = extent(x, 2) * extent(x, 3);
    for (std::size_t n = 0; n < extent(x, 0); ++n) {
        for (std::size_t c = 0; c < channels; ++c) {
            float* to = image(x, n) + c * pixels;
            const float* from = image(known, extent(known, 0) == 1 ? 0 : n) + c * pixels;
            const float* mask = image(keep, extent(keep, 0) == 1 ? 0 : n) + (extent(keep, 1) == 1 ? 0 : c * pixels);
            const float* noise = image(z, n) + c * pixels;
            for (std::size_t i = 0; i < pixels; ++i) {
                to[i] = merged(m, to[i], from[i], mask[i], noise[i]);
            }
        }
    }
}

} // namespace repaint::detail::reference
