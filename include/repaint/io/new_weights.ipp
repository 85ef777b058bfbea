#pragma once

#include <algorithm>
#include <cstddef>
#include <memory>
#include <span>
#include <utility>

#include <repaint/config.hpp>
#include <repaint/io/new_weights.hpp>

namespace repaint {

namespace detail {

REPAINT_COLD new_weights make_weights(const shape4& shape) {
    const std::size_t count = shape.size();
    std::shared_ptr<float[]> values(new float[std::max<std::size_t>(count, 1)]);
    float* const first = values.get();
    return {{shape, std::shared_ptr<const float>(std::move(values), first)}, {first, count}};
}

REPAINT_COLD host_weights copied(const host_weights& w) {
    if (!w.values) {
        return w;
    }
    const new_weights copy = make_weights(w.shape);
    std::copy_n(w.values.get(), copy.values.size(), copy.values.begin());
    return copy.weights;
}

} // namespace detail

} // namespace repaint
