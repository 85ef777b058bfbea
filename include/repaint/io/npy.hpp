#pragma once

#include <string>

#include <repaint/core/host_tensor.hpp>
#include <repaint/io/mapped_file.hpp>

namespace repaint {

/// Reads a NumPy array of 1 to 4 dimensions as float32. Missing dimensions are ones in front: (3, h, w) becomes (1, 3,
/// h, w). Accepted are little-endian float16, float32, float64, uint8, int32, int64 and bool, in C or Fortran order.
/// Values are converted, not scaled. Throws format_error.
host_tensor read_npy(const mapped_file& file);

/// Maps the .npy file at `path` and reads it as above. Throws format_error.
host_tensor read_npy(const std::string& path);

/// Writes a tensor as a four-dimensional little-endian float32 .npy file (version 1.0, C order, data aligned to 64
/// bytes). The file appears complete or not at all. Throws repaint::error naming the path and the system's reason.
void write_npy(const std::string& path, const host_tensor& tensor);

} // namespace repaint

#ifndef REPAINT_COMPILED
#include <repaint/io/npy.ipp>
#endif
