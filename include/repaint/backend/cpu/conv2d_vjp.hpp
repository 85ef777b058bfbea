#pragma once

#include <repaint/config.hpp>
#include <repaint/core/options.hpp>

/// The convolution transposed: a convolution with the weights transposed and turned by half a turn. These are made from
/// the packed ones on the way, in panels that stay in the cache: that costs a few percent, keeping them would double
/// the memory of the weights.
namespace repaint::detail::cpu {

struct context;
struct packed_conv2d;
struct storage;

/// dx = conv^T(dy). dy and dx are blocked.
void conv2d_vjp(const context& with, const storage& dy, const packed_conv2d& w, const conv2d_options& options,
                storage& dx);

} // namespace repaint::detail::cpu

#ifndef REPAINT_COMPILED
#include <repaint/backend/cpu/conv2d_vjp.ipp>
#endif
