#pragma once

#include <repaint/config.hpp>

namespace repaint::detail::cpu {

struct context;
struct convolution;

/// Computes a 3x3 convolution of stride 1 by Winograd's method, with tiles of 2x2 or 4x4: `tile` is 2 or 4.
void convolve_by_winograd(const context& with, const convolution& c, int tile);

} // namespace repaint::detail::cpu

#ifndef REPAINT_COMPILED
#include <repaint/backend/cpu/winograd.ipp>
#endif
