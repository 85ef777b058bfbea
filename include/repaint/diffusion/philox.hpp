#pragma once

#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

#include <repaint/core/host_device.hpp>

namespace repaint {

namespace detail {

/// Four 32-bit words: a counter going in, random bits coming out.
struct philox_words {
    std::uint32_t a = 0;
    std::uint32_t b = 0;
    std::uint32_t c = 0;
    std::uint32_t d = 0;
};

/// Four standard normals.
struct philox_normals {
    float a = 0.0F;
    float b = 0.0F;
    float c = 0.0F;
    float d = 0.0F;
};

/// The ten rounds of Philox4x32-10 (Salmon et al. 2011, section 4.3).
REPAINT_HOST_DEVICE constexpr philox_words philox_rounds(philox_words x, std::uint64_t key) {
    auto k0 = static_cast<std::uint32_t>(key);
    auto k1 = static_cast<std::uint32_t>(key >> 32U);
    for (int round = 0; round < 10; ++round) {
        const std::uint64_t p0 = std::uint64_t{0xD2511F53U} * x.a;
        const std::uint64_t p1 = std::uint64_t{0xCD9E8D57U} * x.c;
        x = {static_cast<std::uint32_t>(p1 >> 32U) ^ x.b ^ k0, static_cast<std::uint32_t>(p1),
             static_cast<std::uint32_t>(p0 >> 32U) ^ x.d ^ k1, static_cast<std::uint32_t>(p0)};
        k0 += 0x9E3779B9U;
        k1 += 0xBB67AE85U;
    }
    return x;
}

/// -2 ln u with u = a * 2^-32 + 2^-33, the square of a radius. Own arithmetic rather than the libm's: no branch, no
/// table, so compilers vectorise it and every platform agrees to the rounding of a fused multiply-add; kernels have the
/// bits of a host that does not fuse.
REPAINT_HOST_DEVICE inline float radius_squared(std::uint32_t a) {
    const float u = multiply_add(static_cast<float>(a), 0x1p-32F, 0x1p-33F);
    std::uint32_t bits = 0;
    std::memcpy(&bits, &u, sizeof bits);
    // u = m * 2^e with m in [sqrt(1/2), sqrt(2)): biased by the bits of sqrt(1/2), which keeps ln m small around u = 1.
    const auto e = static_cast<std::int32_t>(bits - 0x3F3504F3U) >> 23;
    bits -= static_cast<std::uint32_t>(e) << 23U;
    float m = 0.0F;
    std::memcpy(&m, &bits, sizeof m);
    const float f = m - 1.0F;
    float p = 0.0870044F;
    p = multiply_add(p, f, -0.142674863F);
    p = multiply_add(p, f, 0.149147689F);
    p = multiply_add(p, f, -0.16577585F);
    p = multiply_add(p, f, 0.199630633F);
    p = multiply_add(p, f, -0.250013381F);
    p = multiply_add(p, f, 0.333339095F);
    const float log_m = multiply_add(-(f * f), multiply_add(-f, p, 0.5F), f);
    return -2.0F * multiply_add(static_cast<float>(e), 0.693147181F, log_m);
}

/// first = r cos(angle), second = r sin(angle), angle = 2 pi (b * 2^-32 + 2^-33).
REPAINT_HOST_DEVICE inline void at_angle(float r, std::uint32_t b, float& first, float& second) {
    // The nearest quarter turn comes off in integers, exactly; what is left lies within an eighth of a turn.
    const std::uint32_t quarter = (b + 0x20000000U) >> 30U;
    const auto rest = static_cast<std::int32_t>(b - (quarter << 30U));
    const float x = (static_cast<float>(rest) + 0.5F) * 1.46291808e-9F;
    const float y = x * x;
    const float p = multiply_add(multiply_add(-1.95152825e-4F, y, 8.3321603e-3F), y, -1.66666552e-1F);
    const float q = multiply_add(multiply_add(2.44331568e-5F, y, -1.38873165e-3F), y, 4.16666456e-2F);
    const float s = multiply_add(x * y, p, x);
    const float c = multiply_add(-y, multiply_add(-y, q, 0.5F), 1.0F);
    const bool swap = (quarter & 1U) != 0U;
    const float cosine = swap ? s : c;
    const float sine = swap ? c : s;
    first = r * (((quarter + 1U) & 2U) != 0U ? -cosine : cosine);
    second = r * ((quarter & 2U) != 0U ? -sine : sine);
}

/// The two normals of two words (Box and Muller 1958).
REPAINT_HOST_DEVICE inline void normal_pair(std::uint32_t a, std::uint32_t b, float& first, float& second) {
    at_angle(square_root(radius_squared(a)), b, first, second);
}

/// The normals of elements 4 * group ... 4 * group + 3 of a draw.
REPAINT_HOST_DEVICE inline philox_normals philox_normal_group(std::uint64_t seed, std::uint64_t draw,
                                                              std::uint64_t group) {
    const philox_words w = philox_rounds({static_cast<std::uint32_t>(group), static_cast<std::uint32_t>(group >> 32U),
                                          static_cast<std::uint32_t>(draw), static_cast<std::uint32_t>(draw >> 32U)},
                                         seed);
    philox_normals n;
    normal_pair(w.a, w.b, n.a, n.b);
    normal_pair(w.c, w.d, n.c, n.d);
    return n;
}

} // namespace detail

/// Philox4x32-10: four random words for each counter and key, counter word 0 being the lowest (Salmon et al. 2011,
/// "Parallel random numbers: as easy as 1, 2, 3").
constexpr std::array<std::uint32_t, 4> philox4x32(std::array<std::uint32_t, 4> counter, std::uint64_t key) {
    const auto w = detail::philox_rounds({counter[0], counter[1], counter[2], counter[3]}, key);
    return {w.a, w.b, w.c, w.d};
}

/// Standard normal number `element` of draw number `draw` under `seed`: any element in any order, the same number each
/// time. Element e is number e % 4 of the group with key = seed and counter {low, high of e / 4, low, high of draw}.
/// The four words w of a group give r(w0) cos(w1), r(w0) sin(w1), r(w2) cos(w3), r(w2) sin(w3): Box-Muller with r(w) =
/// sqrt(-2 ln u) and angle 2 pi u, u = w * 2^-32 + 2^-33 (for the radius rounded to float32). |z| is below 6.8.
REPAINT_HOST_DEVICE inline float philox_normal_at(std::uint64_t seed, std::uint64_t draw, std::uint64_t element) {
    const detail::philox_normals n = detail::philox_normal_group(seed, draw, element / 4U);
    const float low = (element & 1U) != 0U ? n.b : n.a;
    const float high = (element & 1U) != 0U ? n.d : n.c;
    return (element & 2U) != 0U ? high : low;
}

/// out[i] = philox_normal_at(seed, draw, first + i), many at a time.
inline void philox_normal(std::uint64_t seed, std::uint64_t draw, std::span<float> out, std::uint64_t first = 0) {
    constexpr std::size_t groups = 64;
    constexpr std::size_t pairs = 2 * groups;
    constexpr std::size_t per_block = 2 * pairs;
    std::array<std::uint32_t, pairs> radius_words;
    std::array<std::uint32_t, pairs> angle_words;
    std::array<float, pairs> radii;
    std::array<float, per_block> normals;
    std::uint64_t group = first / 4U;
    auto skipped = static_cast<std::size_t>(first % 4U);
    std::size_t done = 0;
    while (done < out.size()) {
        // Whole blocks and one loop for each stage: compilers then use their vector units for all but the square root,
        // which has to be able to set errno.
        for (std::size_t i = 0; i < groups; ++i) {
            const std::uint64_t counter = group + i;
            const auto w =
                detail::philox_rounds({static_cast<std::uint32_t>(counter), static_cast<std::uint32_t>(counter >> 32U),
                                       static_cast<std::uint32_t>(draw), static_cast<std::uint32_t>(draw >> 32U)},
                                      seed);
            radius_words[2 * i] = w.a;
            angle_words[2 * i] = w.b;
            radius_words[2 * i + 1] = w.c;
            angle_words[2 * i + 1] = w.d;
        }
        for (std::size_t i = 0; i < pairs; ++i) {
            radii[i] = detail::radius_squared(radius_words[i]);
        }
        for (float& radius : radii) {
            radius = std::sqrt(radius);
        }
        for (std::size_t i = 0; i < pairs; ++i) {
            detail::at_angle(radii[i], angle_words[i], normals[2 * i], normals[2 * i + 1]);
        }
        const std::size_t available = per_block - skipped;
        const std::size_t wanted = out.size() - done;
        const std::size_t count = wanted < available ? wanted : available;
        std::memcpy(out.data() + done, normals.data() + skipped, count * sizeof(float));
        done += count;
        group += groups;
        skipped = 0;
    }
}

} // namespace repaint
