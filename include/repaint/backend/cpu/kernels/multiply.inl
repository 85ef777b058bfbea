// The inner product that convolutions and attention are made of: rows of values times a packed matrix.

/// Rows that one pass computes: as many as leave registers for the matrix and one value.
template <int Blocks>
inline constexpr int pass_rows = REPAINT_CPU_ISA == 512 ? (Blocks == 1 ? 12 : 6)
                                                        : (REPAINT_CPU_REGISTERS >= 32 ? 6 : 3);

/// m[j][0 .. 16 Blocks) (+)= the product of row j with the matrix `w`. Sums run over a.planes_per_sum planes and are
/// then added up: short chains round less, and the order does not depend on the blocking around it.
template <int Blocks, int Rows>
inline void multiply_pass(const row_source& a, const std::ptrdiff_t* offsets, const float* w, float* m,
                          std::ptrdiff_t m_stride, bool accumulate) {
    for (int first = 0; first < a.planes; first += a.planes_per_sum) {
        const int last = first + a.planes_per_sum < a.planes ? first + a.planes_per_sum : a.planes;
        f16 sums[std::size_t{Rows}][std::size_t{Blocks}];
#pragma GCC unroll 12
        for (int j = 0; j < Rows; ++j) {
#pragma GCC unroll 4
            for (int b = 0; b < Blocks; ++b) {
                sums[j][b] = splat(0.0F);
            }
        }
        for (int p = first; p < last; ++p) {
            const float* plane = a.plane[p];
            const float* ahead = a.plane[p + 2 < a.planes ? p + 2 : p];
            const int depth = p + 1 == a.planes ? a.last_depth : a.depth;
            for (int t = 0; t < a.taps; ++t) {
                const float* row[std::size_t{Rows}];
#pragma GCC unroll 12
                for (int j = 0; j < Rows; ++j) {
                    const std::ptrdiff_t offset = offsets[t * a.offsets_stride + j];
                    row[j] = offset < 0 ? a.zeros : plane + offset;
                    // A plane is pages away from the one before: the hardware does not foresee it.
                    __builtin_prefetch(ahead + (offset < 0 ? 0 : offset));
                }
                for (int i = 0; i < depth; ++i) {
                    f16 column[std::size_t{Blocks}];
#pragma GCC unroll 4
                    for (int b = 0; b < Blocks; ++b) {
                        column[b] = load(w + 16 * b);
                    }
                    w += 16 * Blocks;
#pragma GCC unroll 12
                    for (int j = 0; j < Rows; ++j) {
                        const f16 value = splat(row[j][i]);
#pragma GCC unroll 4
                        for (int b = 0; b < Blocks; ++b) {
                            sums[j][b] = fma(value, column[b], sums[j][b]);
                        }
                    }
                }
            }
        }
        if (accumulate || first > 0) {
#pragma GCC unroll 12
            for (int j = 0; j < Rows; ++j) {
#pragma GCC unroll 4
                for (int b = 0; b < Blocks; ++b) {
                    float* to = m + j * m_stride + 16 * b;
                    store(to, load(to) + sums[j][b]);
                }
            }
        } else {
#pragma GCC unroll 12
            for (int j = 0; j < Rows; ++j) {
#pragma GCC unroll 4
                for (int b = 0; b < Blocks; ++b) {
                    store(m + j * m_stride + 16 * b, sums[j][b]);
                }
            }
        }
    }
}

/// Rows, or 1 where a pass never has so many rows: the compiler then leaves out passes that are never called.
template <int Blocks, int Rows> inline constexpr int possible = Rows <= pass_rows<Blocks> ? Rows : 1;

/// Any number of rows times one group.
template <int Blocks>
inline void multiply_group(const row_source& a, int rows, const float* w, float* m, std::ptrdiff_t m_stride,
                           bool accumulate) {
    constexpr int most = pass_rows<Blocks>;
    const std::ptrdiff_t* offsets = a.offsets;
    while (rows > 0) {
        int count = rows;
        if (count > most) {
            // Passes of like length: 7 rows are 4 and 3, not 6 and 1.
            const int passes = (rows + most - 1) / most;
            count = (rows + passes - 1) / passes;
        }
        if (count > 6 && count < 12) {
            count = 6;
        }
        switch (count) {
        case 1: multiply_pass<Blocks, 1>(a, offsets, w, m, m_stride, accumulate); break;
        case 2: multiply_pass<Blocks, 2>(a, offsets, w, m, m_stride, accumulate); break;
        case 3: multiply_pass<Blocks, 3>(a, offsets, w, m, m_stride, accumulate); break;
        case 4: multiply_pass<Blocks, possible<Blocks, 4>>(a, offsets, w, m, m_stride, accumulate); break;
        case 5: multiply_pass<Blocks, possible<Blocks, 5>>(a, offsets, w, m, m_stride, accumulate); break;
        case 6: multiply_pass<Blocks, possible<Blocks, 6>>(a, offsets, w, m, m_stride, accumulate); break;
        default: multiply_pass<Blocks, possible<Blocks, 12>>(a, offsets, w, m, m_stride, accumulate); break;
        }
        offsets += count;
        m += count * m_stride;
        rows -= count;
    }
}

/// kernel_table::multiply
inline void multiply(const row_source& a, int rows, const packed_matrix& w, int blocks, float* m,
                     std::ptrdiff_t m_stride, bool accumulate) {
    for (int b = 0; b < blocks;) {
        const int group = group_blocks(blocks - b, widest_group);
        const float* matrix = w.values + b * w.block_stride + w.first_row * 16 * group;
        float* to = m + 16 * b;
        if (REPAINT_CPU_ISA == 512 && group == 4) {
            multiply_group<REPAINT_CPU_ISA == 512 ? 4 : 1>(a, rows, matrix, to, m_stride, accumulate);
        } else if (REPAINT_CPU_ISA == 512 && group == 2) {
            multiply_group<REPAINT_CPU_ISA == 512 ? 2 : 1>(a, rows, matrix, to, m_stride, accumulate);
        } else {
            multiply_group<1>(a, rows, matrix, to, m_stride, accumulate);
        }
        b += group;
    }
}
