#pragma once

#include <repaint/config.hpp>
#include <repaint/core/options.hpp>

/// Primitives that treat every value by itself. All storages are blocked.
namespace repaint::detail::cpu {

struct context;
struct storage;

/// dx = f'(x) dy
void activation_vjp(const context& with, const storage& x, activation f, const storage& dy, storage& dx);

/// sum += x
void accumulate(const context& with, storage& sum, const storage& x);

} // namespace repaint::detail::cpu

#ifndef REPAINT_COMPILED
#include <repaint/backend/cpu/elementwise.ipp>
#endif
