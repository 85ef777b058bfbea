#pragma once

#include <map>
#include <memory>
#include <string>

#include <repaint/io/mapped_file.hpp>
#include <repaint/io/stored_tensor.hpp>

namespace repaint {

/// Reads a safetensors file. The tensors point into the file's mapping. Everything the format demands is checked: exact
/// sizes, no holes, no overlaps, no bytes left over, no name twice. Throws format_error.
checkpoint read_safetensors(const std::shared_ptr<const mapped_file>& file);

/// The same for a file by name, which it maps.
checkpoint read_safetensors(const std::string& path);

/// Reads the files that a *.safetensors.index.json names: {"weight_map": {tensor: file}}. The files must lie beside the
/// index (or, for a link into a download cache, beside the file it links to), and every listed tensor must be in the
/// file named for it. `read` reads one of them. Throws format_error.
checkpoint read_safetensors_index(const std::string& path,
                                  checkpoint (*read)(const std::shared_ptr<const mapped_file>&) = read_safetensors);

/// Writes tensors (of any rank, contiguous) and metadata as a safetensors file, complete or not at all. The same input
/// gives the same bytes: the largest elements come first, then the order is by name, as the format recommends.
/// Throws std::invalid_argument for what read_safetensors would refuse (names that are not UTF-8 or over 256 bytes,
/// more than 8 axes) and for tensors with gaps, repaint::error when the disk refuses.
void write_safetensors(const std::string& path, const std::map<std::string, stored_tensor>& tensors,
                       const std::map<std::string, std::string>& metadata = {});

} // namespace repaint

#ifndef REPAINT_COMPILED
#include <repaint/io/safetensors.ipp>
#endif
