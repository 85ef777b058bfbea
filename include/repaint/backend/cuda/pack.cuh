#pragma once

#include <cmath>
#include <cstddef>
#include <cstdio>
#include <span>
#include <string>
#include <type_traits>
#include <vector>

#include <repaint/backend/cuda/runtime.cuh>
#include <repaint/core/host_weights.hpp>
#include <repaint/core/shape.hpp>
#include <repaint/error.hpp>

/// Weights on their way to the device, still on the host: from float32 [out][in][row][column] to what kernels read,
/// which is T, [out][row][column][in].
namespace repaint::detail::cuda {

template <class T> inline constexpr const char* element_name = "float";
template <> inline constexpr const char* element_name<__half> = "half";
template <> inline constexpr const char* element_name<__nv_bfloat16> = "bfloat16";

/// value as T, to nearest, ties to even.
template <class T> T host_element(float value);
template <> inline float host_element<float>(float value) { return value; }
template <> inline __half host_element<__half>(float value) { return __float2half_rn(value); }
template <> inline __nv_bfloat16 host_element<__nv_bfloat16>(float value) { return __float2bfloat16_rn(value); }

inline float host_float(float value) { return value; }
inline float host_float(__half value) { return __half2float(value); }
inline float host_float(__nv_bfloat16 value) { return __bfloat162float(value); }

/// value as T. Throws format_error when it is finite and T has only an infinity for it. where: "(1, 2, 0, 0) of the
/// weights (8, 4, 3, 3)".
template <class T, class Where> T packed_element(float value, Where&& where) {
    const T result = host_element<T>(value);
    if (std::isfinite(value) && !std::isfinite(host_float(result))) {
        std::array<char, 32> number;
        std::snprintf(number.data(), number.size(), "%g", static_cast<double>(value));
        std::string text = "the value ";
        text += number.data();
        text += " at ";
        text += where();
        text += " is beyond the range of ";
        text += element_name<T>;
        text += std::is_same_v<T, __half> ? ": load this model in bfloat16 or float" : ": load this model in float";
        throw format_error(text);
    }
    return result;
}

/// A vector (a bias, gamma, ...) as T. Throws format_error when a value is beyond T's range.
template <class T> std::vector<T> pack_vector(std::span<const float> values) {
    std::vector<T> result(values.size());
    for (std::size_t i = 0; i < values.size(); ++i) {
        result[i] = packed_element<T>(
            values[i], [&] { return std::to_string(i) + " of a vector of " + std::to_string(values.size()); });
    }
    return result;
}

/// (out, in, rows, columns) as T, [out][row][column][in]. Throws format_error when a value is beyond T's range.
template <class T> std::vector<T> pack_ohwi(const host_weights& weights) {
    const shape4 s = weights.shape;
    const float* const from = weights.values.get();
    const std::size_t taps = s.plane();
    const auto in = static_cast<std::size_t>(s.c);
    std::vector<T> result(s.size());
    for (std::size_t o = 0; o < static_cast<std::size_t>(s.n); ++o) {
        for (std::size_t c = 0; c < in; ++c) {
            for (std::size_t t = 0; t < taps; ++t) {
                result[(o * taps + t) * in + c] = packed_element<T>(from[(o * in + c) * taps + t], [&] {
                    const std::size_t columns = static_cast<std::size_t>(s.w);
                    const shape4 at{static_cast<int>(o), static_cast<int>(c), static_cast<int>(t / columns),
                                    static_cast<int>(t % columns)};
                    return to_string(at) + " of the weights " + to_string(s);
                });
            }
        }
    }
    return result;
}

} // namespace repaint::detail::cuda
