#pragma once

#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <repaint/config.hpp>
#include <repaint/core/text.hpp>
#include <repaint/model/presets.hpp>
#include <repaint/model/published.hpp>
#include <repaint/model/unet_config.hpp>

namespace repaint {

REPAINT_COLD std::vector<model_preset> model_presets() {
    unet_config small;
    small.model_channels = 64;
    small.levels = {{64, false}, {128, false}, {128, true}, {128, true}};
    small.scale_shift_norm = false;
    return {{"guided-64", 64, small},
            {"imagenet-64", 64, detail::published_config("64x64", 1000)},
            {"guided-256", 256, detail::published_config("256x256", 0)}};
}

REPAINT_COLD model_preset find_preset(std::string_view name) {
    std::string names;
    for (auto& preset : model_presets()) {
        if (preset.name == name) {
            return std::move(preset);
        }
        names += (names.empty() ? "" : ", ") + preset.name;
    }
    throw std::invalid_argument(joined_text({"there is no preset ", std::string(name), ", the presets are: ", names}));
}

} // namespace repaint
