#pragma once

#include <memory>
#include <string>

#include <repaint/io/mapped_file.hpp>
#include <repaint/io/stored_tensor.hpp>

namespace repaint {

/// Reads the tensors of a file that torch.save wrote, in either of its formats, as views into the file's mapping that
/// honour shared storages, offsets and strides. The names of tensors in nested dictionaries and lists are joined with dots.
/// Nothing of the file is executed: a small pickle reader knows what a state_dict needs, and what other names build is
/// left out, which the notes tell. Throws format_error.
checkpoint read_torch_checkpoint(const std::shared_ptr<const mapped_file>& file);

/// Maps the file at `path` and reads it as above. Throws format_error.
checkpoint read_torch_checkpoint(const std::string& path);

} // namespace repaint

#ifndef REPAINT_COMPILED
#include <repaint/io/torch_checkpoint.ipp>
#endif
