#pragma once

#include <optional>
#include <string>
#include <vector>

namespace repaint {

/// The files of a model that a path leads to. There are always weights; every other file may be missing.
struct model_location {
    std::string weights;
    std::optional<std::string> network = std::nullopt;   ///< diffusers' config.json
    std::optional<std::string> scheduler = std::nullopt; ///< diffusers' scheduler_config.json
    std::optional<std::string> pipeline = std::nullopt;  ///< diffusers' model_index.json
    std::vector<std::string> bundle = {};                ///< configurations of a MONAI bundle
    std::vector<std::string> remarks = {};               ///< what people should know: which variant was chosen
};

/// Finds the files of a model. given: a file of weights, whose folder is searched for settings; or a folder (also by
/// its config.json or model_index.json) that diffusers' save_pretrained wrote, that is a MONAI bundle, or that holds
/// one file of weights. No file is read. Throws format_error when a folder holds no weights.
model_location locate_model(const std::string& given);

} // namespace repaint

#ifndef REPAINT_COMPILED
#include <repaint/model/model_folder.ipp>
#endif
