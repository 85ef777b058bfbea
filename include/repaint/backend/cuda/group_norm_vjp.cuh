#pragma once

#include <algorithm>
#include <cstddef>

#include <repaint/backend/cuda/group_norm.cuh>

/// dx = J^T dy of y = then(z), z = norm(x) * (1 + scale) + shift. With dz = then'(z) dy, w = gamma (1 + scale) and
/// means over a group: dx = (w dz - mean(w dz) - norm(x) mean(w dz norm(x))) / deviation. Reads x and dy twice each,
/// besides the pass over x that its statistics take, and writes dx once: dz is computed anew, not kept in T.
namespace repaint::detail::cuda {

/// Over pixels of one channel: the sums of dz and of dz (x - mean).
struct channel_sums {
    float level;
    float slope;
};

/// What every value of a group gets back: dx = dz scale - level - (x - mean) slope, with the rounded mean.
struct group_feedback {
    float level;
    float slope;
};

/// dy becomes dz.
template <int Width>
__device__ void to_cotangent_of_norm(const maps_of_thread<Width>& own, activation then, const float* x, float* dy) {
    if (then == activation::none) {
        return;
    }
    float z[std::size_t{Width}];
    for (int i = 0; i < Width; ++i) {
        z[i] = x[i];
    }
    own.normalise(z);
    if (then == activation::silu) {
        for (int i = 0; i < Width; ++i) {
            dy[i] = activated_vjp(activation::silu, z[i], dy[i]);
        }
    } else {
        for (int i = 0; i < Width; ++i) {
            dy[i] = activated_vjp(activation::relu, z[i], dy[i]);
        }
    }
}

/// sums: [image][chunk][slot]
template <class T, int Width>
__global__ __launch_bounds__(tiling_threads) void group_norm_sums_kernel(measured_part<T> x, part<T> dy, int pixels,
                                                                         modulation m, int group_channels,
                                                                         float epsilon, activation then, tiling t,
                                                                         channel_sums* sums) {
    const int channels = x.x.channels;
    const std::ptrdiff_t image = blockIdx.z;
    const channel_moments* const of_image = x.moments + image * channels;
    const tiling_place<Width> place(t, channels, pixels);
    const int slots = place.columns * Width;
    auto* const maps = block_memory<channel_map>();
    auto* const of_rows = reinterpret_cast<channel_sums*>(maps + t.channels);
    auto* const groups = reinterpret_cast<group_moments*>(of_rows + static_cast<std::ptrdiff_t>(t.rows) * t.channels);
    fold_channels([of_image](int c) { return of_image[c]; }, image, channels, place.first, slots, pixels, m,
                  group_channels, epsilon, groups, maps);
    if (place.works) {
        const maps_of_thread<Width> own(maps + place.column * Width);
        const T* const x_from = x.x.data + image * pixels * x.x.stride + place.channel();
        const T* const dy_from = dy.data + image * pixels * dy.stride + place.channel();
        channel_sums found[std::size_t{Width}] = {};
        for (int p = place.begin + place.row; p < place.end; p += t.rows) {
            const auto value = channels_of<T, Width>::load(x_from + static_cast<std::ptrdiff_t>(p) * x.x.stride);
            auto dz = channels_of<T, Width>::load(dy_from + static_cast<std::ptrdiff_t>(p) * dy.stride);
            to_cotangent_of_norm(own, then, value.values, dz.values);
            for (int i = 0; i < Width; ++i) {
                found[i].level += dz.values[i];
                found[i].slope += dz.values[i] * (value.values[i] - own.maps[i].mean);
            }
        }
        for (int i = 0; i < Width; ++i) {
            of_rows[place.row * slots + i * place.columns + place.column] = found[i];
        }
    }
    __syncthreads();
    for (int slot = static_cast<int>(threadIdx.x); slot < slots; slot += tiling_threads) {
        channel_sums all = {0.0F, 0.0F};
        for (int row = 0; row < t.rows; ++row) {
            all.level += of_rows[row * slots + slot].level;
            all.slope += of_rows[row * slots + slot].slope;
        }
        sums[(image * t.chunks + blockIdx.x) * channels + place.first + slot] = all;
    }
}

/// blockIdx: group, image.
template <class T, int Width>
__global__
__launch_bounds__(tiling_threads) void group_norm_feedback_kernel(measured_part<T> x, int pixels, modulation m,
                                                                  int group_channels, float epsilon, tiling t,
                                                                  const channel_sums* sums, group_feedback* feedback) {
    const int channels = x.x.channels;
    const int group = static_cast<int>(blockIdx.x);
    const std::ptrdiff_t image = blockIdx.y;
    const channel_moments* const of_image = x.moments + image * channels;
    auto* const statistics = block_memory<group_moments>();
    auto* const scratch = reinterpret_cast<float*>(statistics + 1);
    measure_groups(
        group, group + 1, group_channels, pixels, epsilon, [of_image](int c) { return of_image[c]; },
        [&](int, const group_moments& found) { *statistics = found; });
    __syncthreads();
    const group_moments g = *statistics;
    float level = 0.0F;
    float slope = 0.0F;
    for (int k = static_cast<int>(threadIdx.x); k < group_channels * t.chunks; k += tiling_threads) {
        const int c = group * group_channels + k % group_channels;
        const int slab = c / t.channels * t.channels;
        const int columns = (channels - slab < t.channels ? channels - slab : t.channels) / Width;
        const int slot = slab + (c - slab) % Width * columns + (c - slab) / Width;
        const channel_sums s = sums[(image * t.chunks + k / group_channels) * channels + slot];
        const float weight = channel_weights(m, image, channels, c).factor;
        level += weight * s.level;
        slope += weight * (s.slope + g.rounding * s.level);
    }
    level = block_sum(level, scratch);
    slope = block_sum(slope, scratch);
    if (threadIdx.x == 0) {
        const float part = g.inverse / (static_cast<float>(group_channels) * static_cast<float>(pixels));
        level *= part;
        slope *= part * g.inverse * g.inverse;
        feedback[image * gridDim.x + group] = {level + slope * g.rounding, slope};
    }
}

template <class T, int Width>
__global__ __launch_bounds__(tiling_threads) void group_norm_vjp_kernel(measured_part<T> x, part<T> dy, int pixels,
                                                                        modulation m, int group_channels, float epsilon,
                                                                        activation then, tiling t,
                                                                        const group_feedback* feedback, T* dx) {
    const int channels = x.x.channels;
    const std::ptrdiff_t image = blockIdx.z;
    const channel_moments* const of_image = x.moments + image * channels;
    const tiling_place<Width> place(t, channels, pixels);
    auto* const maps = block_memory<channel_map>();
    auto* const groups = reinterpret_cast<group_moments*>(maps + t.channels);
    fold_channels([of_image](int c) { return of_image[c]; }, image, channels, place.first, place.columns * Width,
                  pixels, m, group_channels, epsilon, groups, maps);
    if (!place.works) {
        return;
    }
    const maps_of_thread<Width> own(maps + place.column * Width);
    group_feedback back[std::size_t{Width}];
    for (int i = 0; i < Width; ++i) {
        back[i] = feedback[image * (channels / group_channels) + (place.channel() + i) / group_channels];
    }
    const T* const x_from = x.x.data + image * pixels * x.x.stride + place.channel();
    const T* const dy_from = dy.data + image * pixels * dy.stride + place.channel();
    T* const to = dx + image * pixels * channels + place.channel();
    for (int p = place.begin + place.row; p < place.end; p += t.rows) {
        const auto value = channels_of<T, Width>::load(x_from + static_cast<std::ptrdiff_t>(p) * x.x.stride);
        auto result = channels_of<T, Width>::load(dy_from + static_cast<std::ptrdiff_t>(p) * dy.stride);
        to_cotangent_of_norm(own, then, value.values, result.values);
        for (int i = 0; i < Width; ++i) {
            result.values[i] = result.values[i] * own.maps[i].scale - back[i].level -
                               (value.values[i] - own.maps[i].mean) * back[i].slope;
        }
        result.store(to + static_cast<std::ptrdiff_t>(p) * channels);
    }
}

/// Floats of scratch that group_norm_vjp needs.
inline std::size_t group_norm_vjp_scratch(int images, int pixels, int channels, int groups) {
    int chunks = 1;
    for (const int width : {1, vector_width<float>, vector_width<__half>}) {
        chunks = std::max(chunks, tiling_of(channels, width, pixels, statistics_least).chunks);
    }
    return 2 * static_cast<std::size_t>(images) *
           (static_cast<std::size_t>(chunks) * static_cast<std::size_t>(channels) + static_cast<std::size_t>(groups));
}

template <class T, int Width>
void group_norm_vjp(const measured_part<T>& x, const part<T>& dy, int images, int pixels, const modulation& m,
                    const group_norm_options& options, float* scratch, T* dx, cudaStream_t stream) {
    const int channels = x.x.channels;
    const int group_channels = channels / options.groups;
    const tiling t = tiling_of(channels, Width, pixels, statistics_least);
    auto* const feedback = reinterpret_cast<group_feedback*>(scratch);
    auto* const sums = reinterpret_cast<channel_sums*>(feedback + static_cast<std::size_t>(images) *
                                                                      static_cast<std::size_t>(options.groups));
    const std::size_t folded =
        static_cast<std::size_t>(t.channels) * sizeof(channel_map) +
        static_cast<std::size_t>(groups_across(t.channels, group_channels, options.groups)) * sizeof(group_moments);
    const std::size_t of_rows =
        static_cast<std::size_t>(t.rows) * static_cast<std::size_t>(t.channels) * sizeof(channel_sums);
    launch("group_norm_vjp", group_norm_sums_kernel<T, Width>, t.grid(images), tiling_threads, folded + of_rows, stream,
           x, dy, pixels, m, group_channels, options.epsilon, options.then, t, sums);
    launch("group_norm_vjp", group_norm_feedback_kernel<T, Width>,
           dim3(static_cast<unsigned>(options.groups), static_cast<unsigned>(images)), tiling_threads,
           sizeof(group_moments) + tiling_threads / warp_size * sizeof(float), stream, x, pixels, m, group_channels,
           options.epsilon, t, sums, feedback);
    launch("group_norm_vjp", group_norm_vjp_kernel<T, Width>, t.grid(images), tiling_threads, folded, stream, x, dy,
           pixels, m, group_channels, options.epsilon, options.then, t, feedback, dx);
}

/// dx: NHWC without gaps. pixels: of one image. x.moments: from channel_statistics. scratch: group_norm_vjp_scratch
/// floats.
template <class T>
void group_norm_vjp(const measured_part<T>& x, const part<T>& dy, int images, int pixels, const modulation& m,
                    const group_norm_options& options, float* scratch, T* dx, cudaStream_t stream) {
    if (vectorised(x.x, dy, dx)) {
        group_norm_vjp<T, vector_width<T>>(x, dy, images, pixels, m, options, scratch, dx, stream);
    } else {
        group_norm_vjp<T, 1>(x, dy, images, pixels, m, options, scratch, dx, stream);
    }
}

} // namespace repaint::detail::cuda
