// Vector-Jacobian products of what is done to vectors of channels, and of attention's softmax.

/// kernel_table::activation_vjp
inline void activation_vjp(const float* x, activation f, const float* dy, int count, float* dx) {
    for (int i = 0; i < count; ++i) {
        store(dx + 16 * i, activated_vjp(f, load(x + 16 * i), load(dy + 16 * i)));
    }
}

/// One vector of normalise_sums.
template <activation Then>
REPAINT_CPU_INLINE void add_products(const float* x, const float* dy, f16 mean, f16 scale, f16 shift, float* dz,
                                     f16& sum, f16& product) {
    const f16 distance = load(x) - mean;
    const f16 value = activated_vjp(Then, fma(distance, scale, shift), load(dy));
    if (Then != activation::none) {
        store(dz, value);
    }
    sum = sum + value;
    product = fma(value, distance, product);
}

template <activation Then>
inline void normalise_sums_then(const float* x, const float* dy, int count, const lane_normalisation& n, float* dz,
                                float* sums, float* products) {
    const f16 mean = load(n.mean.data());
    const f16 scale = load(n.scale.data());
    const f16 shift = load(n.shift.data());
    f16 s[4] = {splat(0.0F), splat(0.0F), splat(0.0F), splat(0.0F)};
    f16 p[4] = {splat(0.0F), splat(0.0F), splat(0.0F), splat(0.0F)};
    int i = 0;
    for (; i + 4 <= count; i += 4) {
#pragma GCC unroll 4
        for (int k = 0; k < 4; ++k) {
            const int at = 16 * (i + k);
            add_products<Then>(x + at, dy + at, mean, scale, shift, dz + at, s[k], p[k]);
        }
    }
    for (; i < count; ++i) {
        add_products<Then>(x + 16 * i, dy + 16 * i, mean, scale, shift, dz + 16 * i, s[0], p[0]);
    }
    store(sums, (s[0] + s[1]) + (s[2] + s[3]));
    store(products, (p[0] + p[1]) + (p[2] + p[3]));
}

/// kernel_table::normalise_sums
inline void normalise_sums(const float* x, const float* dy, int count, const lane_normalisation& n, activation then,
                           float* dz, float* sums, float* products) {
    switch (then) {
    case activation::silu: normalise_sums_then<activation::silu>(x, dy, count, n, dz, sums, products); break;
    case activation::relu: normalise_sums_then<activation::relu>(x, dy, count, n, dz, sums, products); break;
    default: normalise_sums_then<activation::none>(x, dy, count, n, dz, sums, products); break;
    }
}

/// kernel_table::normalise_vjp
inline void normalise_vjp(const float* x, const float* dz, int count, const lane_normalisation& n,
                          const lane_feedback& f, float* dx) {
    const f16 mean = load(n.mean.data());
    const f16 scale = load(n.scale.data());
    const f16 level = splat(0.0F) - load(f.level.data());
    const f16 slope = load(f.slope.data());
    for (int i = 0; i < count; ++i) {
        const f16 rest = fnma(slope, load(x + 16 * i) - mean, level);
        store(dx + 16 * i, fma(load(dz + 16 * i), scale, rest));
    }
}

/// kernel_table::softmax_vjp
inline float softmax_vjp(float* p, const float* dp, float inverse, int count) {
    f16 sums[4] = {splat(0.0F), splat(0.0F), splat(0.0F), splat(0.0F)};
    int i = 0;
    for (; i + 4 <= count; i += 4) {
#pragma GCC unroll 4
        for (int k = 0; k < 4; ++k) {
            sums[k] = fma(load(p + 16 * (i + k)), load(dp + 16 * (i + k)), sums[k]);
        }
    }
    for (; i < count; ++i) {
        sums[0] = fma(load(p + 16 * i), load(dp + 16 * i), sums[0]);
    }
    const float mean = sum((sums[0] + sums[1]) + (sums[2] + sums[3])) * inverse;
    const f16 m = splat(mean);
    const f16 f = splat(inverse);
    for (i = 0; i < count; ++i) {
        store(p + 16 * i, load(p + 16 * i) * f * (load(dp + 16 * i) - m));
    }
    return mean;
}

/// kernel_table::softmax_vjp_of_key
inline void softmax_vjp_of_key(float* scores, float* dp, const float* largest, const float* inverse, const float* mean,
                               int count) {
    for (int i = 0; i < count; ++i) {
        const f16 p = exp(load(scores + 16 * i) - load(largest + 16 * i)) * load(inverse + 16 * i);
        store(scores + 16 * i, p);
        store(dp + 16 * i, p * (load(dp + 16 * i) - load(mean + 16 * i)));
    }
}
