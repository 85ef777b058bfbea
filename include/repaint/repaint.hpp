#pragma once

// Everything but the backends, the picture files and evaluation: <repaint/backend/cpu.hpp> and its siblings bring the
// kernels, <repaint/image/codecs.hpp> brings libpng and TurboJPEG, <repaint/evaluation/...> is included by who measures,
// <repaint/diffusion/class_guidance.hpp> by who guides. This header brings no third-party one.

// First, so that a compiler reaches what a backend lacks by the shortest way, and says so in the fewest lines.
#include <repaint/model/diffusion_model.hpp>

#include <repaint/concepts.hpp>
#include <repaint/config.hpp>
#include <repaint/core/host_tensor.hpp>
#include <repaint/core/host_weights.hpp>
#include <repaint/core/options.hpp>
#include <repaint/core/shape.hpp>
#include <repaint/core/step_values.hpp>
#include <repaint/core/text.hpp>
#include <repaint/core/value_range.hpp>
#include <repaint/diffusion/betas.hpp>
#include <repaint/diffusion/conditioner.hpp>
#include <repaint/diffusion/interfaces.hpp>
#include <repaint/diffusion/jump_schedule.hpp>
#include <repaint/diffusion/noise.hpp>
#include <repaint/diffusion/planning.hpp>
#include <repaint/diffusion/process.hpp>
#include <repaint/diffusion/run_options.hpp>
#include <repaint/diffusion/run_plan.hpp>
#include <repaint/diffusion/sampler.hpp>
#include <repaint/diffusion/sampling_run.hpp>
#include <repaint/diffusion/systems.hpp>
#include <repaint/diffusion/tables.hpp>
#include <repaint/diffusion/timesteps.hpp>
#include <repaint/error.hpp>
#include <repaint/image/mask.hpp>
#include <repaint/image/official_crop.hpp>
#include <repaint/image/picture.hpp>
#include <repaint/inpainter.hpp>
#include <repaint/io/checkpoint.hpp>
#include <repaint/io/json.hpp>
#include <repaint/io/npy.hpp>
#include <repaint/model/load.hpp>
#include <repaint/model/presets.hpp>
#include <repaint/model/random_weights.hpp>
#include <repaint/model/unet.hpp>
#include <repaint/model/unet_config.hpp>
#include <repaint/model/unet_denoiser.hpp>
#include <repaint/ops.hpp>
#include <repaint/unconditional_sampler.hpp>
#include <repaint/version.hpp>

// Last: what repaint::cpu has compiled already, when cpu_backend was included before.
#define REPAINT_FACADE
#if defined(REPAINT_COMPILED) && defined(REPAINT_CPU_BACKEND)
#include <repaint/backend/cpu/instantiations.hpp>
#endif
