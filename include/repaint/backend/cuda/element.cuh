#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

#include <repaint/backend/cuda/runtime.cuh>
#include <repaint/core/options.hpp>

/// The types of activations, and sixteen bytes of them at a time.
namespace repaint::detail::cuda {

__device__ inline float to_float(float value) { return value; }
__device__ inline float to_float(__half value) { return __half2float(value); }
__device__ inline float to_float(__nv_bfloat16 value) { return __bfloat162float(value); }

/// Rounded to nearest, ties to even.
template <class T> __device__ T from_float(float value);
template <> __device__ inline float from_float<float>(float value) { return value; }
template <> __device__ inline __half from_float<__half>(float value) { return __float2half_rn(value); }
template <> __device__ inline __nv_bfloat16 from_float<__nv_bfloat16>(float value) {
    return __float2bfloat16_rn(value);
}

/// What one access of sixteen bytes moves.
template <class T> inline constexpr int vector_width = 16 / static_cast<int>(sizeof(T));

/// vector_width<T> neighbouring channels as floats.
template <class T> struct vector_of {
    float values[vector_width<T>];

    /// from: aligned to sixteen bytes.
    __device__ static vector_of load(const T* from) {
        struct alignas(16) sixteen_bytes {
            std::uint32_t words[4];
        };
        const sixteen_bytes raw = *reinterpret_cast<const sixteen_bytes*>(from);
        T elements[vector_width<T>];
        memcpy(static_cast<void*>(elements), &raw, sizeof raw);
        vector_of result;
        for (int i = 0; i < vector_width<T>; ++i) {
            result.values[i] = to_float(elements[i]);
        }
        return result;
    }

    /// to: aligned to sixteen bytes.
    __device__ void store(T* to) const {
        struct alignas(16) sixteen_bytes {
            std::uint32_t words[4];
        };
        T elements[vector_width<T>];
        for (int i = 0; i < vector_width<T>; ++i) {
            elements[i] = from_float<T>(values[i]);
        }
        sixteen_bytes raw;
        memcpy(&raw, elements, sizeof raw);
        *reinterpret_cast<sixteen_bytes*>(to) = raw;
    }
};

/// 1 / (1 + exp(-x)), by the device's short exp where there is one: a relative error of a few times 1e-7 as long as the
/// result is far above the smallest float.
__device__ inline float sigmoid(float x) {
#if defined(__CUDA_ARCH__)
    return __fdividef(1.0F, 1.0F + __expf(-x));
#else
    return 1.0F / (1.0F + std::exp(-x));
#endif
}

__device__ inline float activated(activation f, float x) {
    switch (f) {
    case activation::silu: return x * sigmoid(x);
    case activation::relu: return x > 0.0F ? x : 0.0F;
    default: return x;
    }
}

/// f'(x) dy
__device__ inline float activated_vjp(activation f, float x, float dy) {
    switch (f) {
    case activation::silu: {
        const float s = sigmoid(x);
        return dy * s * (1.0F + x * (1.0F - s));
    }
    case activation::relu: return x > 0.0F ? dy : 0.0F;
    default: return dy;
    }
}

} // namespace repaint::detail::cuda
