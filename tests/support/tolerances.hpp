#pragma once

#include "compare.hpp"

/// What each backend owes the definition of a primitive. float32 sums of n products are off by about sqrt(n) * 6e-8 of
/// their size; the largest sums here have 600 terms.
template <class B> struct tolerances {
    static constexpr tolerance conv2d{2e-6, 1e-12};
    static constexpr tolerance group_norm{3e-6, 1e-12};
    /// The input itself has only 24 bits: at 1000, a spacing of 6e-5.
    static constexpr tolerance group_norm_far{2e-4, 1e-8};
    static constexpr tolerance attention{3e-6, 1e-12};
    /// Scores of some hundreds: a rounding of a score is a factor of 1e-4 on its weight.
    static constexpr tolerance attention_large{1e-3, 1e-7};
    static constexpr float resize = 1e-6F;
    /// The reference is the definition; others may use another sine and logarithm.
    static constexpr double normal = 0.0;
    static constexpr tolerance step{1e-6, 1e-12};

    static constexpr tolerance mean{1e-6, 1e-12};
    /// The sums of conv2d, over results instead of channels.
    static constexpr tolerance conv2d_vjp = conv2d;
    /// The slope of silu loses a few bits where it crosses 0.
    static constexpr tolerance activation_vjp{1e-6, 1e-12};
    /// Differences of the cotangent and its means; the smallest standard deviation here divides by 0.1.
    static constexpr tolerance group_norm_vjp{5e-6, 1e-11};
    /// Five products instead of two, and differences of their results.
    static constexpr tolerance attention_vjp{5e-6, 1e-11};
    static constexpr tolerance attention_vjp_large = attention_large;
    /// Four numbers at most are added.
    static constexpr tolerance exact_but_order{5e-7, 1e-13};
};
