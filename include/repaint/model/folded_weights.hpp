#pragma once

#include <repaint/core/host_weights.hpp>

/// What families of networks do beside the common path, folded into the weights: no backend needs a primitive for it.
/// Null values stay null.
namespace repaint {

/// Every value divided by the divisor.
host_weights divided(const host_weights& w, double divisor);

/// A 1x1 convolution that multiplies every one of `channels` channels by `factor`; without values only its shape.
host_weights scaling(int channels, double factor, bool with_values);

/// A bias of `channels` times `value`; without values only its shape.
host_weights constant_bias(int channels, double value, bool with_values);

/// Kernels (out, in, k, k) as (out, in, k + 1, k + 1) with zeros in the first row and column: with padding p the result
/// is that of the original with padding p - 1 before the image and p behind it.
host_weights padded_in_front(const host_weights& w);

} // namespace repaint

#ifndef REPAINT_COMPILED
#include <repaint/model/folded_weights.ipp>
#endif
