#pragma once

// Everything but the backends and the picture files: <repaint/backend/reference.hpp> and <repaint/image/codecs.hpp> bring
// third-party headers with them, this one brings none.

#include <repaint/concepts.hpp>
#include <repaint/core/arena.hpp>
#include <repaint/core/host_tensor.hpp>
#include <repaint/core/host_weights.hpp>
#include <repaint/core/options.hpp>
#include <repaint/core/shape.hpp>
#include <repaint/diffusion/beta_schedule.hpp>
#include <repaint/diffusion/conditioner.hpp>
#include <repaint/diffusion/diffusers_loop.hpp>
#include <repaint/diffusion/float_schedule.hpp>
#include <repaint/diffusion/jump_schedule.hpp>
#include <repaint/diffusion/monai_loop.hpp>
#include <repaint/diffusion/noise.hpp>
#include <repaint/diffusion/noise_schedule.hpp>
#include <repaint/diffusion/process.hpp>
#include <repaint/diffusion/sampler.hpp>
#include <repaint/diffusion/scheduler_loop.hpp>
#include <repaint/diffusion/scheduler_settings.hpp>
#include <repaint/diffusion/step.hpp>
#include <repaint/diffusion/timestep_spec.hpp>
#include <repaint/error.hpp>
#include <repaint/inpainter.hpp>
#include <repaint/io/checkpoint.hpp>
#include <repaint/io/json.hpp>
#include <repaint/image/mask.hpp>
#include <repaint/io/npy.hpp>
#include <repaint/image/official_crop.hpp>
#include <repaint/image/picture.hpp>
#include <repaint/model/diffusion_model.hpp>
#include <repaint/model/load.hpp>
#include <repaint/model/presets.hpp>
#include <repaint/model/random_weights.hpp>
#include <repaint/model/unet.hpp>
#include <repaint/model/unet_config.hpp>
#include <repaint/ops.hpp>
#include <repaint/run_plan.hpp>
#include <repaint/unconditional_sampler.hpp>
#include <repaint/version.hpp>
