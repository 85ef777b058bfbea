#pragma once

#include <memory>
#include <string>

#include <repaint/io/mapped_file.hpp>
#include <repaint/io/stored_tensor.hpp>

namespace repaint {

/// Reads the named tensors of a checkpoint: a safetensors file, a *.safetensors.index.json with the files it names, or
/// what torch.save wrote. The content decides which it is, not the name. All tensors come with the names
/// they have there: locate_network finds a network among them. Throws format_error.
checkpoint read_checkpoint(const std::shared_ptr<const mapped_file>& file);

/// Maps the file at `path` and reads its tensors as above. Throws format_error.
checkpoint read_checkpoint(const std::string& path);

} // namespace repaint

#ifndef REPAINT_COMPILED
#include <repaint/io/checkpoint.ipp>
#endif
