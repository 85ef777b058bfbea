#pragma once

#include <algorithm>
#include <cstddef>

#include <repaint/backend/cuda/element.cuh>
#include <repaint/backend/cuda/layout.cuh>
#include <repaint/backend/cuda/part.cuh>
#include <repaint/backend/cuda/runtime.cuh>

/// The statistics of activations, per image and channel: groups of any size are made of them, also after a concat. They
/// read x once. Moments of few values are joined to those of many (Chan, Golub and LeVeque 1979), in a fixed order: no
/// difference of large sums, and the same bits whatever the batch.
namespace repaint::detail::cuda {

/// Of the pixels of one channel of one image.
struct channel_moments {
    float mean;
    float squares; ///< the sum of (x - mean)^2
};

/// Whether all its pixels begin on a border of sixteen bytes and are whole multiples of them. No channels do.
template <class T> bool vectorised(const part<T>& x) {
    return in_vectors<T>({x.data}, {static_cast<std::size_t>(x.channels), static_cast<std::size_t>(x.stride)});
}

// ---- how blocks walk over activations -------------------------------------------------------------------------------

inline constexpr int tiling_threads = 256;

/// `columns` threads side by side take neighbouring channels of one pixel, `rows` pixels at a time. A block takes a
/// slab of channels of a chunk of pixels of an image; it stands at (chunk, slab, image) of the grid.
struct tiling {
    int channels; ///< of a slab; the last may have fewer
    int slabs;
    int rows;
    int pixels; ///< of a chunk; the last may have fewer
    int chunks;

    [[nodiscard]] dim3 grid(int images) const {
        return dim3(static_cast<unsigned>(chunks), static_cast<unsigned>(slabs), static_cast<unsigned>(images));
    }
};

/// Depends on nothing but the shape of one image. width: channels that a thread takes. least: pixels that a thread
/// takes at the least; more when there would be more than about `blocks` blocks per image.
inline tiling tiling_of(int channels, int width, int pixels, int least, int blocks = 512) {
    constexpr int widest = 32;
    const std::size_t enough = static_cast<std::size_t>(blocks) * tiling_threads;
    const int vectors = ceil_div(channels, width);
    const int columns = ceil_div(vectors, ceil_div(vectors, widest));
    const int rows = tiling_threads / columns;
    const std::size_t each = ceil_div(static_cast<std::size_t>(pixels) * static_cast<std::size_t>(vectors), enough);
    const int chunk = static_cast<int>(std::clamp(each, static_cast<std::size_t>(least), std::size_t{64})) * rows;
    return {columns * width, ceil_div(vectors, columns), rows, chunk, ceil_div(pixels, chunk)};
}

/// Where a thread of a tiling stands. Width: channels that it takes.
template <int Width> struct tiling_place {
    int first;   ///< channel of the slab
    int columns; ///< of the slab
    int column;
    int row;
    int begin; ///< pixel of the chunk
    int end;
    bool works; ///< some threads may be too many

    __device__ tiling_place(const tiling& t, int channels, int pixels) {
        first = static_cast<int>(blockIdx.y) * t.channels;
        const int left = channels - first;
        columns = (left < t.channels ? left : t.channels) / Width;
        begin = static_cast<int>(blockIdx.x) * t.pixels;
        end = pixels - begin < t.pixels ? pixels : begin + t.pixels;
        column = static_cast<int>(threadIdx.x) % columns;
        row = static_cast<int>(threadIdx.x) / columns;
        works = row < t.rows;
    }

    /// The first channel of the thread.
    [[nodiscard]] __device__ int channel() const { return first + column * Width; }
};

/// What threads leave for one another lies in slots: the first channels of all columns, then the second ones, so that
/// neighbouring threads find neighbouring addresses. The channel of a slot, within the slab.
template <int Width> __device__ int channel_of_slot(int slot, int columns) {
    return slot % columns * Width + slot / columns;
}

// ---- moments --------------------------------------------------------------------------------------------------------

/// The moments of values as they come, as sums of distances from the first.
template <int Width> struct moments_of_thread {
    float origin[std::size_t{Width}] = {};
    float sum[std::size_t{Width}] = {};
    float squares[std::size_t{Width}] = {};
    int count = 0;

    __device__ void add(const float* values) {
        if (count == 0) {
            for (int i = 0; i < Width; ++i) {
                origin[i] = values[i];
            }
        }
        for (int i = 0; i < Width; ++i) {
            const float distance = values[i] - origin[i];
            sum[i] += distance;
            squares[i] += distance * distance;
        }
        ++count;
    }

    /// to: the moments of this row of threads, in slots.
    __device__ void leave(int columns, int column, channel_moments* to) const {
        const float part = 1.0F / static_cast<float>(count);
        for (int i = 0; i < Width; ++i) {
            const float distance = sum[i] * part;
            const float rest = squares[i] - sum[i] * distance;
            to[i * columns + column] = {origin[i] + distance, rest > 0.0F ? rest : 0.0F};
        }
    }
};

/// Some values and their moments.
struct counted_moments {
    float count;
    channel_moments moments;
};

/// Joins, for each slot, the moments of `entries` sets of values, `total` values in all. entry(k, slot): the
/// counted_moments of set k; store(slot, channel_moments) is called by one thread. scratch: block memory for one float
/// per thread. All threads must call it.
template <class Entry, class Store>
__device__ void join_moments(int slots, int entries, int total, float* scratch, Entry&& entry, Store&& store) {
    const int threads = static_cast<int>(blockDim.x);
    const int thread = static_cast<int>(threadIdx.x);
    const float part = 1.0F / static_cast<float>(total);
    for (int base = 0; base < slots; base += threads) {
        const int wide = slots - base < threads ? slots - base : threads;
        const int rows = threads / wide;
        const int column = thread % wide;
        const int row = thread / wide;
        const int slot = base + column;
        const auto over_rows = [&](float value) {
            __syncthreads(); // whoever used the scratch before is done with it
            scratch[thread] = value;
            __syncthreads();
            float sum = 0.0F;
            for (int r = 0; r < rows; ++r) {
                sum += scratch[r * wide + column];
            }
            return sum;
        };
        const float origin = entry(0, slot).moments.mean;
        float sum = 0.0F;
        for (int k = row; row < rows && k < entries; k += rows) {
            const counted_moments m = entry(k, slot);
            sum += m.count * (m.moments.mean - origin);
        }
        const float distance = over_rows(sum) * part; // of the mean from the origin
        float squares = 0.0F;
        for (int k = row; row < rows && k < entries; k += rows) {
            const counted_moments m = entry(k, slot);
            const float d = m.moments.mean - origin - distance;
            squares += m.moments.squares + m.count * d * d;
        }
        squares = over_rows(squares);
        if (row == 0) {
            store(slot, channel_moments{origin + distance, squares});
        }
    }
}

/// Joins what the rows of a block have found in `pixels` pixels, of which row r has seen r, r + rows, ... of_rows:
/// their moments, row after row, in slots. store and scratch: as above.
template <class Store>
__device__ void join_rows(int slots, int rows, int pixels, const channel_moments* of_rows, float* scratch,
                          Store&& store) {
    __syncthreads();
    join_moments(
        slots, rows < pixels ? rows : pixels, pixels, scratch,
        [&](int row, int slot) {
            return counted_moments{static_cast<float>((pixels - row + rows - 1) / rows), of_rows[row * slots + slot]};
        },
        store);
}

/// partial: [image][chunk][slot], the slots of one slab after those of another; null when there is but one chunk, whose
/// moments go to `moments`.
template <class T, int Width>
__global__ void chunk_moments_kernel(part<T> x, int pixels, tiling t, channel_moments* partial,
                                     channel_moments* moments) {
    const tiling_place<Width> place(t, x.channels, pixels);
    const std::ptrdiff_t image = blockIdx.z;
    auto* const of_rows = block_memory<channel_moments>();
    auto* const scratch = reinterpret_cast<float*>(of_rows + static_cast<std::ptrdiff_t>(t.rows) * t.channels);
    const int slots = place.columns * Width;
    if (place.works && place.begin + place.row < place.end) {
        constexpr int ahead = 4; // loads under way
        moments_of_thread<Width> own;
        const T* const from = x.data + image * pixels * x.stride + place.channel();
        for (int p = place.begin + place.row; p < place.end; p += ahead * t.rows) {
            packed_channels<T, Width> values[ahead];
            for (int k = 0; k < ahead; ++k) {
                const int q = p + k * t.rows;
                values[k] = packed_channels<T, Width>::load(from + static_cast<std::ptrdiff_t>(q < place.end ? q : p) *
                                                                       x.stride);
            }
            for (int k = 0; k < ahead; ++k) {
                if (p + k * t.rows < place.end) {
                    own.add(values[k].unpacked().values);
                }
            }
        }
        own.leave(place.columns, place.column, of_rows + place.row * slots);
    }
    const std::ptrdiff_t at = (image * t.chunks + blockIdx.x) * x.channels + place.first;
    join_rows(slots, t.rows, place.end - place.begin, of_rows, scratch, [&](int slot, const channel_moments& m) {
        if (partial != nullptr) {
            partial[at + slot] = m;
        } else {
            moments[at + channel_of_slot<Width>(slot, place.columns)] = m;
        }
    });
}

/// Slots that a block of the next kernel takes: 32 bytes of moments of a chunk, and many chunks at once.
inline constexpr int joined_slots = 4;

/// blockIdx: slots, image.
template <int Width>
__global__ void join_chunks_kernel(const channel_moments* partial, int channels, int pixels, tiling t,
                                   channel_moments* moments) {
    const int first = static_cast<int>(blockIdx.x) * joined_slots;
    const std::ptrdiff_t image = blockIdx.y;
    const int left = channels - first;
    join_moments(
        left < joined_slots ? left : joined_slots, t.chunks, pixels, block_memory<float>(),
        [&](int chunk, int slot) {
            const int count = chunk + 1 < t.chunks ? t.pixels : pixels - chunk * t.pixels;
            return counted_moments{static_cast<float>(count),
                                   partial[(image * t.chunks + chunk) * channels + first + slot]};
        },
        [&](int slot, const channel_moments& m) {
            const int slab = (first + slot) / t.channels * t.channels;
            const int columns = (channels - slab < t.channels ? channels - slab : t.channels) / Width;
            moments[image * channels + slab + channel_of_slot<Width>(first + slot - slab, columns)] = m;
        });
}

inline constexpr int statistics_least = 8;

/// Floats of scratch that channel_statistics needs.
inline std::size_t channel_statistics_scratch(int images, int pixels, int channels) {
    if (channels == 0) {
        return 0;
    }
    int chunks = 1;
    for (const int width : {1, vector_width<float>, vector_width<__half>}) {
        chunks = std::max(chunks, tiling_of(channels, width, pixels, statistics_least).chunks);
    }
    return chunks == 1 ? 0
                       : static_cast<std::size_t>(images) * static_cast<std::size_t>(chunks) *
                             static_cast<std::size_t>(channels) * 2;
}

template <class T, int Width>
void channel_statistics(const part<T>& x, int images, int pixels, float* scratch, channel_moments* moments,
                        cudaStream_t stream) {
    const tiling t = tiling_of(x.channels, Width, pixels, statistics_least);
    auto* const partial = t.chunks == 1 ? nullptr : reinterpret_cast<channel_moments*>(scratch);
    const std::size_t bytes =
        static_cast<std::size_t>(t.rows) * static_cast<std::size_t>(t.channels) * sizeof(channel_moments) +
        tiling_threads * sizeof(float);
    launch("channel_statistics", chunk_moments_kernel<T, Width>, t.grid(images), tiling_threads, bytes, stream, x,
           pixels, t, partial, moments);
    if (partial != nullptr) {
        launch("channel_statistics", join_chunks_kernel<Width>,
               dim3(static_cast<unsigned>(ceil_div(x.channels, joined_slots)), static_cast<unsigned>(images)),
               tiling_threads, tiling_threads * sizeof(float), stream, partial, x.channels, pixels, t, moments);
    }
}

/// moments: [images][channels] of x, which may have none. pixels: of one image. scratch: channel_statistics_scratch
/// floats. Reads x once.
template <class T>
void channel_statistics(const part<T>& x, int images, int pixels, float* scratch, channel_moments* moments,
                        cudaStream_t stream) {
    if (x.channels == 0) {
        return;
    }
    if (vectorised(x)) {
        channel_statistics<T, vector_width<T>>(x, images, pixels, scratch, moments, stream);
    } else {
        channel_statistics<T, 1>(x, images, pixels, scratch, moments, stream);
    }
}

} // namespace repaint::detail::cuda
