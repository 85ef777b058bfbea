#pragma once

#include <repaint/io/json.hpp>
#include <repaint/io/stored_tensor.hpp>
#include <repaint/model/family_model.hpp>

/// MONAI's DiffusionModelUNet for images: of GenerativeModels 0.1 and 0.2, and of MONAI since 1.4. Blocks are read off
/// names and shapes; heads, groups, the schedule and the range of the data from a JSON with that class's own keys, flat
/// or as a bundle's network_def and scheduler.
namespace repaint {

namespace detail {

const json_value* bundle_network(const json_value& root);

} // namespace detail

/// True when the names are those of a MONAI DiffusionModelUNet.
bool is_monai(const checkpoint& file);

/// Reads the model off a checkpoint and an optional JSON (`settings`, may be null). Throws format_error when the file is
/// no such network, when a setting contradicts it, or when a setting's value is not accepted.
family_model read_monai(const checkpoint& file, const json_value* settings);

} // namespace repaint

#ifndef REPAINT_COMPILED
#include <repaint/model/monai.ipp>
#endif
