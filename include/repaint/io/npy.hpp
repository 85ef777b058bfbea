#pragma once

#include <string>

#include <repaint/core/host_tensor.hpp>
#include <repaint/io/mapped_file.hpp>
#include <repaint/io/stored_tensor.hpp>

namespace repaint {

/// An array and the type of its elements in the file.
struct npy_array {
    host_tensor values;
    dtype type = dtype::f32;
};

/// Reads a NumPy array of 1 to 4 dimensions as float32. Missing dimensions are ones in front: (3, h, w) becomes (1, 3,
/// h, w). Accepted are float16, float32, float64, integers and bool of either byte order, in C or Fortran order. Values
/// are converted, not scaled. Throws format_error.
npy_array read_npy_array(const mapped_file& file);

/// The values that read_npy_array reads. Throws format_error.
host_tensor read_npy(const mapped_file& file);

/// Maps the .npy file at `path` and reads it as above. Throws format_error.
host_tensor read_npy(const std::string& path);

/// Writes a tensor as a four-dimensional little-endian .npy file (version 1.0, C order, data aligned to 64 bytes) of
/// float32, or of uint8 or uint16, to which values are rounded and clamped. The file appears complete or not at all.
/// Throws repaint::error naming the path and the system's reason, std::invalid_argument for another type.
void write_npy(const std::string& path, const host_tensor& tensor, dtype type = dtype::f32);

} // namespace repaint

#ifndef REPAINT_COMPILED
#include <repaint/io/npy.ipp>
#endif
