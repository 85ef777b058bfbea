#pragma once

#include <string_view>

#include <repaint/config.hpp>

namespace repaint {

/// The vector instructions cpu_backend computes with. All give the same pictures up to rounding.
enum class instruction_set {
    portable, ///< what every CPU of the architecture has: SSE2 on x86-64, NEON on 64-bit Arm
    avx2,     ///< AVX2 and FMA
    avx512    ///< AVX-512 F, DQ, BW and VL
};

/// "portable", "avx2" or "avx512".
std::string_view to_string(instruction_set s);

/// The instruction set of that name. Throws std::invalid_argument for another name.
instruction_set instruction_set_from(std::string_view name);

/// True when this CPU, and the operating system on it, can run the instruction set: asked of the features, never of the
/// model.
bool is_supported(instruction_set s);

/// The widest instruction set this CPU supports.
instruction_set best_instruction_set();

} // namespace repaint

#ifndef REPAINT_COMPILED
#include <repaint/backend/cpu/instruction_set.ipp>
#endif
