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

/// Maps the safetensors file at `path` and reads it as above. Throws format_error.
checkpoint read_safetensors(const std::string& path);

/// Reads the files that a *.safetensors.index.json names: {"weight_map": {tensor: file}}. The files must lie beside the
/// index (or, for a link into a download cache, beside the file it links to), and every listed tensor must be in the
/// file named for it. `read` reads one of the files. Throws format_error.
checkpoint read_safetensors_index(const std::string& path,
                                  checkpoint (*read)(const std::shared_ptr<const mapped_file>&) = read_safetensors);

/// Writes tensors (of any rank, contiguous) and metadata as a safetensors file. The file appears complete or not at
/// all, and equal input gives equal bytes: tensors are ordered by the size of an element, largest first, then by name,
/// as the format recommends. Throws std::invalid_argument for what read_safetensors would refuse (names that are not
/// UTF-8 or over 256 bytes, more than 8 axes) and for tensors with gaps, repaint::error when the system refuses.
void write_safetensors(const std::string& path, const std::map<std::string, stored_tensor>& tensors,
                       const std::map<std::string, std::string>& metadata = {});

} // namespace repaint

#ifndef REPAINT_COMPILED
#include <repaint/io/safetensors.ipp>
#endif
