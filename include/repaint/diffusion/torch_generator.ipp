#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <numbers>
#include <span>
#include <stdexcept>
#include <string>

#include <repaint/config.hpp>
#include <repaint/core/text.hpp>
#include <repaint/diffusion/torch_generator.hpp>

namespace repaint {

REPAINT_INLINE torch_cpu_generator::torch_cpu_generator(std::uint64_t seed) {
    state_.words[0] = static_cast<std::uint32_t>(seed);
    for (std::uint32_t i = 1; i < count; ++i) {
        const std::uint32_t last = state_.words[i - 1];
        state_.words[i] = 1812433253U * (last ^ (last >> 30U)) + i;
    }
}

REPAINT_INLINE void torch_cpu_generator::restore(const state& saved) {
    if (saved.position < 0 || saved.position > static_cast<int>(count)) {
        throw std::invalid_argument(
            joined_text({"torch_cpu_generator: the position of a state must be 0 to 624, got ", saved.position}));
    }
    state_ = saved;
}

REPAINT_INLINE std::uint32_t torch_cpu_generator::random32() {
    if (state_.position == static_cast<int>(count)) {
        twist();
    }
    std::uint32_t y = state_.words[static_cast<std::size_t>(state_.position++)];
    y ^= y >> 11U;
    y ^= (y << 7U) & 0x9D2C5680U;
    y ^= (y << 15U) & 0xEFC60000U;
    return y ^ (y >> 18U);
}

REPAINT_INLINE std::uint64_t torch_cpu_generator::random64() {
    const std::uint64_t high = random32();
    return (high << 32U) | random32();
}

REPAINT_INLINE std::int64_t torch_cpu_generator::randint(std::int64_t low, std::int64_t high) {
    if (low >= high) {
        throw std::invalid_argument(joined_text({"randint: low must be below high, got ", low, " and ", high}));
    }
    const std::uint64_t range = static_cast<std::uint64_t>(high) - static_cast<std::uint64_t>(low);
    const std::uint64_t word = range >= (std::uint64_t{1} << 28U) ? random64() : random32();
    return static_cast<std::int64_t>(word % range + static_cast<std::uint64_t>(low));
}

REPAINT_INLINE void torch_cpu_generator::uniform(std::span<float> out, float low, float high) {
    for (float& value : out) {
        value = uniform24() * (high - low) + low;
    }
}

REPAINT_INLINE void torch_cpu_generator::normal(std::span<float> out) {
    if (out.size() < block) {
        for (float& value : out) {
            value = static_cast<float>(normal_of_pair());
        }
        return;
    }
    uniform(out);
    for (std::size_t i = 0; i + block <= out.size(); i += block) {
        normals_in_place(out.subspan(i, block));
    }
    if (out.size() % block != 0) {
        // The last sixteen are drawn anew, over what the loop above left half done.
        const std::span<float> tail = out.last(block);
        uniform(tail);
        normals_in_place(tail);
    }
}

REPAINT_INLINE void torch_cpu_generator::twist() {
    constexpr std::size_t lag = 397;
    auto& w = state_.words;
    for (std::size_t i = 0; i < count; ++i) {
        const std::uint32_t y = (w[i] & 0x80000000U) | (w[(i + 1) % count] & 0x7FFFFFFFU);
        w[i] = w[(i + lag) % count] ^ (y >> 1U) ^ ((y & 1U) != 0U ? 0x9908B0DFU : 0U);
    }
    state_.position = 0;
}

REPAINT_INLINE double torch_cpu_generator::uniform53() {
    return static_cast<double>(random64() & 0x1FFFFFFFFFFFFFU) * 0x1p-53;
}

REPAINT_INLINE void torch_cpu_generator::normals_in_place(std::span<float> values) {
    constexpr std::size_t half = block / 2;
    for (std::size_t i = 0; i < half; ++i) {
        const float radius = std::sqrt(-2.0F * std::log(1.0F - values[i]));
        const float angle = 2.0F * std::numbers::pi_v<float> * values[i + half];
        values[i] = radius * std::cos(angle);
        values[i + half] = radius * std::sin(angle);
    }
}

REPAINT_INLINE double torch_cpu_generator::normal_of_pair() {
    if (state_.has_cached) {
        state_.has_cached = false;
        return state_.cached;
    }
    const double angle = 2.0 * std::numbers::pi * uniform53();
    const double radius = std::sqrt(-2.0 * std::log1p(-uniform53()));
    state_.cached = radius * std::sin(angle);
    state_.has_cached = true;
    return radius * std::cos(angle);
}

} // namespace repaint
