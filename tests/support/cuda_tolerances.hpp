#pragma once

#include <repaint/backend/cuda.hpp>

#include "tolerances.hpp"

/// As any backend's in float32, but for means: threads add up in chains of some hundreds.
template <> struct tolerances<repaint::basic_cuda_backend<float>> : tolerances<void> {
    static constexpr tolerance mean{1e-6, 1e-9};
};

/// Inputs, weights and results are rounded to T, each by up to half a unit in the last of `bits` bits. Sums are float32,
/// and the roundings of what they sum average out in them: what is seen is a few roundings. Images are float32, so that
/// the steps of diffusion keep float32's tolerances.
template <int bits> struct rounded_tolerances : tolerances<void> {
    static constexpr double unit = 1.0 / (1 << bits);
    static constexpr tolerance few{4.0 * unit, 4.0 * unit* unit};
    static constexpr tolerance conv2d = few;
    static constexpr tolerance group_norm = few;
    /// Values of 1000 with a deviation of 1: a unit of them is half of that, or four times.
    static constexpr tolerance group_norm_far{4000.0 * unit, 1e6 * unit* unit};
    static constexpr tolerance attention = few;
    /// Scores of some hundreds, and their rounding is in the exponent.
    static constexpr tolerance attention_large{400.0 * unit, 1e4 * unit* unit};
    static constexpr tolerance attention_vjp_large{1e3, 1e6}; // that nothing overflows
    static constexpr float resize = static_cast<float>(4.0 * unit);
    static constexpr tolerance mean = few;
    static constexpr tolerance conv2d_vjp = few;
    static constexpr tolerance activation_vjp = few;
    static constexpr tolerance group_norm_vjp{16.0 * unit, 16.0 * unit* unit};
    static constexpr tolerance attention_vjp{16.0 * unit, 16.0 * unit* unit};
    /// One test has a single result, the sum of two that nearly cancel.
    static constexpr tolerance exact_but_order{4.0 * unit, 4.0};
};
template <> struct tolerances<repaint::basic_cuda_backend<__half>> : rounded_tolerances<11> {};
template <> struct tolerances<repaint::basic_cuda_backend<__nv_bfloat16>> : rounded_tolerances<8> {};
