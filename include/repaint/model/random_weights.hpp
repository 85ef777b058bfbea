#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include <repaint/core/host_weights.hpp>
#include <repaint/core/text.hpp>
#include <repaint/model/diffusion_model.hpp>
#include <repaint/model/presets.hpp>
#include <repaint/model/unet.hpp>
#include <repaint/model/weight_map.hpp>

namespace repaint {

/// Untrained weights of one tensor. Convolutions, linear layers and label embeddings are normal with standard deviation
/// 1 / sqrt(in * kernel rows * kernel columns), so that activations neither vanish nor explode. A vector called
/// "...weight" (gamma of a norm) is ones; any other vector (beta, bias) is normal with standard deviation 0.01. The
/// values depend on seed, name and shape alone.
host_weights random_weights(std::uint64_t seed, std::string_view name, const shape4& shape);

/// A model without a checkpoint: random_weights in the architecture of a preset, for measuring and testing. Its
/// pictures mean nothing, but it takes the time and memory of a trained model. Tensors are made and packed one at a
/// time. Throws shape_error when the preset's attention heads do not divide its channels.
template <network_backend B>
[[nodiscard]] diffusion_model<B> random_model(B& b, const model_preset& preset,
                                              const diffusion_settings& diffusion = {}, std::uint64_t seed = 0) {
    model_description about;
    about.family = "guided-diffusion U-Net";
    about.format = "random weights";
    about.image_size = preset.image_size;
    about.schedule = joined_text({diffusion.training.size(), " steps"});
    about.remarks = {joined_text({"preset ", preset.name, " with random weights of seed ", seed})};
    weight_map weights([&](const std::string& name, const shape4& shape) {
        ++about.tensors;
        about.parameters += shape.size();
        return random_weights(seed, name, shape);
    });
    unet<B> network(b, preset.network, weights);
    return {std::move(network), diffusion, std::move(about)};
}

} // namespace repaint

#ifndef REPAINT_COMPILED
#include <repaint/model/random_weights.ipp>
#endif
