#pragma once

#include <string>
#include <string_view>

#include <repaint/io/stored_tensor.hpp>

namespace repaint {

/// The tensors of one network of a checkpoint, under the names that the network itself gives them. The network may lie
/// under any prefix, beside others, optimizer states and buffers. Of several, averaged (EMA) weights come first, then
/// what has most tensors; `wanted`, part of a prefix such as "model" or "state_dict.ema", chooses another. The notes
/// tell what was taken, what else was there, and what was left out. A checkpoint without a known network loses the
/// prefix that all its names carry, and nothing else. Throws format_error, which lists the networks, when none lies
/// under `wanted`.
checkpoint locate_network(checkpoint file, std::string_view wanted = {});

} // namespace repaint

#ifndef REPAINT_COMPILED
#include <repaint/model/network_location.ipp>
#endif
