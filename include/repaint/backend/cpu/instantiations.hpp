#pragma once

#include <span>

#include <repaint/backend/cpu.hpp>
#include <repaint/config.hpp>
#include <repaint/diffusion/sampling_run.hpp>
#include <repaint/inpainter.hpp>
#include <repaint/model/attention_block.hpp>
#include <repaint/model/encoder.hpp>
#include <repaint/model/load.hpp>
#include <repaint/model/residual_block.hpp>
#include <repaint/model/timestep_embedding.hpp>
#include <repaint/model/unet.hpp>
#include <repaint/model/unet_denoiser.hpp>
#include <repaint/unconditional_sampler.hpp>

/// The templates that are instantiated for cpu_backend once: with REPAINT_COMPILED defined, files that include this
/// leave them to cpu/instantiations.cpp. Without it, this says nothing. Of cpu.hpp and repaint.hpp the one that a file
/// includes last brings this: cpu.hpp where REPAINT_FACADE is defined, repaint.hpp where REPAINT_CPU_BACKEND is.
#ifdef REPAINT_COMPILED
#define REPAINT_CPU_TEMPLATE extern template
#include <repaint/backend/cpu/instantiations.inl>
#undef REPAINT_CPU_TEMPLATE
#endif
