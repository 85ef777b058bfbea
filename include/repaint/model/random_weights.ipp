#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include <repaint/config.hpp>
#include <repaint/core/host_weights.hpp>
#include <repaint/diffusion/philox.hpp>
#include <repaint/io/new_weights.hpp>
#include <repaint/model/random_weights.hpp>

namespace repaint {

namespace detail {

/// FNV-1a. It gives equal numbers on every platform, which std::hash does not.
constexpr std::uint64_t hash_of(std::string_view name) {
    std::uint64_t hash = 0xCBF29CE484222325U;
    for (const char c : name) {
        hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001B3U;
    }
    return hash;
}

} // namespace detail

REPAINT_COLD host_weights random_weights(std::uint64_t seed, std::string_view name, const shape4& shape) {
    const detail::new_weights result = detail::make_weights(shape);
    const std::span<float> all = result.values;
    const std::size_t fan_in = static_cast<std::size_t>(shape.c) * shape.plane();
    const bool vector = fan_in == 1;
    if (vector && name.ends_with("weight")) {
        std::fill(all.begin(), all.end(), 1.0F);
    } else {
        const float deviation = vector ? 0.01F : 1.0F / std::sqrt(static_cast<float>(fan_in));
        philox_normal(seed, detail::hash_of(name), all);
        for (float& value : all) {
            value *= deviation;
        }
    }
    return result.weights;
}

} // namespace repaint
