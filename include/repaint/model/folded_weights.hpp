#pragma once

#include <repaint/core/host_weights.hpp>

/// Weights rearranged and rescaled on their way to a backend, so that no backend needs a primitive for what only some
/// families of networks do. Weights whose values are null give weights whose values are null.
namespace repaint {

namespace detail {

/// Every value divided by the divisor.
host_weights divided(const host_weights& w, double divisor);

/// The weights (channels, channels, 1, 1) of a 1x1 convolution that multiplies every channel by `factor`. with_values:
/// false: only the shape.
host_weights scaling(int channels, double factor, bool with_values);

/// A bias (channels, 1, 1, 1) of `value` everywhere. with_values: false: only the shape.
host_weights constant_bias(int channels, double value, bool with_values);

/// Kernels (out, in, k, k) as (out, in, k + 1, k + 1) with zeros in the first row and column. A convolution with
/// padding p then gives what the original gives with padding p - 1 above and left of the image and p below and right of
/// it.
host_weights padded_in_front(const host_weights& w);

/// The rows of a qkv weight or bias, reordered from [q k v of head 0 | q k v of head 1 | ...] to [Q | K | V].
host_weights grouped_by_role(const host_weights& per_head, int heads);

} // namespace detail

} // namespace repaint

#ifndef REPAINT_COMPILED
#include <repaint/model/folded_weights.ipp>
#endif
