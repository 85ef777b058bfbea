#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include <repaint/backend/cpu/kernels.hpp>

// Inlined whatever the optimisation level: a call would pass vectors that the caller's instruction set cannot hold.
#define REPAINT_CPU_INLINE __attribute__((always_inline)) inline

namespace repaint::detail::cpu::portable {
#define REPAINT_CPU_ISA 128
#if defined(__aarch64__)
#define REPAINT_CPU_REGISTERS 32
#else
#define REPAINT_CPU_REGISTERS 16
#endif
inline constexpr int widest_group = 1;
#include <repaint/backend/cpu/kernels/all.inl>
#undef REPAINT_CPU_ISA
#undef REPAINT_CPU_REGISTERS
} // namespace repaint::detail::cpu::portable

#if defined(__x86_64__)

#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx2,fma")
#endif
namespace repaint::detail::cpu::avx2 {
#define REPAINT_CPU_ISA 256
#define REPAINT_CPU_REGISTERS 32 // of four floats: sixteen of eight
inline constexpr int widest_group = 1;
#include <repaint/backend/cpu/kernels/all.inl>
#undef REPAINT_CPU_ISA
#undef REPAINT_CPU_REGISTERS
} // namespace repaint::detail::cpu::avx2
#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif

#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx512f,avx512dq,avx512bw,avx512vl,avx2,fma"))),                   \
                             apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx512f,avx512dq,avx512bw,avx512vl,avx2,fma")
#endif
namespace repaint::detail::cpu::avx512 {
#define REPAINT_CPU_ISA 512
#define REPAINT_CPU_REGISTERS 128 // of four floats: 32 of sixteen
inline constexpr int widest_group = 4;
#include <repaint/backend/cpu/kernels/all.inl>
#undef REPAINT_CPU_ISA
#undef REPAINT_CPU_REGISTERS
} // namespace repaint::detail::cpu::avx512
#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif

#endif

#undef REPAINT_CPU_INLINE

namespace repaint::detail::cpu {

REPAINT_INLINE const kernel_table& kernels_for(instruction_set s) {
#if defined(__x86_64__)
    switch (s) {
    case instruction_set::avx512: return avx512::kernels;
    case instruction_set::avx2: return avx2::kernels;
    default: break;
    }
#else
    static_cast<void>(s);
#endif
    return portable::kernels;
}

REPAINT_INLINE const gradient_table& gradient_kernels_for(instruction_set s) {
#if defined(__x86_64__)
    switch (s) {
    case instruction_set::avx512: return avx512::gradient_kernels;
    case instruction_set::avx2: return avx2::gradient_kernels;
    default: break;
    }
#else
    static_cast<void>(s);
#endif
    return portable::gradient_kernels;
}

} // namespace repaint::detail::cpu
