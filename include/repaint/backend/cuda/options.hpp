#pragma once

#include <cstddef>
#include <filesystem>

namespace repaint {

/// Which device cuda_backend uses, and how.
struct cuda_options {
    int device = 0;                   ///< as CUDA counts them
    bool tf32 = false;                ///< T = float: factors of products may be rounded to ten bits after the point
    bool deterministic = true;        ///< false: also engines of cuDNN whose results may differ from run to run
    bool tune = false;                ///< measure the engines for each new shape, instead of taking the expected best
    bool libraries = true;            ///< false: nothing but this library's own kernels
    bool graphs = true;               ///< false: networks are enqueued kernel by kernel, not replayed as a CUDA graph
    std::filesystem::path plans = {}; ///< a file that keeps what was chosen; read at the start, written at the end
};

} // namespace repaint
