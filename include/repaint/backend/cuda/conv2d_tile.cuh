#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#include <repaint/backend/cuda/element.cuh>
#include <repaint/core/options.hpp>

/// What the convolutions that sum in block memory share: a tile of 64 pixels by 64 result channels, made by 256 threads
/// of which each keeps the sums of 4x4, and how a finished sum is written.
namespace repaint::detail::cuda {

inline constexpr int conv2d_threads = 256;
inline constexpr int tile_width = 64; ///< pixels, and result channels
inline constexpr int tile_depth = 16; ///< products that are summed between two barriers
inline constexpr int tile_pitch = tile_width + 4;
inline constexpr int tile_floats = tile_depth * tile_pitch;

/// Pixels and weights, two of each: one is read while the next is filled.
inline constexpr std::size_t tile_bytes = 4 * tile_floats * sizeof(float);

/// What a convolution adds before its activation: at most one of the two.
template <class T> struct conv2d_residual {
    const T* pixels = nullptr;     ///< of the shape and layout of the result
    const float* vector = nullptr; ///< [1 or images][out], added to every pixel
    bool vector_per_image = false;

    /// For element `index` of the result, which belongs to `channel` of `channels` of `image`.
    __device__ float at(std::size_t index, std::size_t image, int channel, int channels) const {
        if (pixels != nullptr) {
            return to_float(pixels[index]);
        }
        if (vector != nullptr) {
            return vector[(vector_per_image ? image * static_cast<std::size_t>(channels) : 0) +
                          static_cast<std::size_t>(channel)];
        }
        return 0.0F;
    }
};

/// Four neighbours, moved in one access.
template <class T> struct quad {
    float values[4];

    /// from: aligned to four elements.
    __device__ static quad load(const T* from) {
        struct alignas(4 * sizeof(T)) four_elements {
            T elements[4];
        };
        const four_elements raw = *reinterpret_cast<const four_elements*>(from);
        return {{to_float(raw.elements[0]), to_float(raw.elements[1]), to_float(raw.elements[2]),
                 to_float(raw.elements[3])}};
    }

    /// to: aligned to four elements.
    __device__ void store(T* to) const {
        struct alignas(4 * sizeof(T)) four_elements {
            T elements[4];
        };
        *reinterpret_cast<four_elements*>(to) = {
            {from_float<T>(values[0]), from_float<T>(values[1]), from_float<T>(values[2]), from_float<T>(values[3])}};
    }
};

/// True when quads of T can be moved from and to p.
template <class T> bool takes_quads(const T* p) { return reinterpret_cast<std::uintptr_t>(p) % (4 * sizeof(T)) == 0; }

/// The sums of one thread: pixels 4 * (thread / 16) + 0..3, channels 4 * (thread % 16) + 0..3 of the tile. Products are
/// summed in chains of 128, and the chains then: a rounding error that grows with the square root of both. The order is
/// the same for every element of every result.
struct tile_sums {
    static constexpr int steps_per_chain = 8;

    float chain[4][4] = {};
    float total[4][4] = {};
    int steps = 0;

    /// Adds tile_depth products. pixels, weights: [tile_depth][tile_pitch] in block memory.
    __device__ void add(const float* pixels, const float* weights, int thread) {
        const float* a = pixels + thread / 16 * 4;
        const float* b = weights + thread % 16 * 4;
#if defined(__CUDA_ARCH__)
#pragma unroll
#endif
        for (int k = 0; k < tile_depth; ++k) {
            const quad<float> x = quad<float>::load(a + k * tile_pitch);
            const quad<float> w = quad<float>::load(b + k * tile_pitch);
            for (int i = 0; i < 4; ++i) {
                for (int j = 0; j < 4; ++j) {
                    chain[i][j] += x.values[i] * w.values[j];
                }
            }
        }
        if (++steps == steps_per_chain) {
            end_chain();
        }
    }

    __device__ void end_chain() {
        steps = 0;
        for (int i = 0; i < 4; ++i) {
            for (int j = 0; j < 4; ++j) {
                total[i][j] += chain[i][j];
                chain[i][j] = 0.0F;
            }
        }
    }
};

/// Writes four sums, channels [channel, channel + 4) as far as there are so many, of the pixel that begins at element
/// `base` of y. quads: y and what is added to it take them.
template <class T>
__device__ void write_channels(const float (&sums)[4], std::size_t base, std::size_t image, int channel, int channels,
                               const float* bias, const conv2d_residual<T>& residual, activation then, bool quads,
                               T* y) {
    const std::size_t at = base + static_cast<std::size_t>(channel);
    if (quads && channel + 4 <= channels) {
        quad<T> result{{sums[0], sums[1], sums[2], sums[3]}};
        if (bias != nullptr) {
            for (int e = 0; e < 4; ++e) {
                result.values[e] += bias[channel + e];
            }
        }
        if (residual.pixels != nullptr) {
            const quad<T> more = quad<T>::load(residual.pixels + at);
            for (int e = 0; e < 4; ++e) {
                result.values[e] += more.values[e];
            }
        } else if (residual.vector != nullptr) {
            for (int e = 0; e < 4; ++e) {
                result.values[e] += residual.at(at, image, channel + e, channels);
            }
        }
        for (int e = 0; e < 4; ++e) {
            result.values[e] = activated(then, result.values[e]);
        }
        result.store(y + at);
        return;
    }
    for (int e = 0; e < 4; ++e) {
        if (channel + e < channels) {
            float value = sums[e];
            if (bias != nullptr) {
                value += bias[channel + e];
            }
            value += residual.at(at + static_cast<std::size_t>(e), image, channel + e, channels);
            y[at + static_cast<std::size_t>(e)] = from_float<T>(activated(then, value));
        }
    }
}

} // namespace repaint::detail::cuda
