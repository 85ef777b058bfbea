#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include <repaint/core/host_weights.hpp>
#include <repaint/diffusion/philox.hpp>
#include <repaint/model/diffusion_model.hpp>
#include <repaint/model/presets.hpp>
#include <repaint/model/unet.hpp>
#include <repaint/model/weight_map.hpp>

namespace repaint {

namespace detail {

/// FNV-1a: unlike std::hash the same number everywhere.
constexpr std::uint64_t hash_of(std::string_view name) {
    std::uint64_t hash = 0xCBF29CE484222325U;
    for (const char c : name) {
        hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001B3U;
    }
    return hash;
}

} // namespace detail

/// Weights that nobody trained, of one tensor. Convolutions, linear layers and label embeddings: normal with standard
/// deviation 1 / sqrt(in * kernel rows * kernel columns), so that activations neither vanish nor explode. A vector
/// called "...weight" (gamma of a norm): ones; any other vector (beta, bias): normal with standard deviation 0.01. The
/// values depend on seed, name and shape alone.
inline host_weights random_weights(std::uint64_t seed, std::string_view name, const shape4& shape) {
    const std::size_t count = shape.size();
    const std::shared_ptr<float[]> values(new float[count]);
    const std::span<float> all(values.get(), count);
    const std::size_t fan_in = static_cast<std::size_t>(shape.c) * shape.plane();
    const bool vector = fan_in == 1;
    if (vector && name.ends_with("weight")) {
        std::fill(all.begin(), all.end(), 1.0F);
    } else {
        const float deviation = vector ? 0.01F : 1.0F / std::sqrt(static_cast<float>(fan_in));
        philox_normal(seed, detail::hash_of(name), all);
        for (float& value : all) {
            value *= deviation;
        }
    }
    return {shape, std::shared_ptr<const float>(values, values.get())};
}

/// A model without a checkpoint: random_weights in the architecture of a preset, for measuring and testing. What it
/// makes of a picture means nothing, what it costs is what a trained one costs. One tensor at a time is made and
/// packed.
/// Throws shape_error when the preset's attention heads do not divide its channels.
template <network_backend B>
[[nodiscard]] diffusion_model<B> random_model(B& b, const model_preset& preset,
                                              const diffusion_settings& diffusion = {}, std::uint64_t seed = 0) {
    model_description about;
    about.family = "guided-diffusion U-Net";
    about.format = "random weights";
    about.image_size = preset.image_size;
    about.schedule = std::to_string(diffusion.training.size()) + " steps";
    about.remarks = {"preset " + preset.name + " with random weights of seed " + std::to_string(seed)};
    weight_map weights([&](const std::string& name, const shape4& shape) {
        ++about.tensors;
        about.parameters += shape.size();
        return random_weights(seed, name, shape);
    });
    unet<B> network(b, preset.network, weights);
    return {std::move(network), diffusion, std::move(about)};
}

} // namespace repaint
