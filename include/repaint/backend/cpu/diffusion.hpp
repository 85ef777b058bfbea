#pragma once

#include <cstdint>
#include <span>

#include <repaint/config.hpp>
#include <repaint/core/step_values.hpp>

/// The diffusion primitives of cpu_backend on planar tensors: one pass each, the arithmetic of diffusion/step.hpp.
namespace repaint::detail::cpu {

struct context;
struct storage;

/// Image i of y becomes draw `draw` of the Philox stream of seeds[i].
void normal(const context& with, std::span<const std::uint64_t> seeds, std::uint64_t draw, storage& y);

/// x_t becomes x_{t-1}. x0 receives the predicted x_0; x0 and guidance may be null.
void reverse_step(const context& with, storage& x, const storage& prediction, const storage& z, const posterior& p,
                  storage* x0, const storage* guidance);

/// x = m.signal * x + m.noise * z
void forward_step(const context& with, storage& x, const storage& z, const mixing& m);

/// x = keep * (m.signal * known + m.noise * z) + (1 - keep) * x
void merge(const context& with, storage& x, const storage& known, const storage& keep, const storage& z,
           const mixing& m);

} // namespace repaint::detail::cpu

#ifndef REPAINT_COMPILED
#include <repaint/backend/cpu/diffusion.ipp>
#endif
