#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <utility>

#include <repaint/backend/dry.hpp>
#include <repaint/io/checkpoint.hpp>
#include <repaint/io/json.hpp>
#include <repaint/model/diffusion_model.hpp>
#include <repaint/model/guided_diffusion.hpp>
#include <repaint/model/weight_map.hpp>

namespace repaint {

/// The files a model is made of.
struct model_files {
    /// .safetensors, its .index.json, or .pt
    std::filesystem::path weights;
    /// JSON with the official keys; not given: the .json beside the weights with the same name, if there is one
    std::optional<std::filesystem::path> config;

    model_files(std::filesystem::path file) : weights(std::move(file)) {} // NOLINT: a path alone is the usual case
    model_files(const char* file) : weights(file) {}                      // NOLINT
    model_files(std::filesystem::path file, std::optional<std::filesystem::path> json)
        : weights(std::move(file)), config(std::move(json)) {}
};

/// A model that has been read and checked, but is on no backend yet.
struct opened_model {
    checkpoint file;
    unet_config network;
    diffusion_settings diffusion;
    model_description description;
};

/// Opens a model: reads the headers, infers the architecture and checks every tensor's name and shape. The weights
/// themselves stay mapped, unread. Throws format_error with the file, the place and what is accepted.
/// (A template only so that a program that never opens a model does not compile a network for dry_backend.)
template <network_backend Dry = dry_backend> [[nodiscard]] opened_model open_model(const model_files& files) {
    checkpoint file = read_checkpoint(files.weights);
    auto config = files.config;
    if (!config) {
        auto beside = files.weights;
        beside.replace_extension(".json");
        std::error_code none;
        if (beside != files.weights && std::filesystem::is_regular_file(beside, none)) {
            config = beside;
        }
    }
    std::optional<json_value> settings;
    if (config) {
        settings = read_json(*config);
    }
    auto read = read_guided_diffusion(file, settings ? &*settings : nullptr);
    auto& about = read.description;
    if (config) {
        about.remarks.insert(about.remarks.begin(), "settings from " + config->string());
    }
    about.remarks.insert(about.remarks.end(), file.notes.begin(), file.notes.end());
    about.format = file.format;
    about.tensors = file.tensors.size();
    for (const auto& [name, tensor] : file.tensors) {
        about.parameters += static_cast<std::uint64_t>(tensor.numel());
    }

    // Building on dry_backend asks for every tensor by name and shape without reading one.
    Dry dry;
    weight_map names(file, weight_map::check_only);
    const unet<Dry> shape_of_it(dry, read.network, names);
    names.finish();
    return {std::move(file), std::move(read.network), std::move(read.diffusion), std::move(about)};
}

/// Packs the weights of an opened model on a backend.
template <network_backend B> [[nodiscard]] diffusion_model<B> load_model(B& b, const opened_model& opened) {
    weight_map weights(opened.file);
    return {unet<B>(b, opened.network, weights), opened.diffusion, opened.description};
}

/// Opens a model and packs its weights. Throws format_error as open_model.
template <network_backend B> [[nodiscard]] diffusion_model<B> load_model(B& b, const model_files& files) {
    return load_model(b, open_model(files));
}

} // namespace repaint
