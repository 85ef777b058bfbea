#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include <repaint/io/stored_tensor.hpp>

/// Questions about the names and shapes of a checkpoint's tensors, from which the readers of all families infer an
/// architecture.
namespace repaint {

namespace detail {

/// The most levels of a U-Net that a reader accepts: a file that claims more is damaged or hostile.
inline constexpr int most_levels = 12;

/// The extents of the tensor `name`. Throws format_error, naming file and tensor, when the tensor is missing, has not
/// `rank` axes, or has an extent outside 1 to 1048576. `family` completes "a <family> needs a tensor <name>".
std::vector<int> required_shape(const checkpoint& file, const std::string& name, std::size_t rank,
                                std::string_view family = "guided-diffusion U-Net");

/// True when the file has a tensor of that name.
bool has_tensor(const checkpoint& file, const std::string& name);

/// True when the name of at least one tensor starts with `start`.
bool has_prefix(const checkpoint& file, const std::string& start);

/// The number of consecutive blocks prefix.0, prefix.1, ... that have tensors.
int count_blocks(const checkpoint& file, const std::string& prefix);

/// "a.pt: its 12 tensors (the first is x)": the start of a sentence that says what the tensors are not.
std::string tensors_of(const checkpoint& file);

} // namespace detail

} // namespace repaint

#ifndef REPAINT_COMPILED
#include <repaint/model/checkpoint_names.ipp>
#endif
