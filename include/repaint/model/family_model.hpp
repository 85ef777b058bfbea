#pragma once

#include <repaint/diffusion/process.hpp>
#include <repaint/model/model_description.hpp>
#include <repaint/model/unet_config.hpp>
#include <repaint/model/weight_map.hpp>

namespace repaint {

/// What a checkpoint and its configuration say about a model. Every family of checkpoints (guided-diffusion, diffusers,
/// MONAI) has a reader in a file of its own, and every reader returns this; the network is always the one `unet`.
struct family_model {
    unet_config network;
    diffusion_settings diffusion;
    model_description description;
    name_map names; ///< what the file calls the network's tensors; empty: the file's names are the network's
};

} // namespace repaint
