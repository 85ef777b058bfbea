#pragma once

#include <repaint/io/json.hpp>
#include <repaint/io/stored_tensor.hpp>
#include <repaint/model/family_model.hpp>

/// diffusers' UNet2DModel, as save_pretrained writes it: blocks are read off names and shapes and checked against
/// config.json, which tells the rest; scheduler_config.json tells how it was trained to diffuse. Keys that are not there
/// have the defaults of that class.
namespace repaint {

/// What a diffusers folder says beside its weights; any may be null. The keys of `given` come before those of the files.
struct diffusers_settings {
    const json_value* network = nullptr;   ///< config.json
    const json_value* scheduler = nullptr; ///< scheduler_config.json
    const json_value* given = nullptr;
};

/// True when the names are those of a diffusers UNet2DModel.
bool is_diffusers(const checkpoint& file);

/// Reads the model off the weights and the settings beside them. Throws format_error when the file is no such network,
/// when a setting contradicts it, or when a setting's value is not accepted.
family_model read_diffusers(const checkpoint& file, const diffusers_settings& from);

} // namespace repaint

#ifndef REPAINT_COMPILED
#include <repaint/model/diffusers.ipp>
#endif
