#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include <repaint/backend/reference/network.hpp>
#include <repaint/diffusion/philox.hpp>
#include <repaint/diffusion/step.hpp>

/// The diffusion primitives of reference_backend: the arithmetic of diffusion/step.hpp, element by element, in float32
/// whatever T is.
namespace repaint::detail::reference {

/// The values of one image, also where there are none.
template <class T> std::size_t values_per_image(const array4<T>& x) {
    return extent(x, 1) * extent(x, 2) * extent(x, 3);
}

template <class T> void normal(std::span<const std::uint64_t> seeds, std::uint64_t draw, array4<T>& y) {
    std::vector<float> drawn(values_per_image(y));
    for (std::size_t n = 0; n < extent(y, 0); ++n) {
        philox_normal(seeds[n], draw, drawn);
        std::copy(drawn.begin(), drawn.end(), image(y, n));
    }
}

template <class T>
void reverse_step(array4<T>& x, const array4<T>& prediction, const array4<T>& z, const posterior& p, array4<T>* x0,
                  const array4<T>* guidance) {
    const std::size_t size = values_per_image(x);
    const auto at = [](const T* values, std::size_t i) {
        return values == nullptr ? 0.0F : static_cast<float>(values[i]);
    };
    for (std::size_t n = 0; n < extent(x, 0); ++n) {
        T* current = image(x, n);
        const T* mean = image(prediction, n);
        const T* variance = is_learned(p.variance) ? mean + size : nullptr;
        const T* noise = image(z, n);
        const T* gradient = guidance == nullptr ? nullptr : image(*guidance, n);
        T* shown = x0 == nullptr ? nullptr : image(*x0, n);
        for (std::size_t i = 0; i < size; ++i) {
            const float g = at(gradient, i);
            const float clean = predicted_x0(p, at(current, i), at(mean, i), g);
            if (shown != nullptr) {
                shown[i] = clean;
            }
            const float v = at(variance, i);
            current[i] = gradient == nullptr
                             ? repaint::reverse_step(p, at(current, i), at(mean, i), clean, v, at(noise, i))
                             : repaint::guided_reverse_step(p, at(current, i), at(mean, i), clean, v, at(noise, i), g);
        }
    }
}

template <class T> void forward_step(array4<T>& x, const array4<T>& z, const mixing& m) {
    std::transform(x.begin(), x.end(), z.begin(), x.begin(), [&m](T value, T noise) {
        return repaint::forward_step(m, static_cast<float>(value), static_cast<float>(noise));
    });
}

template <class T>
void merge(array4<T>& x, const array4<T>& known, const array4<T>& keep, const array4<T>& z, const mixing& m) {
    const std::size_t channels = extent(x, 1);
    const std::size_t pixels = extent(x, 2) * extent(x, 3);
    for (std::size_t n = 0; n < extent(x, 0); ++n) {
        for (std::size_t c = 0; c < channels; ++c) {
            T* to = image(x, n) + c * pixels;
            const T* from = image(known, extent(known, 0) == 1 ? 0 : n) + c * pixels;
            const T* mask = image(keep, extent(keep, 0) == 1 ? 0 : n) + (extent(keep, 1) == 1 ? 0 : c * pixels);
            const T* noise = image(z, n) + c * pixels;
            for (std::size_t i = 0; i < pixels; ++i) {
                to[i] = merged(m, static_cast<float>(to[i]), static_cast<float>(from[i]), static_cast<float>(mask[i]),
                               static_cast<float>(noise[i]));
            }
        }
    }
}

} // namespace repaint::detail::reference
