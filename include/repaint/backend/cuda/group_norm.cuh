#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>

#include <repaint/backend/cuda/channel_statistics.cuh>
#include <repaint/core/options.hpp>

/// y = then(norm(x) * (1 + scale) + shift), of an activation in one part or two, whose statistics are known
/// (channel_statistics.cuh). Reads x once and writes y once, in accesses of sixteen bytes where all allow it; y may be
/// of half the size, the mean of each 2x2.
namespace repaint::detail::cuda {

/// What becomes of normalised values: (u * gamma + beta) * (1 + scale) + shift.
struct modulation {
    const float* gamma;
    const float* beta;
    const float* scale_shift; ///< [2 channels] of each image, scale first; null: 0 and 0
    std::ptrdiff_t stride;    ///< from image to image of scale_shift; 0: one for all
};

/// moments: [images][x.channels]; null for a part without channels.
template <class T> struct measured_part {
    part<T> x;
    const channel_moments* moments;
};

/// Of one image and group.
struct group_moments {
    float mean;
    float rounding; ///< mean - the true mean: at a mean of 1000 it is 3e-5
    float inverse;  ///< of the standard deviation
};

/// Statistics of the groups [first, last). of(c): channel_moments of channel c; store(g, group_moments) is called by
/// one thread. All threads must call it.
template <class Of, class Store>
__device__ void measure_groups(int first, int last, int group_channels, int pixels, float epsilon, Of&& of,
                               Store&& store) {
    constexpr int team = 8; // threads that share a group
    const auto over_team = [](float value) {
        for (int distance = team / 2; distance > 0; distance /= 2) {
            value += __shfl_xor_sync(0xFFFFFFFFU, value, distance);
        }
        return value;
    };
    const int teams = static_cast<int>(blockDim.x) / team;
    const int lane = static_cast<int>(threadIdx.x) % team;
    const float count = static_cast<float>(group_channels);
    for (int base = first; base < last; base += teams) {
        const int own = base + static_cast<int>(threadIdx.x) / team;
        const int group = own < last ? own : last - 1;
        const int begin = group * group_channels;
        const float origin = of(begin).mean;
        float sum = 0.0F;
        for (int c = lane; c < group_channels; c += team) {
            sum += of(begin + c).mean - origin;
        }
        const float distance = over_team(sum) / count; // of the mean from the origin
        float within = 0.0F;
        float between = 0.0F;
        for (int c = lane; c < group_channels; c += team) {
            const channel_moments m = of(begin + c);
            const float d = m.mean - origin - distance;
            within += m.squares;
            between += d * d;
        }
        const float variance = (over_team(within) / static_cast<float>(pixels) + over_team(between)) / count;
        if (own < last && lane == 0) {
            const float mean = origin + distance;
            store(group, group_moments{mean, mean - origin - distance, 1.0F / std::sqrt(variance + epsilon)});
        }
    }
}

/// y = (x - mean) * scale + shift
struct channel_map {
    float mean;
    float scale;
    float shift;
};

/// gamma (1 + scale), beta (1 + scale) + shift: of channel c of `channels`.
struct channel_weights {
    float factor;
    float term;

    __device__ channel_weights(const modulation& m, std::ptrdiff_t image, int channels, int c)
        : factor(m.gamma[c]), term(m.beta[c]) {
        if (m.scale_shift != nullptr) {
            const float* const of_image = m.scale_shift + image * m.stride;
            const float scale = 1.0F + of_image[c];
            factor *= scale;
            term = term * scale + of_image[channels + c];
        }
    }
};

__device__ inline channel_map mapped(const channel_weights& w, const group_moments& g) {
    const float scale = g.inverse * w.factor;
    return {g.mean, scale, w.term + g.rounding * scale};
}

/// The maps of a thread's channels.
template <int Width> struct maps_of_thread {
    channel_map maps[std::size_t{Width}];

    __device__ explicit maps_of_thread(const channel_map* from) {
        for (int i = 0; i < Width; ++i) {
            maps[i] = from[i];
        }
    }

    __device__ void normalise(float* values) const {
        for (int i = 0; i < Width; ++i) {
            values[i] = (values[i] - maps[i].mean) * maps[i].scale + maps[i].shift;
        }
    }

    __device__ void apply(activation then, float* values) const {
        normalise(values);
        if (then == activation::silu) {
            for (int i = 0; i < Width; ++i) {
                values[i] = activated(activation::silu, values[i]);
            }
        } else if (then == activation::relu) {
            for (int i = 0; i < Width; ++i) {
                values[i] = activated(activation::relu, values[i]);
            }
        }
    }
};

/// Two parts of an image as one.
template <class T> struct joint_image {
    measured_part<T> first;
    measured_part<T> second;
    std::ptrdiff_t image;

    /// The moments of channel c.
    __device__ channel_moments operator()(int c) const {
        return c < first.x.channels ? first.moments[image * first.x.channels + c]
                                    : second.moments[image * second.x.channels + (c - first.x.channels)];
    }
};

/// Channel c of the first pixel of an image that has `pixels`, and the distance of the next.
template <class T> struct channel_of_parts {
    const T* data;
    std::ptrdiff_t stride;

    __device__ channel_of_parts(const part<T>& first, const part<T>& second, int c, std::ptrdiff_t image, int pixels) {
        const bool in_first = c < first.channels;
        stride = in_first ? first.stride : second.stride;
        data = (in_first ? first.data + c : second.data + (c - first.channels)) + image * pixels * stride;
    }
};

/// How many groups `channels` neighbouring channels can be in.
inline int groups_across(int channels, int group_channels, int groups) {
    return std::min(groups, (channels - 1) / group_channels + 2);
}

/// Writes the maps of `count` channels from `first` on to block memory: maps[count], by way of groups[groups_across].
/// of(c): channel_moments of channel c of the image. All threads must call it.
template <class Of>
__device__ void fold_channels(Of&& of, std::ptrdiff_t image, int channels, int first, int count, int pixels,
                              const modulation& m, int group_channels, float epsilon, group_moments* groups,
                              channel_map* maps) {
    const int thread = static_cast<int>(threadIdx.x);
    const int first_group = first / group_channels;
    const int last_group = (first + count - 1) / group_channels + 1;
    const channel_weights own(m, image, channels, first + (thread < count ? thread : 0)); // on their way meanwhile
    measure_groups(first_group, last_group, group_channels, pixels, epsilon, of,
                   [&](int g, const group_moments& found) { groups[g - first_group] = found; });
    __syncthreads();
    for (int c = thread; c < count; c += static_cast<int>(blockDim.x)) {
        maps[c] = mapped(c == thread ? own : channel_weights(m, image, channels, first + c),
                         groups[(first + c) / group_channels - first_group]);
    }
    __syncthreads();
}

/// Blocks of normalise_kernel for one image: what an H100 or H200 has room for at once (132 multiprocessors with three
/// each), so that none waits for the first ones to end. The result does not depend on it.
inline constexpr int normalise_blocks = 396;

/// h, w: of x.
template <class T, int Width, bool AverageDown>
__global__ __launch_bounds__(tiling_threads, 3) void normalise_kernel(measured_part<T> first, measured_part<T> second,
                                                                      int h, int w, modulation m, int group_channels,
                                                                      float epsilon, activation then, tiling t, T* y) {
    const int channels = first.x.channels + second.x.channels;
    const int pixels = h * w;
    const int written = AverageDown ? pixels / 4 : pixels;
    const std::ptrdiff_t image = blockIdx.z;
    const tiling_place<Width> place(t, channels, written);
    auto* const maps = block_memory<channel_map>();
    auto* const groups = reinterpret_cast<group_moments*>(maps + t.channels);
    const channel_of_parts<T> from(first.x, second.x, place.channel(), image, pixels);
    T* const to = y + image * written * channels + place.channel();
    constexpr int together = 4; // loads under way: of so many pixels, or of those that become one
    const int step = AverageDown ? t.rows : together * t.rows;
    packed_channels<T, Width> values[together];
    // Of pixels of the chunk alone, also where the thread has none.
    const auto load = [&](int p) {
        for (int k = 0; k < together; ++k) {
            std::ptrdiff_t at = 0;
            if constexpr (AverageDown) {
                const int columns = w / 2;
                const int q = p < place.end ? p : place.end - 1;
                at = static_cast<std::ptrdiff_t>(q / columns * 2 + k / 2) * w + (q % columns * 2 + k % 2);
            } else {
                const int q = p + k * t.rows;
                at = q < place.end ? q : place.end - 1;
            }
            values[k] = packed_channels<T, Width>::load(from.data + at * from.stride);
        }
    };
    load(place.begin + place.row); // on their way while the maps are made
    fold_channels(joint_image<T>{first, second, image}, image, channels, place.first, place.columns * Width, pixels, m,
                  group_channels, epsilon, groups, maps);
    if (!place.works) {
        return;
    }
    const maps_of_thread<Width> own(maps + place.column * Width);
    for (int p = place.begin + place.row; p < place.end; p += step) {
        if constexpr (AverageDown) {
            channels_of<T, Width> sum{};
            for (int k = 0; k < together; ++k) {
                auto value = values[k].unpacked();
                own.apply(then, value.values);
                for (int i = 0; i < Width; ++i) {
                    sum.values[i] += 0.25F * value.values[i];
                }
            }
            sum.store(to + static_cast<std::ptrdiff_t>(p) * channels);
        } else {
            for (int k = 0; k < together; ++k) {
                const int q = p + k * t.rows;
                if (q < place.end) {
                    auto value = values[k].unpacked();
                    own.apply(then, value.values);
                    value.store(to + static_cast<std::ptrdiff_t>(q) * channels);
                }
            }
        }
        if (p + step < place.end) {
            load(p + step);
        }
    }
}

/// Whether threads may take sixteen bytes of y and of both parts at once.
template <class T> bool vectorised(const part<T>& first, const part<T>& second, const T* y) {
    return vectorised(first) && vectorised(second) && on_vector_border({y});
}

template <class T, int Width, bool AverageDown>
void normalise(const measured_part<T>& first, const measured_part<T>& second, int images, int h, int w,
               const modulation& m, const group_norm_options& options, T* y, cudaStream_t stream) {
    const int channels = first.x.channels + second.x.channels;
    const int group_channels = channels / options.groups;
    const tiling t = tiling_of(channels, Width, AverageDown ? h * w / 4 : h * w, AverageDown ? 2 : 4, normalise_blocks);
    const std::size_t bytes =
        static_cast<std::size_t>(t.channels) * sizeof(channel_map) +
        static_cast<std::size_t>(groups_across(t.channels, group_channels, options.groups)) * sizeof(group_moments);
    launch("group_norm", normalise_kernel<T, Width, AverageDown>, t.grid(images), tiling_threads, bytes, stream, first,
           second, h, w, m, group_channels, options.epsilon, options.then, t, y);
}

/// y: NHWC without gaps, (images, h, w, channels of both parts), or of h / 2 and w / 2 when average_down is true: then
/// h and w are even. The second part may have no channels. Groups may span both.
template <class T>
void normalise(const measured_part<T>& first, const measured_part<T>& second, int images, int h, int w,
               const modulation& m, const group_norm_options& options, bool average_down, T* y, cudaStream_t stream) {
    constexpr int wide = vector_width<T>;
    const bool vectors = vectorised(first.x, second.x, y);
    const auto chosen = vectors ? (average_down ? normalise<T, wide, true> : normalise<T, wide, false>)
                                : (average_down ? normalise<T, 1, true> : normalise<T, 1, false>);
    chosen(first, second, images, h, w, m, options, y, stream);
}

} // namespace repaint::detail::cuda
