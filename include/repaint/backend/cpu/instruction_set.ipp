#pragma once

#include <stdexcept>
#include <string>

#include <repaint/backend/cpu/instruction_set.hpp>
#include <repaint/core/text.hpp>

namespace repaint {

REPAINT_INLINE std::string_view to_string(instruction_set s) {
    switch (s) {
    case instruction_set::avx2: return "avx2";
    case instruction_set::avx512: return "avx512";
    default: return "portable";
    }
}

REPAINT_INLINE instruction_set instruction_set_from(std::string_view name) {
    for (const auto s : {instruction_set::portable, instruction_set::avx2, instruction_set::avx512}) {
        if (name == to_string(s)) {
            return s;
        }
    }
    throw std::invalid_argument(
        joined_text({"unknown instruction set ", std::string(name), ", known: portable, avx2, avx512"}));
}

REPAINT_INLINE bool is_supported(instruction_set s) {
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

REPAINT_INLINE instruction_set best_instruction_set() {
    for (const auto s : {instruction_set::avx512, instruction_set::avx2}) {
        if (is_supported(s)) {
            return s;
        }
    }
    return instruction_set::portable;
}

} // namespace repaint
