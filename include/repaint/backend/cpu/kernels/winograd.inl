// Winograd's minimal filtering F(m x m, 3 x 3) (Lavin and Gray 2016): y = A^T [(G g G^T) . (B^T d B)] A.

template <int M> struct winograd;

/// F(2, 3) at 0, 1, -1 and infinity.
template <> struct winograd<2> {
    static constexpr int points = 4;

    static REPAINT_CPU_INLINE void input(const f16* d, int s, f16* v, int t) {
        v[0 * t] = d[0 * s] - d[2 * s];
        v[1 * t] = d[1 * s] + d[2 * s];
        v[2 * t] = d[2 * s] - d[1 * s];
        v[3 * t] = d[1 * s] - d[3 * s];
    }
    static REPAINT_CPU_INLINE void weights(const f16* g, int s, f16* u, int t) {
        const f16 half = splat(0.5F);
        const f16 even = (g[0 * s] + g[2 * s]) * half;
        u[0 * t] = g[0 * s];
        u[1 * t] = fma(g[1 * s], half, even);
        u[2 * t] = fnma(g[1 * s], half, even);
        u[3 * t] = g[2 * s];
    }
    static REPAINT_CPU_INLINE void output(const f16* m, int s, f16* y, int t) {
        y[0 * t] = m[0 * s] + (m[1 * s] + m[2 * s]);
        y[1 * t] = (m[1 * s] - m[2 * s]) - m[3 * s];
    }
};

/// F(4, 3) at 0, 5/8, -5/8, 3/2, -3/2 and infinity: half the rounding error of the textbook's 0, 1, -1, 2, -2 for the
/// same number of operations, and exact constants in both transforms of data.
template <> struct winograd<4> {
    static constexpr int points = 6;
    static constexpr float a = 0.625F;
    static constexpr float b = 1.5F;
    static constexpr float a2 = a * a;
    static constexpr float b2 = b * b;

    static REPAINT_CPU_INLINE void input(const f16* d, int s, f16* v, int t) {
        const f16 even_a = fnma(splat(b2), d[2 * s], d[4 * s]);
        const f16 odd_a = fnma(splat(b2), d[1 * s], d[3 * s]);
        const f16 even_b = fnma(splat(a2), d[2 * s], d[4 * s]);
        const f16 odd_b = fnma(splat(a2), d[1 * s], d[3 * s]);
        v[0 * t] = fma(splat(a2 * b2), d[0 * s], fnma(splat(a2 + b2), d[2 * s], d[4 * s]));
        v[1 * t] = fma(splat(a), odd_a, even_a);
        v[2 * t] = fnma(splat(a), odd_a, even_a);
        v[3 * t] = fma(splat(b), odd_b, even_b);
        v[4 * t] = fnma(splat(b), odd_b, even_b);
        v[5 * t] = fma(splat(a2 * b2), d[1 * s], fnma(splat(a2 + b2), d[3 * s], d[5 * s]));
    }
    static REPAINT_CPU_INLINE void weights(const f16* g, int s, f16* u, int t) {
        constexpr float at_a = 1.0F / (2.0F * a2 * (a2 - b2));
        constexpr float at_b = 1.0F / (2.0F * b2 * (b2 - a2));
        const f16 even_a = fma(splat(a2), g[2 * s], g[0 * s]) * splat(at_a);
        const f16 odd_a = g[1 * s] * splat(a * at_a);
        const f16 even_b = fma(splat(b2), g[2 * s], g[0 * s]) * splat(at_b);
        const f16 odd_b = g[1 * s] * splat(b * at_b);
        u[0 * t] = g[0 * s] * splat(1.0F / (a2 * b2));
        u[1 * t] = even_a + odd_a;
        u[2 * t] = even_a - odd_a;
        u[3 * t] = even_b + odd_b;
        u[4 * t] = even_b - odd_b;
        u[5 * t] = g[2 * s];
    }
    static REPAINT_CPU_INLINE void output(const f16* m, int s, f16* y, int t) {
        const f16 even_a = m[1 * s] + m[2 * s];
        const f16 odd_a = m[1 * s] - m[2 * s];
        const f16 even_b = m[3 * s] + m[4 * s];
        const f16 odd_b = m[3 * s] - m[4 * s];
        y[0 * t] = even_a + (even_b + m[0 * s]);
        y[1 * t] = fma(splat(a), odd_a, splat(b) * odd_b);
        y[2 * t] = fma(splat(a2), even_a, splat(b2) * even_b);
        y[3 * t] = fma(splat(a2 * a), odd_a, fma(splat(b2 * b), odd_b, m[5 * s]));
    }
};

/// kernel_table::winograd_input
template <int M>
inline void winograd_input(const float* plane, const float* next, const tile_grid& grid, int first, int count, float* v,
                           std::ptrdiff_t point_stride, std::ptrdiff_t tile_stride) {
    constexpr int points = winograd<M>::points;
    for (int i = 0; i < count; ++i) {
        const int top = (first + i) / grid.columns * M - grid.padding;
        const int left = (first + i) % grid.columns * M - grid.padding;
        f16 d[std::size_t{points * points}];
        if (top >= 0 && left >= 0 && top + points <= grid.h && left + points <= grid.w) {
            const std::ptrdiff_t corner = (static_cast<std::ptrdiff_t>(top) * grid.w + left) * 16;
            for (int y = 0; y < points; ++y) {
                const std::ptrdiff_t row = corner + static_cast<std::ptrdiff_t>(y) * grid.w * 16;
#pragma GCC unroll 6
                for (int x = 0; x < points; ++x) {
                    d[y * points + x] = load(plane + row + 16 * x);
                }
                // The next plane's tile is pages away; its first columns came with the tile before.
#pragma GCC unroll 4
                for (int x = points - M; x < points; ++x) {
                    __builtin_prefetch(next + row + 16 * x);
                }
            }
        } else {
            for (int y = 0; y < points; ++y) {
                for (int x = 0; x < points; ++x) {
                    const bool inside = top + y >= 0 && top + y < grid.h && left + x >= 0 && left + x < grid.w;
                    d[y * points + x] =
                        inside ? load(plane + (static_cast<std::ptrdiff_t>(top + y) * grid.w + left + x) * 16)
                               : splat(0.0F);
                }
            }
        }
        f16 half[std::size_t{points * points}];
#pragma GCC unroll 6
        for (int x = 0; x < points; ++x) {
            winograd<M>::input(d + x, points, half + x, points);
        }
        float* to = v + i * tile_stride;
        for (int y = 0; y < points; ++y) {
            f16 row[std::size_t{points}];
            winograd<M>::input(half + y * points, 1, row, 1);
#pragma GCC unroll 6
            for (int x = 0; x < points; ++x) {
                store(to + (y * points + x) * point_stride, row[x]);
            }
        }
    }
}

/// kernel_table::winograd_weights
template <int M>
inline void winograd_weights(const float* w, int planes, int last_depth, int blocks, float* u,
                             std::ptrdiff_t point_stride) {
    constexpr int points = winograd<M>::points;
    const std::ptrdiff_t width = 16 * blocks;
    for (int p = 0; p < planes; ++p) {
        const int depth = p + 1 == planes ? last_depth : 16;
        // The block that follows, in this call or the next one; behind the last there is nothing, and fetching it does
        // nothing.
        const auto next = reinterpret_cast<std::uintptr_t>(w + 9 * depth * width);
        for (int i = 0; i < depth; ++i) {
            for (int b = 0; b < blocks; ++b) {
                const float* from = w + i * width + 16 * b;
                f16 g[9];
#pragma GCC unroll 9
                for (int t = 0; t < 9; ++t) {
                    g[t] = load(from + t * depth * width);
                    // Weights come from main memory, in nine streams of a page each: the hardware gets to know none of
                    // them.
                    const auto ahead = sizeof(float) * static_cast<std::uintptr_t>((t * depth + i) * width + 16 * b);
                    __builtin_prefetch(reinterpret_cast<const void*>(next + ahead));
                }
                f16 half[std::size_t{points * 3}];
#pragma GCC unroll 3
                for (int x = 0; x < 3; ++x) {
                    winograd<M>::weights(g + x, 3, half + x, 3);
                }
                float* to = u + i * width + 16 * b;
#pragma GCC unroll 6
                for (int y = 0; y < points; ++y) {
                    f16 row[std::size_t{points}];
                    winograd<M>::weights(half + 3 * y, 1, row, 1);
#pragma GCC unroll 6
                    for (int x = 0; x < points; ++x) {
                        store(to + (y * points + x) * point_stride, row[x]);
                    }
                }
            }
        }
        w += 9 * depth * width;
        u += depth * width;
    }
}

/// kernel_table::winograd_output
template <int M>
inline void winograd_output(const float* m, std::ptrdiff_t point_stride, std::ptrdiff_t tile_stride,
                            const tile_grid& grid, int first, int count, const epilogue& e, float* plane) {
    constexpr int points = winograd<M>::points;
    const f16 constant = load(e.constant);
    for (int i = 0; i < count; ++i) {
        const int top = (first + i) / grid.columns * M;
        const int left = (first + i) % grid.columns * M;
        const float* from = m + i * tile_stride;
        f16 half[std::size_t{M * points}];
#pragma GCC unroll 6
        for (int x = 0; x < points; ++x) {
            f16 column[std::size_t{points}];
#pragma GCC unroll 6
            for (int y = 0; y < points; ++y) {
                column[y] = load(from + (y * points + x) * point_stride);
            }
            winograd<M>::output(column, 1, half + x, points);
        }
        const int rows = grid.output_h - top < M ? grid.output_h - top : M;
        const int columns = grid.output_w - left < M ? grid.output_w - left : M;
        for (int y = 0; y < rows; ++y) {
            f16 row[std::size_t{M}];
            winograd<M>::output(half + y * points, 1, row, 1);
            const std::ptrdiff_t at = (static_cast<std::ptrdiff_t>(top + y) * grid.output_w + left) * 16;
#pragma GCC unroll 4
            for (int x = 0; x < M; ++x) {
                if (x < columns) {
                    f16 value = row[x] + constant;
                    if (e.residual != nullptr) {
                        value = value + load(e.residual + at + 16 * x);
                    }
                    store(plane + at + 16 * x, activated(e.then, value));
                }
            }
        }
    }
}
