#pragma once

#include <repaint/io/json.hpp>
#include <repaint/io/stored_tensor.hpp>
#include <repaint/model/family_model.hpp>

/// MONAI's DiffusionModelUNet for images: of GenerativeModels 0.1 and 0.2, and of MONAI since 1.4. Blocks are read off
/// names and shapes. Heads, groups, the schedule and the range of the data come from a JSON with the keys of the class,
/// flat or under a bundle's network_def and scheduler.
namespace repaint {

namespace detail {

/// The object in a bundle's configuration that describes the network; null when there is none.
const json_value* bundle_network(const json_value& root);

} // namespace detail

/// True when the names are those of a MONAI DiffusionModelUNet.
bool is_monai(const checkpoint& file);

/// Reads the model off a checkpoint and a JSON. settings: null when there is no JSON. Throws format_error when the file
/// is no DiffusionModelUNet, when a setting contradicts the tensors, or when a setting's value is not accepted.
family_model read_monai(const checkpoint& file, const json_value* settings);

} // namespace repaint

#ifndef REPAINT_COMPILED
#include <repaint/model/monai.ipp>
#endif
