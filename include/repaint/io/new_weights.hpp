#pragma once

#include <span>

#include <repaint/core/host_weights.hpp>
#include <repaint/core/shape.hpp>

namespace repaint {

namespace detail {

/// Weights in memory of their own, to be filled. `weights` keeps the memory alive that `values` writes.
struct new_weights {
    host_weights weights;
    std::span<float> values;
};

/// Weights of that shape whose values are not yet set. Even weights without values have a pointer that is not null:
/// null means that only the shape is known.
new_weights make_weights(const shape4& shape);

/// The weights in memory of their own, so that they keep no checkpoint mapped. Null values stay null.
host_weights copied(const host_weights& w);

} // namespace detail

} // namespace repaint

#ifndef REPAINT_COMPILED
#include <repaint/io/new_weights.ipp>
#endif
