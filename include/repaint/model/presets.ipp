#pragma once

#include <algorithm>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <repaint/config.hpp>
#include <repaint/model/guided_diffusion.hpp>
#include <repaint/model/presets.hpp>
#include <repaint/model/unet_config.hpp>

namespace repaint {

namespace detail {

/// A published network as a preset. All of them attend at 32, 16 and 8 rows, and learn the variance.
inline model_preset published_preset(std::string name, std::string_view published, int classes) {
    const published_network& from =
        *std::find_if(published_networks.begin(), published_networks.end(),
                      [&](const published_network& candidate) { return candidate.name == published; });
    unet_config network;
    network.model_channels = from.model_channels;
    for (int rows = from.image_size; const int channels : from.channels) {
        if (channels > 0) {
            network.levels.push_back({channels, rows <= 32});
        }
        rows /= 2;
    }
    network.res_blocks = from.res_blocks;
    network.heads = from.heads;
    network.head_channels = from.head_channels;
    network.order = from.order;
    network.resblock_updown = true;
    network.classes = classes;
    return {std::move(name), from.image_size, std::move(network)};
}

} // namespace detail

REPAINT_INLINE std::vector<model_preset> model_presets() {
    unet_config small;
    small.model_channels = 64;
    small.levels = {{64, false}, {128, false}, {128, true}, {128, true}};
    small.scale_shift_norm = false;
    return {{"guided-64", 64, small},
            detail::published_preset("imagenet-64", "64x64", 1000),
            detail::published_preset("guided-256", "256x256", 0)};
}

REPAINT_INLINE model_preset find_preset(std::string_view name) {
    std::string names;
    for (auto& preset : model_presets()) {
        if (preset.name == name) {
            return std::move(preset);
        }
        names += (names.empty() ? "" : ", ") + preset.name;
    }
    throw std::invalid_argument("there is no preset " + std::string(name) + ", the presets are: " + names);
}

} // namespace repaint
