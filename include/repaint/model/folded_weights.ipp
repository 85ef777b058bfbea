#pragma once

#include <algorithm>
#include <cstddef>
#include <memory>
#include <utility>

#include <repaint/config.hpp>
#include <repaint/core/host_weights.hpp>
#include <repaint/core/shape.hpp>
#include <repaint/model/folded_weights.hpp>

namespace repaint {

namespace detail {

inline host_weights owning(const shape4& shape, std::shared_ptr<float[]> values) {
    float* const first = values.get();
    return {shape, std::shared_ptr<const float>(std::move(values), first)};
}

} // namespace detail

REPAINT_INLINE host_weights divided(const host_weights& w, double divisor) {
    if (!w.values || divisor == 1.0) {
        return w;
    }
    std::shared_ptr<float[]> values(new float[w.shape.size()]);
    std::transform(w.values.get(), w.values.get() + w.shape.size(), values.get(),
                   [divisor](float value) { return static_cast<float>(static_cast<double>(value) / divisor); });
    return detail::owning(w.shape, std::move(values));
}

REPAINT_INLINE host_weights scaling(int channels, double factor, bool with_values) {
    const shape4 shape{channels, channels, 1, 1};
    if (!with_values) {
        return {shape, nullptr};
    }
    std::shared_ptr<float[]> values(new float[shape.size()]());
    float* diagonal = values.get();
    for (int c = 0; c < channels; ++c, diagonal += channels + 1) {
        *diagonal = static_cast<float>(factor);
    }
    return detail::owning(shape, std::move(values));
}

REPAINT_INLINE host_weights constant_bias(int channels, double value, bool with_values) {
    const shape4 shape{channels, 1, 1, 1};
    if (!with_values) {
        return {shape, nullptr};
    }
    std::shared_ptr<float[]> values(new float[shape.size()]);
    std::fill_n(values.get(), shape.size(), static_cast<float>(value));
    return detail::owning(shape, std::move(values));
}

REPAINT_INLINE host_weights padded_in_front(const host_weights& w) {
    const shape4 from = w.shape;
    const shape4 to{from.n, from.c, from.h + 1, from.w + 1};
    if (!w.values) {
        return {to, nullptr};
    }
    std::shared_ptr<float[]> values(new float[to.size()]());
    const std::size_t kernels = static_cast<std::size_t>(from.n) * static_cast<std::size_t>(from.c);
    for (std::size_t kernel = 0; kernel < kernels; ++kernel) {
        for (int row = 0; row < from.h; ++row) {
            const float* source = w.values.get() + kernel * from.plane() + static_cast<std::size_t>(row * from.w);
            std::copy_n(source, from.w,
                        values.get() + kernel * to.plane() + static_cast<std::size_t>((row + 1) * to.w + 1));
        }
    }
    return detail::owning(to, std::move(values));
}

} // namespace repaint
