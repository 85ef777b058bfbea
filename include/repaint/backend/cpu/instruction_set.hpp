#pragma once

#include <stdexcept>
#include <string>
#include <string_view>

namespace repaint {

/// The vector instructions cpu_backend computes with. All give the same pictures up to rounding.
enum class instruction_set {
    portable, ///< what every CPU of the architecture has: SSE2 on x86-64, NEON on 64-bit Arm
    avx2,     ///< AVX2 and FMA
    avx512    ///< AVX-512 F, DQ, BW and VL
};

/// "portable", "avx2" or "avx512".
inline std::string_view to_string(instruction_set s) {
    switch (s) {
    case instruction_set::avx2: return "avx2";
    case instruction_set::avx512: return "avx512";
    default: return "portable";
    }
}

/// The instruction set of that name. Throws std::invalid_argument for another name.
inline instruction_set instruction_set_from(std::string_view name) {
    for (const auto s : {instruction_set::portable, instruction_set::avx2, instruction_set::avx512}) {
        if (name == to_string(s)) {
            return s;
        }
    }
    throw std::invalid_argument("unknown instruction set " + std::string(name) + ", known: portable, avx2, avx512");
}

/// True when this CPU, and the operating system on it, can run the instruction set: asked of the features, never of the
/// model.
inline bool is_supported(instruction_set s) {
#if defined(__x86_64__) && (defined(__GNUC__) || defined(__clang__))
    switch (s) {
    case instruction_set::avx2: return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    case instruction_set::avx512:
        return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
               __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
               is_supported(instruction_set::avx2);
    default: return true;
    }
#else
    return s == instruction_set::portable;
#endif
}

/// The widest instruction set this CPU supports.
inline instruction_set best_instruction_set() {
    for (const auto s : {instruction_set::avx512, instruction_set::avx2}) {
        if (is_supported(s)) {
            return s;
        }
    }
    return instruction_set::portable;
}

} // namespace repaint
