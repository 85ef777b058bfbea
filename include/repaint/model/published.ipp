#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <stdexcept>
#include <string>
#include <string_view>

#include <repaint/config.hpp>
#include <repaint/core/text.hpp>
#include <repaint/model/published.hpp>
#include <repaint/model/unet_config.hpp>

namespace repaint {

namespace detail {

REPAINT_COLD const published_network* find_published(const unet_config& config) {
    for (const auto& candidate : published_networks) {
        std::array<int, 7> channels{};
        for (std::size_t i = 0; i < std::min(config.levels.size(), channels.size()); ++i) {
            channels[i] = config.levels[i].channels;
        }
        if (config.levels.size() <= channels.size() && channels == candidate.channels &&
            config.model_channels == candidate.model_channels && config.res_blocks == candidate.res_blocks &&
            config.resblock_updown && config.scale_shift_norm) {
            return &candidate;
        }
    }
    return nullptr;
}

REPAINT_COLD unet_config published_config(std::string_view name, int classes) {
    const auto from = std::find_if(published_networks.begin(), published_networks.end(),
                                   [name](const published_network& candidate) { return candidate.name == name; });
    if (from == published_networks.end()) {
        throw std::invalid_argument(joined_text({"there is no published network ", std::string(name)}));
    }
    unet_config network;
    network.model_channels = from->model_channels;
    for (int rows = from->image_size; const int channels : from->channels) {
        if (channels > 0) {
            network.levels.push_back({channels, rows <= 32});
        }
        rows /= 2;
    }
    network.res_blocks = from->res_blocks;
    network.heads = from->heads;
    network.head_channels = from->head_channels;
    network.order = from->order;
    network.resblock_updown = true;
    network.classes = classes;
    return network;
}

} // namespace detail

} // namespace repaint
