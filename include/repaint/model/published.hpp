#pragma once

#include <array>
#include <string_view>

#include <repaint/model/unet_config.hpp>

/// The published guided-diffusion networks. Their checkpoints do not hold the heads of their attention, so the readers
/// recognise them by their shape; the presets build two of them without a checkpoint.
namespace repaint {

namespace detail {

/// A network of openai/guided-diffusion's README or of RePaint's configurations. All of them resample in residual
/// blocks, scale and shift the second norm, and attend where an image has 32, 16 and 8 rows.
struct published_network {
    const char* name;            ///< "256x256"
    int image_size;              ///< rows and columns
    int model_channels;          ///< width of the timestep's sinusoids
    int res_blocks;              ///< per level
    std::array<int, 7> channels; ///< of each level, from full resolution down; zeros at the end
    int heads;
    int head_channels; ///< 0: heads counts
    qkv_order order;
};

inline constexpr std::array published_networks{
    published_network{"512x512", 512, 256, 2, {128, 256, 256, 512, 512, 1024, 1024}, 4, 64, qkv_order::per_head},
    published_network{"256x256", 256, 256, 2, {256, 256, 512, 512, 1024, 1024, 0}, 4, 64, qkv_order::per_head},
    published_network{"128x128", 128, 256, 2, {256, 256, 512, 768, 1024, 0, 0}, 4, 0, qkv_order::per_head},
    published_network{"64x64", 64, 192, 3, {192, 384, 576, 768, 0, 0, 0}, 4, 64, qkv_order::grouped}};

/// The published network that has this architecture; null when there is none.
const published_network* find_published(const unet_config& config);

/// The architecture of the published network `name`, with learned variance. classes: 0 for an unconditional network.
/// Throws std::invalid_argument when no published network has that name.
unet_config published_config(std::string_view name, int classes);

} // namespace detail

} // namespace repaint

#ifndef REPAINT_COMPILED
#include <repaint/model/published.ipp>
#endif
