#pragma once

#include <repaint/config.hpp>

/// Means over pixels, and their vector-Jacobian products. All storages are blocked.
namespace repaint::detail::cpu {

struct context;
struct storage;

/// y is the mean over the pixels of x, channel by channel.
void mean(const context& with, const storage& x, storage& y);

/// y is the mean over the pixels of x, then the pixels.
void prepend_mean(const context& with, const storage& x, storage& y);

/// The vector-Jacobian product of mean().
void mean_vjp(const context& with, const storage& dy, storage& dx);

/// The vector-Jacobian product of prepend_mean().
void prepend_mean_vjp(const context& with, const storage& dy, storage& dx);

} // namespace repaint::detail::cpu

#ifndef REPAINT_COMPILED
#include <repaint/backend/cpu/mean.ipp>
#endif
