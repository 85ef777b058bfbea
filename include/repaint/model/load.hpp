#pragma once

#include <concepts>
#include <optional>
#include <string>
#include <utility>

#include <repaint/io/json.hpp>
#include <repaint/io/stored_tensor.hpp>
#include <repaint/model/diffusion_model.hpp>
#include <repaint/model/weight_map.hpp>

namespace repaint {

/// The files of a model.
struct model_files {
    /// A file of weights (.safetensors, its .index.json, .pt or .bin), or a folder of diffusers' or MONAI's
    /// (model_folder.hpp).
    std::string weights;
    /// A JSON file with the keys of the model's family; they come before those of a diffusers folder. When it is not
    /// given, the .json with the name of the weights is read, if there is one.
    std::optional<std::string> config;
    /// The keys of `config` as values. When they are given, no JSON file is read for them.
    std::optional<json_value> settings = std::nullopt;
    /// Which network of a file that has several: part of what stands before its tensors' names ("model", "ema"). Empty:
    /// averaged weights where there are any (locate_network).
    std::string entry = {};

    /// The weights alone: a string, or what converts to one, such as std::filesystem::path.
    template <class Path>
    requires std::convertible_to<Path, std::string> model_files(Path&& file)
        : weights(std::forward<Path>(file)) {} // NOLINT

    model_files(std::string file, std::optional<std::string> json)
        : weights(std::move(file)), config(std::move(json)) {}
};

/// A model that has been read and checked and is not on a backend yet.
struct opened_model {
    checkpoint file;
    unet_config network;
    diffusion_settings diffusion;
    model_description description;
    name_map names; ///< the names that the file gives to the network's tensors
};

/// Opens a model: reads the headers of its files, infers the architecture, and checks the name and shape of every
/// tensor. The weights stay in their file, unread. Throws format_error with the file, the place in it and what is
/// accepted.
[[nodiscard]] opened_model open_model(const model_files& files);

/// Packs the weights of an opened model on a backend.
template <tensor_backend B> [[nodiscard]] diffusion_model<B> load_model(B& b, const opened_model& opened) {
    weight_map weights(opened.file, opened.names);
    return {unet<B>(b, opened.network, weights), opened.diffusion, opened.description};
}

/// Opens a model and packs its weights. Throws format_error as open_model.
template <tensor_backend B> [[nodiscard]] diffusion_model<B> load_model(B& b, const model_files& files) {
    return load_model(b, open_model(files));
}

/// Stands in for a backend that lacks a primitive: the compiler names the primitive, and goes on.
template <class B>
requires(!network_backend<B>) diffusion_model<B> load_model(B&, const model_files&) { return {}; }

} // namespace repaint

#ifndef REPAINT_COMPILED
#include <repaint/model/load.ipp>
#endif
