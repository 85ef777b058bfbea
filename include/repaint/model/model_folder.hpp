#pragma once

#include <optional>
#include <string>
#include <vector>

namespace repaint {

/// The files that a path stands for. Only `weights` need be there.
struct model_location {
    std::string weights;
    std::optional<std::string> network = std::nullopt;   ///< diffusers' config.json
    std::optional<std::string> scheduler = std::nullopt; ///< diffusers' scheduler_config.json
    std::optional<std::string> pipeline = std::nullopt;  ///< diffusers' model_index.json
    std::vector<std::string> bundle = {};                ///< a MONAI bundle's configurations
    std::vector<std::string> remarks = {};
};

/// Finds the files of a model: given a file of weights, the settings around it; given a folder, or a config.json or
/// model_index.json, what diffusers' save_pretrained, a MONAI bundle, or someone who put one file of weights into it
/// left there. Nothing is read. Throws format_error when a folder holds no weights.
model_location locate_model(const std::string& given);

} // namespace repaint

#ifndef REPAINT_COMPILED
#include <repaint/model/model_folder.ipp>
#endif
