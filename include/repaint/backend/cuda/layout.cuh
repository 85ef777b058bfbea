#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <initializer_list>
#include <type_traits>

#include <repaint/backend/cuda/element.cuh>
#include <repaint/backend/cuda/part.cuh>
#include <repaint/backend/cuda/runtime.cuh>

/// Between planar images and activations, and copies of activations. Every function reads its arguments once and writes
/// its result once.
namespace repaint::detail::cuda {

/// The side of a square that a block turns around in its memory, whose rows are one float longer: neither its rows nor
/// its columns then meet in one bank.
inline constexpr std::size_t transpose_tile = 32;
inline constexpr std::size_t transpose_row = transpose_tile + 1;
inline constexpr int transpose_threads = 256;
inline constexpr std::size_t transpose_step = transpose_threads / transpose_tile;
inline constexpr std::size_t transpose_bytes = sizeof(float) * transpose_tile * transpose_row;

/// blockIdx: tile of pixels, tile of channels, image.
template <class T>
__global__ void to_channels_last_kernel(const float* x, std::size_t images, std::size_t channels, std::size_t pixels,
                                        T* y) {
    float* tile = block_memory<float>();
    const std::size_t lane = threadIdx.x % transpose_tile;
    const std::size_t row = threadIdx.x / transpose_tile;
    const std::size_t first_pixel = blockIdx.x * transpose_tile;
    const std::size_t first_channel = blockIdx.y * transpose_tile;
    for (std::size_t n = blockIdx.z; n < images; n += gridDim.z) {
        const std::size_t image = n * channels * pixels;
        for (std::size_t r = row; r < transpose_tile; r += transpose_step) {
            const std::size_t c = first_channel + r;
            const std::size_t p = first_pixel + lane;
            if (c < channels && p < pixels) {
                tile[r * transpose_row + lane] = x[image + c * pixels + p];
            }
        }
        __syncthreads();
        for (std::size_t r = row; r < transpose_tile; r += transpose_step) {
            const std::size_t c = first_channel + lane;
            const std::size_t p = first_pixel + r;
            if (c < channels && p < pixels) {
                y[image + p * channels + c] = from_float<T>(tile[lane * transpose_row + r]);
            }
        }
        __syncthreads();
    }
}

/// blockIdx: tile of pixels, tile of channels, image.
template <class T>
__global__ void to_planar_kernel(part<T> first, part<T> second, std::size_t images, std::size_t pixels, float* y) {
    float* tile = block_memory<float>();
    const std::size_t lane = threadIdx.x % transpose_tile;
    const std::size_t row = threadIdx.x / transpose_tile;
    const std::size_t first_pixel = blockIdx.x * transpose_tile;
    const std::size_t first_channel = blockIdx.y * transpose_tile;
    const auto of_first = static_cast<std::size_t>(first.channels);
    const std::size_t channels = of_first + static_cast<std::size_t>(second.channels);
    const std::size_t own_channel = first_channel + lane;
    const bool in_first = own_channel < of_first;
    const T* from = in_first ? first.data : second.data;
    const auto stride = static_cast<std::size_t>(in_first ? first.stride : second.stride);
    const std::size_t channel = in_first ? own_channel : own_channel - of_first;
    for (std::size_t n = blockIdx.z; n < images; n += gridDim.z) {
        for (std::size_t r = row; r < transpose_tile; r += transpose_step) {
            const std::size_t p = first_pixel + r;
            if (own_channel < channels && p < pixels) {
                tile[lane * transpose_row + r] = to_float(from[(n * pixels + p) * stride + channel]);
            }
        }
        __syncthreads();
        for (std::size_t r = row; r < transpose_tile; r += transpose_step) {
            const std::size_t c = first_channel + r;
            const std::size_t p = first_pixel + lane;
            if (c < channels && p < pixels) {
                y[(n * channels + c) * pixels + p] = tile[r * transpose_row + lane];
            }
        }
        __syncthreads();
    }
}

inline dim3 transpose_grid(int images, int channels, int pixels) {
    constexpr auto tile = static_cast<int>(transpose_tile);
    return dim3(static_cast<unsigned>(ceil_div(pixels, tile)), static_cast<unsigned>(ceil_div(channels, tile)),
                static_cast<unsigned>(std::min(images, 65535)));
}

/// x: (images, channels, pixels). y: (images, pixels, channels), rounded to T.
template <class T>
void to_channels_last(const float* x, int images, int channels, int pixels, T* y, cudaStream_t stream) {
    launch("to_channels_last", to_channels_last_kernel<T>, transpose_grid(images, channels, pixels), transpose_threads,
           transpose_bytes, stream, x, images, channels, pixels, y);
}

/// first and second: the channels of an activation; second may have none. y: (images, channels of both, pixels).
template <class T>
void to_planar(const part<T>& first, const part<T>& second, int images, int pixels, float* y, cudaStream_t stream) {
    launch("to_planar", to_planar_kernel<T>, transpose_grid(images, first.channels + second.channels, pixels),
           transpose_threads, transpose_bytes, stream, first, second, images, pixels, y);
}

// ---- what follows takes neighbouring channels together, Width of them: one, or as many as sixteen bytes hold --------

inline constexpr int copy_threads = 256;

/// One thread for each of `items`: up to 2^39.
inline dim3 item_grid(std::size_t items) {
    return dim3(static_cast<unsigned>(ceil_div(items, std::size_t{copy_threads})));
}

/// Calls f(i) for the i of this thread if it is below `items`.
template <class F> __device__ void for_item(std::size_t items, F&& f) {
    const std::size_t i = std::size_t{blockDim.x} * blockIdx.x + threadIdx.x;
    if (i < items) {
        f(i);
    }
}

/// Width channels as floats.
template <class T, int Width> struct channels_of {
    float values[std::size_t{Width}];

    __device__ static channels_of load(const T* from) {
        channels_of result;
        if constexpr (Width == 1) {
            result.values[0] = to_float(*from);
        } else {
            const vector_of<T> loaded = vector_of<T>::load(from);
            for (int i = 0; i < Width; ++i) {
                result.values[i] = loaded.values[i];
            }
        }
        return result;
    }

    __device__ void store(T* to) const {
        if constexpr (Width == 1) {
            *to = from_float<T>(values[0]);
        } else {
            vector_of<T> stored;
            for (int i = 0; i < Width; ++i) {
                stored.values[i] = values[i];
            }
            stored.store(to);
        }
    }
};

/// Width channels as they are: in T, and in no more registers than that takes.
template <class T, int Width> struct packed_channels {
    struct alignas(Width * sizeof(T)) content {
        T elements[std::size_t{Width}];
    };
    struct alignas(16) sixteen_bytes {
        std::uint32_t words[4];
    };
    std::conditional_t<Width == 1, content, sixteen_bytes> raw;

    __device__ static packed_channels load(const T* from) { return {*reinterpret_cast<const decltype(raw)*>(from)}; }

    __device__ void store(T* to) const { *reinterpret_cast<decltype(raw)*>(to) = raw; }

    [[nodiscard]] __device__ channels_of<T, Width> unpacked() const {
        content values;
        memcpy(static_cast<void*>(&values), &raw, sizeof values);
        channels_of<T, Width> result;
        for (int i = 0; i < Width; ++i) {
            result.values[i] = to_float(values.elements[i]);
        }
        return result;
    }
};

template <class T, int Width> __device__ void copy_channels(const T* from, T* to) {
    packed_channels<T, Width>::load(from).store(to);
}

/// Whether all addresses begin on a border of sixteen bytes. Null does.
inline bool on_vector_border(std::initializer_list<const void*> addresses) {
    return std::all_of(addresses.begin(), addresses.end(),
                       [](const void* p) { return reinterpret_cast<std::uintptr_t>(p) % 16 == 0; });
}

/// Whether all addresses begin on a border of sixteen bytes and all counts of elements of T end on one.
template <class T>
bool in_vectors(std::initializer_list<const void*> addresses, std::initializer_list<std::size_t> counts) {
    return on_vector_border(addresses) && std::all_of(counts.begin(), counts.end(), [](std::size_t count) {
               return count % static_cast<std::size_t>(vector_width<T>) == 0;
           });
}

template <class T, int Width> __global__ void join_kernel(part<T> first, part<T> second, std::size_t pixels, T* y) {
    const std::size_t of_first = static_cast<std::size_t>(first.channels / Width);
    const std::size_t of_both = of_first + static_cast<std::size_t>(second.channels / Width);
    for_item(pixels * of_both, [&](std::size_t i) {
        const std::size_t pixel = i / of_both;
        const std::size_t k = i % of_both;
        const T* from = k < of_first
                            ? first.data + pixel * static_cast<std::size_t>(first.stride) + k * Width
                            : second.data + pixel * static_cast<std::size_t>(second.stride) + (k - of_first) * Width;
        copy_channels<T, Width>(from, y + i * Width);
    });
}

/// y: the channels of the first part, then those of the second, pixels of the whole batch without gaps.
template <class T>
void join(const part<T>& first, const part<T>& second, std::size_t pixels, T* y, cudaStream_t stream) {
    const auto size = [](int extent) { return static_cast<std::size_t>(extent); };
    const bool vectors = in_vectors<T>({first.data, second.data, y}, {size(first.channels), size(first.stride),
                                                                      size(second.channels), size(second.stride)});
    const std::size_t items = pixels * size(first.channels + second.channels) / size(vectors ? vector_width<T> : 1);
    launch("join", vectors ? join_kernel<T, vector_width<T>> : join_kernel<T, 1>, item_grid(items), copy_threads, 0,
           stream, first, second, pixels, y);
}

template <class T, int Width>
__global__ void copy_rows_kernel(const T* x, std::size_t rows, std::size_t length, std::size_t stride, T* y) {
    const std::size_t of_row = length / Width;
    for_item(rows * of_row, [&](std::size_t i) {
        copy_channels<T, Width>(x + i / of_row * stride + i % of_row * Width, y + i * Width);
    });
}

/// The first `length` elements of each of `rows` rows, which begin `stride` elements apart; y without gaps. A part of an
/// activation has a row for each pixel of the batch; some channels of planar images have one for each image.
template <class T>
void copy_rows(const T* x, std::size_t rows, std::size_t length, std::size_t stride, T* y, cudaStream_t stream) {
    const bool vectors = in_vectors<T>({x, y}, {length, stride});
    const std::size_t items = rows * length / static_cast<std::size_t>(vectors ? vector_width<T> : 1);
    launch("copy_rows", vectors ? copy_rows_kernel<T, vector_width<T>> : copy_rows_kernel<T, 1>, item_grid(items),
           copy_threads, 0, stream, x, rows, length, stride, y);
}

/// concat's counterpart: the first `of_first` elements of each row of `length` into first, the others into second. A row
/// is a pixel of an activation, or an image of planar ones.
template <class T>
void split(const T* x, std::size_t rows, std::size_t length, std::size_t of_first, T* first, T* second,
           cudaStream_t stream) {
    copy_rows(x, rows, of_first, length, first, stream);
    copy_rows(x + of_first, rows, length - of_first, length, second, stream);
}

} // namespace repaint::detail::cuda
