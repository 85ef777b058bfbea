#pragma once

#if !defined(REPAINT_CUDA_ON_HOST)
#include <cuda_runtime_api.h>
#endif

#include <string>

#include <repaint/error.hpp>

namespace repaint::detail::cuda {

/// "conv2d: cudaErrorName (what CUDA says about it)". CUDA itself forgets the error: the next launch would report it.
inline std::string status_text(cudaError_t status, const char* what) {
    (void)cudaGetLastError();
    return std::string(what) + ": " + cudaGetErrorName(status) + " (" + cudaGetErrorString(status) + ")";
}

/// Throws device_error with CUDA's own name for the reason. what: who asked for what.
inline void check(cudaError_t status, const char* what) {
    if (status != cudaSuccess) {
        throw device_error(status_text(status, what));
    }
}

} // namespace repaint::detail::cuda
