// Sixteen by sixteen floats, rows to columns.

/// A cache line of each row.
REPAINT_CPU_INLINE void prefetch_rows(const float* x, std::ptrdiff_t stride, int rows) {
    for (int i = 0; i < rows; ++i) {
        __builtin_prefetch(x + i * stride);
    }
}

#if REPAINT_CPU_ISA == 512

/// kernel_table::transpose
inline void transpose(const float* x, const float* next, std::ptrdiff_t x_stride, int rows, int columns, float* y,
                      std::ptrdiff_t y_stride) {
    prefetch_rows(next, x_stride, rows);
    // Four columns of four rows in each quarter of a register, then the quarters of four registers. Masked with all
    // ones: GCC 12 warns about its own header for the plain forms.
    __m512 quarters[16];
#pragma GCC unroll 4
    for (int i = 0; i < 16; i += 4) {
        __m512 row[4];
#pragma GCC unroll 4
        for (int k = 0; k < 4; ++k) {
            row[k] = i + k < rows ? load(x + (i + k) * x_stride).v : _mm512_setzero_ps();
        }
        const __m512d low01 = _mm512_castps_pd(_mm512_maskz_unpacklo_ps(0xFFFF, row[0], row[1]));
        const __m512d high01 = _mm512_castps_pd(_mm512_maskz_unpackhi_ps(0xFFFF, row[0], row[1]));
        const __m512d low23 = _mm512_castps_pd(_mm512_maskz_unpacklo_ps(0xFFFF, row[2], row[3]));
        const __m512d high23 = _mm512_castps_pd(_mm512_maskz_unpackhi_ps(0xFFFF, row[2], row[3]));
        quarters[i] = _mm512_castpd_ps(_mm512_maskz_unpacklo_pd(0xFF, low01, low23));
        quarters[i + 1] = _mm512_castpd_ps(_mm512_maskz_unpackhi_pd(0xFF, low01, low23));
        quarters[i + 2] = _mm512_castpd_ps(_mm512_maskz_unpacklo_pd(0xFF, high01, high23));
        quarters[i + 3] = _mm512_castpd_ps(_mm512_maskz_unpackhi_pd(0xFF, high01, high23));
    }
#pragma GCC unroll 4
    for (int k = 0; k < 4; ++k) {
        const __m512 even01 = _mm512_maskz_shuffle_f32x4(0xFFFF, quarters[k], quarters[4 + k], 0x88);
        const __m512 odd01 = _mm512_maskz_shuffle_f32x4(0xFFFF, quarters[k], quarters[4 + k], 0xDD);
        const __m512 even23 = _mm512_maskz_shuffle_f32x4(0xFFFF, quarters[8 + k], quarters[12 + k], 0x88);
        const __m512 odd23 = _mm512_maskz_shuffle_f32x4(0xFFFF, quarters[8 + k], quarters[12 + k], 0xDD);
        const __m512 column[4] = {_mm512_maskz_shuffle_f32x4(0xFFFF, even01, even23, 0x88),
                                  _mm512_maskz_shuffle_f32x4(0xFFFF, odd01, odd23, 0x88),
                                  _mm512_maskz_shuffle_f32x4(0xFFFF, even01, even23, 0xDD),
                                  _mm512_maskz_shuffle_f32x4(0xFFFF, odd01, odd23, 0xDD)};
#pragma GCC unroll 4
        for (int q = 0; q < 4; ++q) {
            if (4 * q + k < columns) {
                store(y + (4 * q + k) * y_stride, {column[q]});
            }
        }
    }
}

#elif REPAINT_CPU_ISA == 256

/// kernel_table::transpose
inline void transpose(const float* x, const float* next, std::ptrdiff_t x_stride, int rows, int columns, float* y,
                      std::ptrdiff_t y_stride) {
    prefetch_rows(next, x_stride, rows);
    // Quarters of eight by eight.
    for (int top = 0; top < 16; top += 8) {
        for (int left = 0; left < columns; left += 8) {
            __m256 low[4];
            __m256 high[4];
#pragma GCC unroll 4
            for (int i = 0; i < 4; ++i) {
                const int at = top + 2 * i;
                const float* from = x + at * x_stride + left;
                const __m256 even = at < rows ? _mm256_loadu_ps(from) : _mm256_setzero_ps();
                const __m256 odd = at + 1 < rows ? _mm256_loadu_ps(from + x_stride) : _mm256_setzero_ps();
                low[i] = _mm256_unpacklo_ps(even, odd);
                high[i] = _mm256_unpackhi_ps(even, odd);
            }
            // Columns k and k + 4 of the upper and of the lower four rows.
            const __m256 upper[4] = {
                _mm256_shuffle_ps(low[0], low[1], 0x44), _mm256_shuffle_ps(low[0], low[1], 0xEE),
                _mm256_shuffle_ps(high[0], high[1], 0x44), _mm256_shuffle_ps(high[0], high[1], 0xEE)};
            const __m256 lower[4] = {
                _mm256_shuffle_ps(low[2], low[3], 0x44), _mm256_shuffle_ps(low[2], low[3], 0xEE),
                _mm256_shuffle_ps(high[2], high[3], 0x44), _mm256_shuffle_ps(high[2], high[3], 0xEE)};
#pragma GCC unroll 4
            for (int k = 0; k < 4; ++k) {
                float* to = y + (left + k) * y_stride + top;
                if (left + k < columns) {
                    _mm256_storeu_ps(to, _mm256_permute2f128_ps(upper[k], lower[k], 0x20));
                }
                if (left + k + 4 < columns) {
                    _mm256_storeu_ps(to + 4 * y_stride, _mm256_permute2f128_ps(upper[k], lower[k], 0x31));
                }
            }
        }
    }
}

#else

/// kernel_table::transpose
inline void transpose(const float* x, const float* next, std::ptrdiff_t x_stride, int rows, int columns, float* y,
                      std::ptrdiff_t y_stride) {
    prefetch_rows(next, x_stride, rows);
    for (int j = 0; j < columns; ++j) {
        for (int i = 0; i < 16; ++i) {
            y[j * y_stride + i] = i < rows ? x[i * x_stride + j] : 0.0F;
        }
    }
}

#endif
