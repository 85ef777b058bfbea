#pragma once

#include <cmath>

/// Before functions that run on the host and inside CUDA kernels alike.
#if defined(__CUDACC__)
#define REPAINT_HOST_DEVICE __host__ __device__
#else
#define REPAINT_HOST_DEVICE
#endif

namespace repaint::detail {

/// a * b + c, rounded twice inside kernels whatever nvcc is told about fusing: the bits of a host that does not fuse,
/// such as x86-64 without further options. Elsewhere as the compiler likes.
REPAINT_HOST_DEVICE inline float multiply_add(float a, float b, float c) {
#if defined(__CUDA_ARCH__)
    return __fadd_rn(__fmul_rn(a, b), c);
#else
    return a * b + c;
#endif
}

/// Correctly rounded, inside kernels too.
REPAINT_HOST_DEVICE inline float square_root(float x) {
#if defined(__CUDA_ARCH__)
    return __fsqrt_rn(x);
#else
    return std::sqrt(x);
#endif
}

} // namespace repaint::detail
