#pragma once

#include <memory>

#include <repaint/core/shape.hpp>

namespace repaint {

/// Weights on the host, contiguous float32, on their way to a backend's pack functions.
/// shape: (out, in, kernel rows, kernel columns) of a convolution, (out, in, 1, 1) of a linear layer, (n, 1, 1, 1) of a
/// vector. values either points into a memory-mapped checkpoint or at a converted copy and keeps it alive; it is null
/// when only the shape is known, which is all that dry_backend needs.
struct host_weights {
    shape4 shape;
    std::shared_ptr<const float> values;
};

} // namespace repaint
