#pragma once

#include <string>
#include <string_view>
#include <vector>

#include <repaint/model/unet_config.hpp>

namespace repaint {

/// An architecture with a name, to build a network without a checkpoint.
struct model_preset {
    std::string name;
    int image_size = 0; ///< rows and columns of the images it is made for
    unet_config network;
};

/// All presets: "guided-64", 9.3 M parameters, small enough for any backend; "imagenet-64", the published
/// class-conditional 64x64 network, 296 M; "guided-256", the published unconditional 256x256 network, 553 M (Dhariwal
/// and Nichol 2021).
std::vector<model_preset> model_presets();

/// The preset of that name. Throws std::invalid_argument, listing the names, when there is none.
model_preset find_preset(std::string_view name);

} // namespace repaint

#ifndef REPAINT_COMPILED
#include <repaint/model/presets.ipp>
#endif
