// Sixteen floats, the width of a channel block, in as many registers as the instruction set takes for them.
// Included once per instruction set, inside its namespace and its target pragma (kernels.ipp).

#if REPAINT_CPU_ISA == 512

/// Sixteen floats in one register.
struct f16 {
    __m512 v;
};

REPAINT_CPU_INLINE f16 load(const float* p) { return {_mm512_loadu_ps(p)}; }
REPAINT_CPU_INLINE void store(float* p, f16 a) { _mm512_storeu_ps(p, a.v); }
REPAINT_CPU_INLINE f16 splat(float x) { return {_mm512_set1_ps(x)}; }
REPAINT_CPU_INLINE f16 operator+(f16 a, f16 b) { return {_mm512_add_ps(a.v, b.v)}; }
REPAINT_CPU_INLINE f16 operator-(f16 a, f16 b) { return {_mm512_sub_ps(a.v, b.v)}; }
REPAINT_CPU_INLINE f16 operator*(f16 a, f16 b) { return {_mm512_mul_ps(a.v, b.v)}; }
REPAINT_CPU_INLINE f16 operator/(f16 a, f16 b) { return {_mm512_div_ps(a.v, b.v)}; }
/// a * b + c, rounded once where the CPU can.
REPAINT_CPU_INLINE f16 fma(f16 a, f16 b, f16 c) { return {_mm512_fmadd_ps(a.v, b.v, c.v)}; }
/// c - a * b
REPAINT_CPU_INLINE f16 fnma(f16 a, f16 b, f16 c) { return {_mm512_fnmadd_ps(a.v, b.v, c.v)}; }
/// The second operand where either is NaN. Masked with all ones: GCC 12 warns about its own header for the plain form.
REPAINT_CPU_INLINE f16 max(f16 a, f16 b) { return {_mm512_maskz_max_ps(0xFFFF, a.v, b.v)}; }
REPAINT_CPU_INLINE f16 min(f16 a, f16 b) { return {_mm512_maskz_min_ps(0xFFFF, a.v, b.v)}; }
/// x where the condition is above zero, 0 elsewhere.
REPAINT_CPU_INLINE f16 where_positive(f16 condition, f16 x) {
    return {_mm512_maskz_mov_ps(_mm512_cmp_ps_mask(condition.v, _mm512_setzero_ps(), _CMP_GT_OQ), x.v)};
}
/// x * 2^n for n an integer in [-126, 127].
REPAINT_CPU_INLINE f16 scale_by_power(f16 x, f16 n) {
    const __m512i bits = _mm512_maskz_slli_epi32(
        0xFFFF, _mm512_add_epi32(_mm512_maskz_cvtps_epi32(0xFFFF, n.v), _mm512_set1_epi32(127)), 23);
    return {_mm512_mul_ps(x.v, _mm512_castsi512_ps(bits))};
}

#elif REPAINT_CPU_ISA == 256

/// Sixteen floats in two registers.
struct f16 {
    __m256 a;
    __m256 b;
};

REPAINT_CPU_INLINE f16 load(const float* p) { return {_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)}; }
REPAINT_CPU_INLINE void store(float* p, f16 x) {
    _mm256_storeu_ps(p, x.a);
    _mm256_storeu_ps(p + 8, x.b);
}
REPAINT_CPU_INLINE f16 splat(float x) { return {_mm256_set1_ps(x), _mm256_set1_ps(x)}; }
REPAINT_CPU_INLINE f16 operator+(f16 x, f16 y) { return {_mm256_add_ps(x.a, y.a), _mm256_add_ps(x.b, y.b)}; }
REPAINT_CPU_INLINE f16 operator-(f16 x, f16 y) { return {_mm256_sub_ps(x.a, y.a), _mm256_sub_ps(x.b, y.b)}; }
REPAINT_CPU_INLINE f16 operator*(f16 x, f16 y) { return {_mm256_mul_ps(x.a, y.a), _mm256_mul_ps(x.b, y.b)}; }
REPAINT_CPU_INLINE f16 operator/(f16 x, f16 y) { return {_mm256_div_ps(x.a, y.a), _mm256_div_ps(x.b, y.b)}; }
/// x * y + z, rounded once where the CPU can.
REPAINT_CPU_INLINE f16 fma(f16 x, f16 y, f16 z) {
    return {_mm256_fmadd_ps(x.a, y.a, z.a), _mm256_fmadd_ps(x.b, y.b, z.b)};
}
/// z - x * y
REPAINT_CPU_INLINE f16 fnma(f16 x, f16 y, f16 z) {
    return {_mm256_fnmadd_ps(x.a, y.a, z.a), _mm256_fnmadd_ps(x.b, y.b, z.b)};
}
/// The second operand where either is NaN.
REPAINT_CPU_INLINE f16 max(f16 x, f16 y) { return {_mm256_max_ps(x.a, y.a), _mm256_max_ps(x.b, y.b)}; }
REPAINT_CPU_INLINE f16 min(f16 x, f16 y) { return {_mm256_min_ps(x.a, y.a), _mm256_min_ps(x.b, y.b)}; }
/// x where the condition is above zero, 0 elsewhere.
REPAINT_CPU_INLINE f16 where_positive(f16 condition, f16 x) {
    return {_mm256_and_ps(_mm256_cmp_ps(condition.a, _mm256_setzero_ps(), _CMP_GT_OQ), x.a),
            _mm256_and_ps(_mm256_cmp_ps(condition.b, _mm256_setzero_ps(), _CMP_GT_OQ), x.b)};
}
REPAINT_CPU_INLINE __m256 power_of_two(__m256 n) {
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127)), 23));
}
/// x * 2^n for n an integer in [-126, 127].
REPAINT_CPU_INLINE f16 scale_by_power(f16 x, f16 n) {
    return {_mm256_mul_ps(x.a, power_of_two(n.a)), _mm256_mul_ps(x.b, power_of_two(n.b))};
}

#else

/// Four floats; the compilers' own vectors, which are SSE2 on x86-64 and NEON on Arm.
using f4 = float __attribute__((vector_size(16)));
using i4 = std::int32_t __attribute__((vector_size(16)));

/// Sixteen floats in four registers.
struct f16 {
    f4 q[4];
};

REPAINT_CPU_INLINE f4 load4(const float* p) {
    f4 x;
    std::memcpy(&x, p, sizeof x);
    return x;
}
REPAINT_CPU_INLINE f4 splat4(float x) { return f4{x, x, x, x}; }
REPAINT_CPU_INLINE f16 load(const float* p) { return {{load4(p), load4(p + 4), load4(p + 8), load4(p + 12)}}; }
REPAINT_CPU_INLINE void store(float* p, f16 x) { std::memcpy(p, x.q, sizeof x.q); }
REPAINT_CPU_INLINE f16 splat(float x) { return {{splat4(x), splat4(x), splat4(x), splat4(x)}}; }
REPAINT_CPU_INLINE f16 operator+(f16 x, f16 y) {
    return {{x.q[0] + y.q[0], x.q[1] + y.q[1], x.q[2] + y.q[2], x.q[3] + y.q[3]}};
}
REPAINT_CPU_INLINE f16 operator-(f16 x, f16 y) {
    return {{x.q[0] - y.q[0], x.q[1] - y.q[1], x.q[2] - y.q[2], x.q[3] - y.q[3]}};
}
REPAINT_CPU_INLINE f16 operator*(f16 x, f16 y) {
    return {{x.q[0] * y.q[0], x.q[1] * y.q[1], x.q[2] * y.q[2], x.q[3] * y.q[3]}};
}
REPAINT_CPU_INLINE f16 operator/(f16 x, f16 y) {
    return {{x.q[0] / y.q[0], x.q[1] / y.q[1], x.q[2] / y.q[2], x.q[3] / y.q[3]}};
}
/// x * y + z; the compiler fuses it where the architecture always can (Arm).
REPAINT_CPU_INLINE f16 fma(f16 x, f16 y, f16 z) {
    return {{x.q[0] * y.q[0] + z.q[0], x.q[1] * y.q[1] + z.q[1], x.q[2] * y.q[2] + z.q[2], x.q[3] * y.q[3] + z.q[3]}};
}
/// z - x * y
REPAINT_CPU_INLINE f16 fnma(f16 x, f16 y, f16 z) {
    return {{z.q[0] - x.q[0] * y.q[0], z.q[1] - x.q[1] * y.q[1], z.q[2] - x.q[2] * y.q[2], z.q[3] - x.q[3] * y.q[3]}};
}
REPAINT_CPU_INLINE f4 chosen(i4 mask, f4 x, f4 y) {
    return reinterpret_cast<f4>((mask & reinterpret_cast<i4>(x)) | (~mask & reinterpret_cast<i4>(y)));
}
REPAINT_CPU_INLINE f4 max4(f4 x, f4 y) { return chosen(x > y, x, y); }
REPAINT_CPU_INLINE f4 min4(f4 x, f4 y) { return chosen(x < y, x, y); }
/// The second operand where either is NaN.
REPAINT_CPU_INLINE f16 max(f16 x, f16 y) {
    return {{max4(x.q[0], y.q[0]), max4(x.q[1], y.q[1]), max4(x.q[2], y.q[2]), max4(x.q[3], y.q[3])}};
}
REPAINT_CPU_INLINE f16 min(f16 x, f16 y) {
    return {{min4(x.q[0], y.q[0]), min4(x.q[1], y.q[1]), min4(x.q[2], y.q[2]), min4(x.q[3], y.q[3])}};
}
/// x where the condition is above zero, 0 elsewhere.
REPAINT_CPU_INLINE f16 where_positive(f16 condition, f16 x) {
    const f4 zero = splat4(0.0F);
    return {{chosen(condition.q[0] > zero, x.q[0], zero), chosen(condition.q[1] > zero, x.q[1], zero),
             chosen(condition.q[2] > zero, x.q[2], zero), chosen(condition.q[3] > zero, x.q[3], zero)}};
}
REPAINT_CPU_INLINE f4 power_of_two(f4 n) { return reinterpret_cast<f4>((__builtin_convertvector(n, i4) + 127) << 23); }
/// x * 2^n for n an integer in [-126, 127].
REPAINT_CPU_INLINE f16 scale_by_power(f16 x, f16 n) {
    return {{x.q[0] * power_of_two(n.q[0]), x.q[1] * power_of_two(n.q[1]), x.q[2] * power_of_two(n.q[2]),
             x.q[3] * power_of_two(n.q[3])}};
}

#endif

/// The sum of the sixteen, in a fixed order that all instruction sets share.
REPAINT_CPU_INLINE float sum(f16 x) {
    float lanes[16];
    store(lanes, x);
    for (int half = 8; half > 0; half /= 2) {
        for (int i = 0; i < half; ++i) {
            lanes[i] += lanes[i + half];
        }
    }
    return lanes[0];
}

REPAINT_CPU_INLINE float largest(f16 x) {
    float lanes[16];
    store(lanes, x);
    for (int half = 8; half > 0; half /= 2) {
        for (int i = 0; i < half; ++i) {
            lanes[i] = lanes[i] > lanes[i + half] ? lanes[i] : lanes[i + half];
        }
    }
    return lanes[0];
}

/// e^x within 2 units in the last place for x from -87.3 to 88.02, the values there for what lies outside. NaN gives
/// NaN.
REPAINT_CPU_INLINE f16 exp(f16 x) {
    // x = n ln 2 + r with |r| <= ln 2 / 2: the shift by 1.5 * 2^23 rounds to the nearest integer.
    const f16 bounded = min(splat(88.02F), max(splat(-87.3F), x));
    const f16 shift = splat(12582912.0F);
    const f16 n = fma(bounded, splat(1.44269504F), shift) - shift;
    const f16 r = fnma(n, splat(-2.12194440e-4F), fnma(n, splat(0.693359375F), bounded));
    f16 p = splat(1.9875691500e-4F);
    p = fma(p, r, splat(1.3981999507e-3F));
    p = fma(p, r, splat(8.3334519073e-3F));
    p = fma(p, r, splat(4.1665795894e-2F));
    p = fma(p, r, splat(1.6666665459e-1F));
    p = fma(p, r, splat(5.0000001201e-1F));
    p = fma(p, r * r, r + splat(1.0F));
    return scale_by_power(p, n);
}

/// x / (1 + e^-x)
REPAINT_CPU_INLINE f16 silu(f16 x) { return x / (splat(1.0F) + exp(splat(0.0F) - x)); }

REPAINT_CPU_INLINE f16 activated(activation f, f16 x) {
    switch (f) {
    case activation::silu: return silu(x);
    case activation::relu: return max(splat(0.0F), x);
    default: return x;
    }
}

/// f'(x) dy
REPAINT_CPU_INLINE f16 activated_vjp(activation f, f16 x, f16 dy) {
    switch (f) {
    case activation::silu: {
        // With s = 1 / (1 + e^-x): s + x s (1 - s), where 1 - s is had without a difference.
        const f16 e = exp(splat(0.0F) - x);
        const f16 s = splat(1.0F) / (splat(1.0F) + e);
        return dy * fma(x * (e * s), s, s);
    }
    case activation::relu: return where_positive(x, dy);
    default: return dy;
    }
}
