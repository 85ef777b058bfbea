#pragma once

#include <string>

#include <repaint/backend/cuda/cudnn.hpp>
#include <repaint/backend/cuda/device_problem.hpp>
#include <repaint/backend/cuda/matmul_plan.hpp>
#include <repaint/error.hpp>

namespace repaint {

/// Why no basic_cuda_backend can be made here, in a sentence: no driver, no device, no cuDNN, ...; empty when one can.
/// device: as CUDA counts them. For files that no CUDA compiler sees, too.
[[nodiscard]] inline std::string cuda_problem(int device = 0) {
    if (std::string problem = detail::cuda::device_problem(device); !problem.empty()) {
        return problem;
    }
    try {
        detail::cuda::check_cudnn_version();
        (void)detail::cuda::cublaslt();
    } catch (const device_error& missing) {
        return missing.what();
    }
    return {};
}

} // namespace repaint
