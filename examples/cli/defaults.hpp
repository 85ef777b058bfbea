#pragma once

#include <optional>

#include <repaint/inpainter.hpp>
#include <repaint/unconditional_sampler.hpp>

/// What the published systems run with where the command line says nothing.
namespace cli {

/// Of inpainting: the timesteps and the jumps.
[[nodiscard]] repaint::inpaint_options inpaint_defaults(repaint::sampling_system system);

/// Of sampling from noise alone, with a model whose scheduler this is: the timesteps. eta: as the command line gives it.
[[nodiscard]] repaint::sampling_options sampling_defaults(repaint::sampling_system system,
                                                          const repaint::scheduler_settings& scheduler,
                                                          const std::optional<double>& eta);

} // namespace cli
