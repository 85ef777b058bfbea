#pragma once

#include <memory>
#include <string>

#include <repaint/io/mapped_file.hpp>
#include <repaint/io/stored_tensor.hpp>

namespace repaint {

/// Reads the named tensors of a checkpoint, whatever of the accepted formats it is in: safetensors, an index with its
/// files, or what torch.save wrote. The content decides, not the name. A prefix that all names carry is
/// stripped, which the notes tell. Throws format_error.
checkpoint read_checkpoint(const std::shared_ptr<const mapped_file>& file);

/// The same for a file by name, which it maps.
checkpoint read_checkpoint(const std::string& path);

} // namespace repaint

#ifndef REPAINT_COMPILED
#include <repaint/io/checkpoint.ipp>
#endif
