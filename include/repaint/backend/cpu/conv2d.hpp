#pragma once

#include <repaint/config.hpp>
#include <repaint/core/options.hpp>
#include <repaint/core/shape.hpp>

/// Convolutions of cpu_backend: direct, or by Winograd's minimal filtering with tiles of 2x2 or 4x4. The weights are
/// kept once, in the layout of the direct convolution. Winograd's are made from them on the way: that costs little of
/// what they save, and reads a quarter of the bytes that storing them would. (Keeping them where a measurement in the
/// first calls said so was tried: on no network did it change the time by more than the noise.)
namespace repaint::detail::cpu {

struct context;
struct convolution;

/// How a convolution is computed: 1 directly, else the side of Winograd's tiles. The shape alone decides, by the fewest
/// cycles in a model of what the kernels need: an image is computed in one way alone and in a batch, on every machine.
int tile_for(const shape4& kernel, const shape4& out, int stride);

/// y = then(conv(x) + bias + residual). All storages are blocked.
void conv2d(const context& with, const convolution& c);

} // namespace repaint::detail::cpu

#ifndef REPAINT_COMPILED
#include <repaint/backend/cpu/conv2d.ipp>
#endif
