#pragma once

#include <algorithm>
#include <cstddef>

#include <repaint/backend/cuda/grid_barrier.cuh>
#include <repaint/backend/cuda/group_norm.cuh>

/// group_norm in one launch, of activations that fit into the memory of blocks. Blocks that share a slab of channels
/// (whole groups) of an image keep what they have read until the statistics of the slab are known: x is read once, y is
/// written once, and the moments of the channels come with it.
namespace repaint::detail::cuda {

inline constexpr int resident_threads = 512;

/// What a device can keep at once (cudaDeviceProp: multiProcessorCount, sharedMemPerMultiprocessor,
/// sharedMemPerBlockOptin, reservedSharedMemPerBlock).
struct residency {
    int multiprocessors;
    std::size_t memory;          ///< bytes of block memory of a multiprocessor
    std::size_t memory_of_block; ///< the most that one block may ask for
    std::size_t reserved;        ///< what a block costs besides
};

/// How an image is shared among blocks; the same for any number of images. A unit of work is a slab of an image.
struct resident_plan {
    int slab = 0;          ///< channels: whole groups
    int slabs = 0;         ///< of an image
    int chunks = 0;        ///< blocks that share a unit; 0: it does not fit
    int pixels = 0;        ///< of a chunk
    int teams = 0;         ///< units that can be under way at once
    std::size_t bytes = 0; ///< of block memory

    [[nodiscard]] bool fits() const { return chunks > 0; }
    /// Floats that normalise_resident needs.
    [[nodiscard]] std::size_t scratch(int images) const {
        return chunks > 1 ? static_cast<std::size_t>(images) * static_cast<std::size_t>(slabs) *
                                static_cast<std::size_t>(slab) * static_cast<std::size_t>(chunks) * 2
                          : 0;
    }
    /// Barriers that it needs, all zeros before the first use, whatever the number of images.
    [[nodiscard]] int barriers() const { return chunks > 1 ? teams : 0; }
};

/// The parts of a block's memory, in bytes from its beginning.
struct resident_memory {
    std::size_t of_rows; ///< after the pixels
    std::size_t joined;
    std::size_t groups;
    std::size_t maps;
    std::size_t scratch;
    std::size_t end;

    REPAINT_HOST_DEVICE resident_memory(std::size_t values_bytes, int slab, int width, int group_channels) {
        const auto channels = static_cast<std::size_t>(slab);
        const auto rows = static_cast<std::size_t>(resident_threads / (slab / width));
        of_rows = (values_bytes + 15) / 16 * 16;
        joined = of_rows + rows * channels * sizeof(channel_moments);
        groups = joined + channels * sizeof(channel_moments);
        maps = groups + static_cast<std::size_t>(slab / group_channels) * sizeof(group_moments);
        scratch = maps + channels * sizeof(channel_map);
        end = scratch + resident_threads * sizeof(float);
    }
};

/// What fits best, for x of h x w pixels in `channels` channels; 16-byte accesses when `vectors`. A unit that needs
/// several blocks needs a barrier, which costs about as much as 64 kB of traffic of a multiprocessor.
template <class T>
resident_plan plan_resident(int h, int w, int channels, int groups, bool vectors, bool average_down,
                            const residency& device) {
    constexpr std::size_t barrier_cost = std::size_t{64} << 10U;
    constexpr int most_per_multiprocessor = 2; // what the registers allow, see __launch_bounds__
    const int width = vectors ? vector_width<T> : 1;
    const int group_channels = channels / groups;
    resident_plan best;
    // The smallest slab whose pixels are segments of 128 bytes, or else all channels.
    for (int d = 1; d <= groups && best.slab == 0; ++d) {
        const int slab = group_channels * d;
        const bool wide = static_cast<std::size_t>(slab) * sizeof(T) >= 128 || d == groups;
        if (groups % d == 0 && slab % width == 0 && wide) {
            best.slab = slab;
        }
    }
    if (best.slab == 0 || best.slab / width > resident_threads) {
        return {};
    }
    best.slabs = channels / best.slab;
    const int unit = average_down ? 2 * w : 1; // pixels that must not part
    const int units = h * w / unit;
    std::size_t least = 0;
    for (int wanted = 1; wanted <= std::min(units, most_per_multiprocessor * device.multiprocessors); ++wanted) {
        const int pixels = ceil_div(units, wanted) * unit;
        const int chunks = ceil_div(h * w, pixels);
        const std::size_t share = static_cast<std::size_t>(pixels) * static_cast<std::size_t>(best.slab) * sizeof(T);
        const std::size_t bytes = resident_memory(share, best.slab, width, group_channels).end;
        if (bytes > device.memory_of_block || chunks != wanted) {
            continue;
        }
        const int together =
            static_cast<int>(std::min(device.memory / (bytes + device.reserved), std::size_t{most_per_multiprocessor}));
        const int teams = together * device.multiprocessors / chunks;
        if (teams == 0) {
            continue;
        }
        const int under_way = std::min(teams, best.slabs);
        const auto rounds = static_cast<std::size_t>(ceil_div(best.slabs, under_way));
        const auto crowd = static_cast<std::size_t>(ceil_div(under_way * chunks, device.multiprocessors));
        const std::size_t cost = rounds * (crowd * 2 * share + (chunks > 1 ? barrier_cost : 0));
        if (least == 0 || cost < least) {
            least = cost;
            best.chunks = chunks;
            best.pixels = pixels;
            best.teams = teams;
            best.bytes = bytes;
        }
    }
    return best.fits() ? best : resident_plan{};
}

/// As measured_part, but the moments are a result, or null when nobody needs them.
template <class T> struct unmeasured_part {
    part<T> x;
    channel_moments* moments;
};

/// blockIdx.x: team * chunks + chunk. partial: [unit][chunk][slot]; neither it nor barriers are used when there is but
/// one chunk.
template <class T, int Width, bool AverageDown>
__global__ __launch_bounds__(resident_threads, 2) void normalise_resident_kernel(
    unmeasured_part<T> first, unmeasured_part<T> second, int images, int h, int w, modulation m, int group_channels,
    float epsilon, activation then, resident_plan plan, channel_moments* partial, grid_barrier* barriers, T* y) {
    const int channels = first.x.channels + second.x.channels;
    const int pixels = h * w;
    const int team = static_cast<int>(blockIdx.x) / plan.chunks;
    const int teams = static_cast<int>(gridDim.x) / plan.chunks;
    const int chunk = static_cast<int>(blockIdx.x) % plan.chunks;
    const int begin = chunk * plan.pixels;
    const int count = pixels - begin < plan.pixels ? pixels - begin : plan.pixels;
    const int columns = plan.slab / Width;
    const int rows = resident_threads / columns;
    const int column = static_cast<int>(threadIdx.x) % columns;
    const int row = static_cast<int>(threadIdx.x) / columns;

    const resident_memory at(static_cast<std::size_t>(plan.pixels) * static_cast<std::size_t>(plan.slab) * sizeof(T),
                             plan.slab, Width, group_channels);
    auto* const memory = block_memory<unsigned char>();
    T* const values = reinterpret_cast<T*>(memory) + column * Width; // [pixel][slab]
    auto* const of_rows = reinterpret_cast<channel_moments*>(memory + at.of_rows);
    auto* const joined = reinterpret_cast<channel_moments*>(memory + at.joined);
    auto* const groups = reinterpret_cast<group_moments*>(memory + at.groups);
    auto* const maps = reinterpret_cast<channel_map*>(memory + at.maps);
    auto* const scratch = reinterpret_cast<float*>(memory + at.scratch);

    for (int unit = team; unit < images * plan.slabs; unit += teams) {
        const std::ptrdiff_t image = std::ptrdiff_t{unit / plan.slabs};
        const int slab = unit % plan.slabs * plan.slab;
        const int c = slab + column * Width;
        const unsigned opened = plan.chunks > 1 ? times_opened(barriers + team) : 0U;
        if (row < rows && row < count) {
            constexpr int ahead = 4; // loads under way
            moments_of_thread<Width> own;
            const channel_of_parts<T> from(first.x, second.x, c, image, pixels);
            for (int p = row; p < count; p += ahead * rows) {
                packed_channels<T, Width> loaded[ahead];
                for (int k = 0; k < ahead; ++k) {
                    const int q = p + k * rows;
                    loaded[k] = packed_channels<T, Width>::load(
                        from.data + static_cast<std::ptrdiff_t>(begin + (q < count ? q : p)) * from.stride);
                }
                for (int k = 0; k < ahead; ++k) {
                    const int q = p + k * rows;
                    if (q < count) {
                        loaded[k].store(values + static_cast<std::ptrdiff_t>(q) * plan.slab);
                        own.add(loaded[k].unpacked().values);
                    }
                }
            }
            own.leave(columns, column, of_rows + row * plan.slab);
        }

        const int thread = static_cast<int>(threadIdx.x);
        const channel_weights weights(m, image, channels, slab + (thread < plan.slab ? thread : 0)); // on their way
        channel_moments* const of_unit = partial + static_cast<std::ptrdiff_t>(unit) * plan.chunks * plan.slab;
        const auto keep = [&](int slot, const channel_moments& found) {
            joined[channel_of_slot<Width>(slot, columns)] = found;
        };
        if (plan.chunks == 1) {
            join_rows(plan.slab, rows, count, of_rows, scratch, keep);
        } else {
            join_rows(plan.slab, rows, count, of_rows, scratch, [&](int slot, const channel_moments& found) {
                of_unit[static_cast<std::ptrdiff_t>(chunk) * plan.slab + slot] = found;
            });
            wait_at(barriers + team, static_cast<unsigned>(plan.chunks), opened);
            join_moments(
                plan.slab, plan.chunks, pixels, scratch,
                [&](int k, int slot) {
                    const int of_chunk = k + 1 < plan.chunks ? plan.pixels : pixels - k * plan.pixels;
                    return counted_moments{static_cast<float>(of_chunk),
                                           of_unit[static_cast<std::ptrdiff_t>(k) * plan.slab + slot]};
                },
                keep);
        }
        __syncthreads();
        measure_groups(
            0, plan.slab / group_channels, group_channels, pixels, epsilon,
            [&](int channel) { return joined[channel]; },
            [&](int g, const group_moments& found) { groups[g] = found; });
        __syncthreads();
        for (int k = thread; k < plan.slab; k += resident_threads) {
            maps[k] = mapped(k == thread ? weights : channel_weights(m, image, channels, slab + k),
                             groups[k / group_channels]);
            if (chunk == 0) {
                const bool in_first = slab + k < first.x.channels;
                channel_moments* const moments = in_first ? first.moments : second.moments;
                if (moments != nullptr) {
                    moments[in_first ? image * first.x.channels + (slab + k)
                                     : image * second.x.channels + (slab + k - first.x.channels)] = joined[k];
                }
            }
        }
        __syncthreads();
        if (row < rows) {
            const maps_of_thread<Width> own(maps + column * Width);
            if constexpr (AverageDown) {
                T* const to = y + (image * pixels + begin) / 4 * channels + c;
                const int half = w / 2;
                for (int p = row; p < count / 4; p += rows) {
                    const int corner = p / half * 2 * w + p % half * 2;
                    const int square[] = {corner, corner + 1, corner + w, corner + w + 1};
                    channels_of<T, Width> sum{};
                    for (int k = 0; k < 4; ++k) {
                        auto value =
                            channels_of<T, Width>::load(values + static_cast<std::ptrdiff_t>(square[k]) * plan.slab);
                        own.apply(then, value.values);
                        for (int i = 0; i < Width; ++i) {
                            sum.values[i] += 0.25F * value.values[i];
                        }
                    }
                    sum.store(to + static_cast<std::ptrdiff_t>(p) * channels);
                }
            } else {
                T* const to = y + (image * pixels + begin) * channels + c;
                for (int p = row; p < count; p += rows) {
                    auto value = channels_of<T, Width>::load(values + static_cast<std::ptrdiff_t>(p) * plan.slab);
                    own.apply(then, value.values);
                    value.store(to + static_cast<std::ptrdiff_t>(p) * channels);
                }
            }
        }
        __syncthreads(); // before the next unit's values come
    }
}

template <class T, int Width, bool AverageDown>
void normalise_resident(const unmeasured_part<T>& first, const unmeasured_part<T>& second, int images, int h, int w,
                        const modulation& m, const group_norm_options& options, const resident_plan& plan,
                        float* scratch, grid_barrier* barriers, T* y, cudaStream_t stream) {
    const int group_channels = (first.x.channels + second.x.channels) / options.groups;
    const int units = images * plan.slabs;
    const auto go = [&](auto&& how, int blocks) {
        how("group_norm", normalise_resident_kernel<T, Width, AverageDown>, dim3(static_cast<unsigned>(blocks)),
            resident_threads, plan.bytes, stream, first, second, images, h, w, m, group_channels, options.epsilon,
            options.then, plan, reinterpret_cast<channel_moments*>(scratch), barriers, y);
    };
    if (plan.chunks == 1) {
        go([](auto&&... arguments) { launch(arguments...); }, units);
    } else {
        go([](auto&&... arguments) { launch_cooperative(arguments...); }, std::min(units, plan.teams) * plan.chunks);
    }
}

/// Whether a device keeps as many blocks of this plan alive as it counts on: others may have a share of the device.
/// Throws device_error.
template <class T> bool holds(const resident_plan& plan, bool vectors, bool average_down, const residency& device) {
    if (plan.chunks == 1) {
        return true;
    }
    constexpr int wide = vector_width<T>;
    const auto kernel =
        vectors ? (average_down ? normalise_resident_kernel<T, wide, true> : normalise_resident_kernel<T, wide, false>)
                : (average_down ? normalise_resident_kernel<T, 1, true> : normalise_resident_kernel<T, 1, false>);
    return blocks_together("group_norm", kernel, resident_threads, plan.bytes) * device.multiprocessors >=
           plan.teams * plan.chunks;
}

/// As normalise(), and writes the moments of both parts. plan: plan_resident<T>() of the same sizes, which fits, with
/// vectors = vectorised(first.x, second.x, y). scratch: plan.scratch(images) floats. barriers: plan.barriers().
template <class T>
void normalise_resident(const unmeasured_part<T>& first, const unmeasured_part<T>& second, int images, int h, int w,
                        const modulation& m, const group_norm_options& options, bool average_down,
                        const resident_plan& plan, float* scratch, grid_barrier* barriers, T* y, cudaStream_t stream) {
    constexpr int wide = vector_width<T>;
    const bool vectors = vectorised(first.x, second.x, y);
    const auto chosen = vectors
                            ? (average_down ? normalise_resident<T, wide, true> : normalise_resident<T, wide, false>)
                            : (average_down ? normalise_resident<T, 1, true> : normalise_resident<T, 1, false>);
    chosen(first, second, images, h, w, m, options, plan, scratch, barriers, y, stream);
}

} // namespace repaint::detail::cuda
