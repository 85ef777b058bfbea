#pragma once

#include <algorithm>
#include <cstddef>

#include <repaint/config.hpp>
#include <repaint/core/host_weights.hpp>
#include <repaint/core/shape.hpp>
#include <repaint/io/new_weights.hpp>
#include <repaint/model/folded_weights.hpp>

namespace repaint {

namespace detail {

REPAINT_INLINE host_weights divided(const host_weights& w, double divisor) {
    if (!w.values || divisor == 1.0) {
        return w;
    }
    const new_weights result = make_weights(w.shape);
    std::transform(w.values.get(), w.values.get() + w.shape.size(), result.values.begin(),
                   [divisor](float value) { return static_cast<float>(static_cast<double>(value) / divisor); });
    return result.weights;
}

REPAINT_INLINE host_weights scaling(int channels, double factor, bool with_values) {
    const shape4 shape{channels, channels, 1, 1};
    if (!with_values) {
        return {shape, nullptr};
    }
    const new_weights result = make_weights(shape);
    std::fill(result.values.begin(), result.values.end(), 0.0F);
    const auto width = static_cast<std::size_t>(channels);
    for (std::size_t c = 0; c < width; ++c) {
        result.values[c * width + c] = static_cast<float>(factor);
    }
    return result.weights;
}

REPAINT_INLINE host_weights constant_bias(int channels, double value, bool with_values) {
    const shape4 shape{channels, 1, 1, 1};
    if (!with_values) {
        return {shape, nullptr};
    }
    const new_weights result = make_weights(shape);
    std::fill(result.values.begin(), result.values.end(), static_cast<float>(value));
    return result.weights;
}

REPAINT_INLINE host_weights padded_in_front(const host_weights& w) {
    const shape4 from = w.shape;
    const shape4 to{from.n, from.c, from.h + 1, from.w + 1};
    if (!w.values) {
        return {to, nullptr};
    }
    const new_weights result = make_weights(to);
    std::fill(result.values.begin(), result.values.end(), 0.0F);
    const std::size_t kernels = static_cast<std::size_t>(from.n) * static_cast<std::size_t>(from.c);
    for (std::size_t kernel = 0; kernel < kernels; ++kernel) {
        for (int row = 0; row < from.h; ++row) {
            const float* source = w.values.get() + kernel * from.plane() + static_cast<std::size_t>(row * from.w);
            std::copy_n(source, from.w,
                        result.values.data() + kernel * to.plane() + static_cast<std::size_t>((row + 1) * to.w + 1));
        }
    }
    return result.weights;
}

REPAINT_INLINE host_weights grouped_by_role(const host_weights& per_head, int heads) {
    if (!per_head.values) {
        return per_head;
    }
    const std::size_t row = static_cast<std::size_t>(per_head.shape.c) * per_head.shape.plane();
    const std::size_t rows = static_cast<std::size_t>(per_head.shape.n);
    const std::size_t width = rows / 3 / static_cast<std::size_t>(heads);
    const new_weights result = make_weights(per_head.shape);
    for (std::size_t head = 0; head < static_cast<std::size_t>(heads); ++head) {
        for (std::size_t role = 0; role < 3; ++role) {
            const float* from = per_head.values.get() + (head * 3 + role) * width * row;
            std::copy_n(from, width * row, result.values.data() + (role * (rows / 3) + head * width) * row);
        }
    }
    return result.weights;
}

} // namespace detail

} // namespace repaint
