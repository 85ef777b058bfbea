// Kernels that treat vectors of channels one after the other.

/// kernel_table::finish
inline void finish(const float* m, std::ptrdiff_t m_stride, int rows, const epilogue& e, float* y) {
    const f16 constant = load(e.constant);
    for (int j = 0; j < rows; ++j) {
        f16 value = load(m + j * m_stride) + constant;
        if (e.residual != nullptr) {
            value = value + load(e.residual + 16 * j);
        }
        store(y + 16 * j, activated(e.then, value));
    }
}

/// kernel_table::moments
inline void moments(const float* x, int count, float* mean, float* squares) {
    f16 sums[4] = {splat(0.0F), splat(0.0F), splat(0.0F), splat(0.0F)};
    int i = 0;
    for (; i + 4 <= count; i += 4) {
#pragma GCC unroll 4
        for (int k = 0; k < 4; ++k) {
            sums[k] = sums[k] + load(x + 16 * (i + k));
        }
    }
    for (; i < count; ++i) {
        sums[0] = sums[0] + load(x + 16 * i);
    }
    const f16 middle = ((sums[0] + sums[1]) + (sums[2] + sums[3])) * splat(1.0F / static_cast<float>(count));
    for (f16& s : sums) {
        s = splat(0.0F);
    }
    for (i = 0; i + 4 <= count; i += 4) {
#pragma GCC unroll 4
        for (int k = 0; k < 4; ++k) {
            const f16 d = load(x + 16 * (i + k)) - middle;
            sums[k] = fma(d, d, sums[k]);
        }
    }
    for (; i < count; ++i) {
        const f16 d = load(x + 16 * i) - middle;
        sums[0] = fma(d, d, sums[0]);
    }
    store(mean, middle);
    store(squares, (sums[0] + sums[1]) + (sums[2] + sums[3]));
}

template <activation Then>
inline void normalise_then(const float* x, int count, const lane_normalisation& n, float* y) {
    const f16 mean = load(n.mean.data());
    const f16 scale = load(n.scale.data());
    const f16 shift = load(n.shift.data());
    for (int i = 0; i < count; ++i) {
        store(y + 16 * i, activated(Then, fma(load(x + 16 * i) - mean, scale, shift)));
    }
}

/// kernel_table::normalise
inline void normalise(const float* x, int count, const lane_normalisation& n, activation then, float* y) {
    switch (then) {
    case activation::silu: normalise_then<activation::silu>(x, count, n, y); break;
    case activation::relu: normalise_then<activation::relu>(x, count, n, y); break;
    default: normalise_then<activation::none>(x, count, n, y); break;
    }
}

/// kernel_table::softmax
inline exponentials softmax(float* scores, int count) {
    const int whole = count / 16 * 16;
    float top = scores[0];
    if (whole > 0) {
        f16 tops = load(scores);
        for (int i = 16; i < whole; i += 16) {
            tops = max(tops, load(scores + i));
        }
        top = largest(tops);
    }
    for (int i = whole; i < count; ++i) {
        top = scores[i] > top ? scores[i] : top;
    }
    const int padded = (count + 15) / 16 * 16;
    f16 sums = splat(0.0F);
    const f16 highest = splat(top);
    for (int i = 0; i < whole; i += 16) {
        const f16 e = exp(load(scores + i) - highest);
        store(scores + i, e);
        sums = sums + e;
    }
    float total = sum(sums);
    if (whole < padded) {
        float last[16];
        store(last, exp(load(scores + whole) - highest));
        for (int i = whole; i < padded; ++i) {
            scores[i] = i < count ? last[i - whole] : 0.0F;
            total += scores[i];
        }
    }
    return {top, total};
}

/// kernel_table::scale
inline void scale(const float* x, float factor, int count, float* y) {
    const f16 f = splat(factor);
    for (int i = 0; i < count; ++i) {
        store(y + 16 * i, load(x + 16 * i) * f);
    }
}

/// kernel_table::double_row
inline void double_row(const float* x, int count, float factor, float* first, float* second) {
    const f16 f = splat(factor);
    for (int i = 0; i < count; ++i) {
        const f16 v = load(x + 16 * i) * f;
        store(first + 32 * i, v);
        store(first + 32 * i + 16, v);
        store(second + 32 * i, v);
        store(second + 32 * i + 16, v);
    }
}

/// kernel_table::halve_rows
inline void halve_rows(const float* first, const float* second, int count, float factor, float* y) {
    const f16 f = splat(factor);
    for (int i = 0; i < count; ++i) {
        const f16 above = load(first + 32 * i) + load(first + 32 * i + 16);
        const f16 below = load(second + 32 * i) + load(second + 32 * i + 16);
        store(y + 16 * i, (above + below) * f);
    }
}
