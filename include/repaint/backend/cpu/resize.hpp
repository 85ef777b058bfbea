#pragma once

#include <repaint/config.hpp>

namespace repaint::detail::cpu {

struct context;
struct storage;

/// Every pixel times a factor, twice in both directions. x and y are blocked.
void double_pixels(const context& with, const storage& x, float factor, storage& y);

/// The sum of every 2x2 pixels times a factor. x and y are blocked.
void halve_pixels(const context& with, const storage& x, float factor, storage& y);

} // namespace repaint::detail::cpu

#ifndef REPAINT_COMPILED
#include <repaint/backend/cpu/resize.ipp>
#endif
