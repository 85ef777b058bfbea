#pragma once

#include <repaint/io/json.hpp>
#include <repaint/io/stored_tensor.hpp>
#include <repaint/model/family_model.hpp>

/// diffusers' UNet2DModel, as save_pretrained writes it. Blocks are read off names and shapes and checked against
/// config.json; config.json tells everything else about the network, scheduler_config.json how it was trained to
/// diffuse. A key that is not there has the default of the class.
namespace repaint {

/// The settings of a diffusers model. Each may be null.
struct diffusers_settings {
    const json_value* network = nullptr;   ///< config.json
    const json_value* scheduler = nullptr; ///< scheduler_config.json
    const json_value* given = nullptr;     ///< keys of both that come before those of the files
};

/// True when the names are those of a diffusers UNet2DModel.
bool is_diffusers(const checkpoint& file);

/// Reads the model off the weights and the settings. Throws format_error when the file is no UNet2DModel, when a
/// setting contradicts the tensors, or when a setting's value is not accepted.
family_model read_diffusers(const checkpoint& file, const diffusers_settings& from);

} // namespace repaint

#ifndef REPAINT_COMPILED
#include <repaint/model/diffusers.ipp>
#endif
