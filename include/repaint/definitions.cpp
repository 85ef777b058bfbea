// Everything of repaint::repaint that is no template, compiled once: see config.hpp. The CMake targets compile this
// file for whatever links them; another build system does the same, or leaves REPAINT_COMPILED undefined.
#ifndef REPAINT_COMPILED
#define REPAINT_COMPILED
#endif
#include <repaint/config.hpp>
#undef REPAINT_INLINE                               // which a precompiled header may have seen already
#if defined(__clang__) // which leaves out the complete-object constructors of an inline one that is `used`
#define REPAINT_INLINE __attribute__((weak))
#else
#define REPAINT_INLINE inline __attribute__((used)) // weak: a program and its libraries may each have a copy
#endif

#include <repaint/core/arena.ipp>
#include <repaint/core/host_tensor.ipp>
#include <repaint/core/shape.ipp>
#include <repaint/core/step_values.ipp>
#include <repaint/core/text.ipp>
#include <repaint/core/value_range.ipp>
#include <repaint/diffusion/betas.ipp>
#include <repaint/diffusion/class_guidance.ipp>
#include <repaint/diffusion/jump_schedule.ipp>
#include <repaint/diffusion/noise.ipp>
#include <repaint/diffusion/planning.ipp>
#include <repaint/diffusion/process.ipp>
#include <repaint/diffusion/run_options.ipp>
#include <repaint/diffusion/sampler.ipp>
#include <repaint/diffusion/sampling_run.ipp>
#include <repaint/diffusion/systems/diffusers.ipp>
#include <repaint/diffusion/systems/monai.ipp>
#include <repaint/diffusion/tables.ipp>
#include <repaint/diffusion/timesteps.ipp>
#include <repaint/diffusion/torch_cuda_generator.ipp>
#include <repaint/diffusion/torch_generator.ipp>
#include <repaint/evaluation/comparison.ipp>
#include <repaint/evaluation/diversity.ipp>
#include <repaint/evaluation/lpips.ipp>
#include <repaint/evaluation/mean_interval.ipp>
#include <repaint/evaluation/psnr.ipp>
#include <repaint/evaluation/ssim.ipp>
#include <repaint/image/mask.ipp>
#include <repaint/image/mask_canvas.ipp>
#include <repaint/image/official_crop.ipp>
#include <repaint/image/picture.ipp>
#include <repaint/image/pixels.ipp>
#include <repaint/inpainter.ipp>
#include <repaint/io/atomic_file.ipp>
#include <repaint/io/bytes.ipp>
#include <repaint/io/checkpoint.ipp>
#include <repaint/io/json.ipp>
#include <repaint/io/json_reader.ipp>
#include <repaint/io/mapped_file.ipp>
#include <repaint/io/new_weights.ipp>
#include <repaint/io/npy.ipp>
#include <repaint/io/pickle.ipp>
#include <repaint/io/safetensors.ipp>
#include <repaint/io/stored_tensor.ipp>
#include <repaint/io/torch_checkpoint.ipp>
#include <repaint/io/zip_archive.ipp>
#include <repaint/model/block_names.ipp>
#include <repaint/model/checkpoint_names.ipp>
#include <repaint/model/classifier.ipp>
#include <repaint/model/common_settings.ipp>
#include <repaint/model/diffusers.ipp>
#include <repaint/model/folded_weights.ipp>
#include <repaint/model/guided_classifier.ipp>
#include <repaint/model/guided_diffusion.ipp>
#include <repaint/model/load.ipp>
#include <repaint/model/model_folder.ipp>
#include <repaint/model/monai.ipp>
#include <repaint/model/presets.ipp>
#include <repaint/model/published.ipp>
#include <repaint/model/random_weights.ipp>
#include <repaint/model/settings.ipp>
#include <repaint/model/timestep_embedding.ipp>
#include <repaint/model/unet_config.ipp>
#include <repaint/model/weight_map.ipp>
