#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include <repaint/backend/cuda/layout.cuh>
#include <repaint/core/shape.hpp>
#include <repaint/diffusion/philox.hpp>
#include <repaint/diffusion/step.hpp>

/// What a sampler does to images (float32, planar), with the arithmetic of diffusion/step.hpp and diffusion/philox.hpp.
/// A thread takes four neighbouring elements of an image, as many as a group of Philox has, in accesses of sixteen bytes
/// where every image begins on such a border. Every tensor that a function names is read once and written once; a keep
/// mask of one channel is read once for each channel of the image, known and keep of one image once for each image.
///
/// No product is fused with a sum (core/host_device.hpp): normals, forward_step and merge have the bits of a host that
/// does not fuse either, such as x86-64 without further options; it costs normal() a tenth more instructions. Normals of
/// a host that fuses are up to 3 units in the last place away. reverse_step differs from the host's by the exponential
/// alone: by 2 units in the last place of the deviation. The functions that draw their own noise have the bits of
/// normal() followed by the other function.
namespace repaint::detail::cuda {

using four_floats = vector_of<float>;

/// How the images of a launch are shared out: blocks along x have the groups of an image, blocks along y the images.
inline constexpr int step_threads = 256;
inline constexpr std::size_t step_blocks = 4096;

/// Elements first ... first + 3 of an image; those from size on are 0.
template <bool Aligned> __device__ four_floats load_four(const float* image, std::size_t first, std::size_t size) {
    if constexpr (Aligned) {
        return four_floats::load(image + first);
    } else {
        four_floats result = {};
        for (std::size_t i = 0; i < 4 && first + i < size; ++i) {
            result.values[i] = image[first + i];
        }
        return result;
    }
}

template <bool Aligned>
__device__ void store_four(const four_floats& values, float* image, std::size_t first, std::size_t size) {
    if constexpr (Aligned) {
        values.store(image + first);
    } else {
        for (std::size_t i = 0; i < 4 && first + i < size; ++i) {
            image[first + i] = values.values[i];
        }
    }
}

/// Noise that lies in memory.
struct given_noise {
    const float* z;

    template <bool Aligned> __device__ four_floats at(std::size_t n, std::size_t first, std::size_t size) const {
        return load_four<Aligned>(z + n * size, first, size);
    }
};

/// Draw `draw` of the Philox stream of seeds[n], which never is in memory.
struct drawn_noise {
    const std::uint64_t* seeds;
    std::uint64_t draw;

    template <bool Aligned> __device__ four_floats at(std::size_t n, std::size_t first, std::size_t) const {
        const philox_normals z = philox_normal_group(seeds[n], draw, first / 4);
        return {{z.a, z.b, z.c, z.d}};
    }
};

/// Calls f(image, first element) for every four elements of every image.
template <class F> __device__ void for_each_four(std::size_t images, std::size_t size, F&& f) {
    const std::size_t step = std::size_t{4} * blockDim.x * gridDim.x;
    for (std::size_t n = blockIdx.y; n < images; n += gridDim.y) {
        for (std::size_t first = 4 * (std::size_t{blockDim.x} * blockIdx.x + threadIdx.x); first < size;
             first += step) {
            f(n, first);
        }
    }
}

template <bool Aligned>
__global__ void normal_kernel(drawn_noise noise, std::size_t images, std::size_t size, float* y) {
    for_each_four(images, size, [&](std::size_t n, std::size_t first) {
        store_four<Aligned>(noise.at<Aligned>(n, first, size), y + n * size, first, size);
    });
}

/// predicted: elements of an image of the prediction, size or 2 * size.
template <bool Aligned, class Noise>
__global__ void reverse_step_kernel(std::size_t images, std::size_t size, float* x, const float* prediction,
                                    std::size_t predicted, Noise noise, posterior p, float* x0, const float* guidance) {
    const bool learned = is_learned(p.variance);
    for_each_four(images, size, [&](std::size_t n, std::size_t first) {
        const float* predictions = prediction + n * predicted;
        four_floats current = load_four<Aligned>(x + n * size, first, size);
        const four_floats mean = load_four<Aligned>(predictions, first, size);
        const four_floats variance = learned ? load_four<Aligned>(predictions + size, first, size) : four_floats{};
        const four_floats gradient =
            guidance != nullptr ? load_four<Aligned>(guidance + n * size, first, size) : four_floats{};
        const four_floats z = noise.template at<Aligned>(n, first, size);
        four_floats clean;
        for (int i = 0; i < 4; ++i) {
            const float g = gradient.values[i];
            const float v = variance.values[i];
            float& value = current.values[i];
            clean.values[i] = predicted_x0(p, value, mean.values[i], g);
            value = guidance == nullptr
                        ? repaint::reverse_step(p, value, mean.values[i], clean.values[i], v, z.values[i])
                        : guided_reverse_step(p, value, mean.values[i], clean.values[i], v, z.values[i], g);
        }
        if (x0 != nullptr) {
            store_four<Aligned>(clean, x0 + n * size, first, size);
        }
        store_four<Aligned>(current, x + n * size, first, size);
    });
}

template <bool Aligned, class Noise>
__global__ void forward_step_kernel(std::size_t images, std::size_t size, float* x, Noise noise, mixing m) {
    for_each_four(images, size, [&](std::size_t n, std::size_t first) {
        four_floats current = load_four<Aligned>(x + n * size, first, size);
        const four_floats z = noise.template at<Aligned>(n, first, size);
        for (int i = 0; i < 4; ++i) {
            current.values[i] = repaint::forward_step(m, current.values[i], z.values[i]);
        }
        store_four<Aligned>(current, x + n * size, first, size);
    });
}

/// The known image and its mask. known: known_images (1 or those of x) like one of x; keep: keep_images (1 or those of
/// x) of keep_channels (1 or those of x).
struct known_region {
    const float* known;
    int known_images;
    const float* keep;
    int keep_images;
    int keep_channels;
};

/// pixels: elements of a channel; a multiple of 4 when Aligned.
template <bool Aligned, class Noise>
__global__ void merge_kernel(std::size_t images, std::size_t size, std::size_t pixels, float* x, known_region region,
                             Noise noise, mixing m) {
    const bool each_channel = region.keep_channels != 1;
    const std::size_t mask_size = each_channel ? size : pixels;
    for_each_four(images, size, [&](std::size_t n, std::size_t first) {
        const float* known = region.known + (region.known_images == 1 ? 0 : n) * size;
        const float* mask = region.keep + (region.keep_images == 1 ? 0 : n) * mask_size;
        four_floats current = load_four<Aligned>(x + n * size, first, size);
        const four_floats clean = load_four<Aligned>(known, first, size);
        four_floats keep = {};
        if (Aligned || each_channel) {
            keep = load_four<Aligned>(mask, each_channel ? first : first % pixels, size);
        } else {
            for (std::size_t i = 0; i < 4 && first + i < size; ++i) {
                keep.values[i] = mask[(first + i) % pixels];
            }
        }
        const four_floats z = noise.template at<Aligned>(n, first, size);
        for (int i = 0; i < 4; ++i) {
            current.values[i] = merged(m, current.values[i], clean.values[i], keep.values[i], z.values[i]);
        }
        store_four<Aligned>(current, x + n * size, first, size);
    });
}

inline dim3 step_grid(int images, std::size_t size) {
    const std::size_t blocks = ceil_div(size, std::size_t{4} * step_threads);
    return dim3(static_cast<unsigned>(std::min(blocks, step_blocks)), static_cast<unsigned>(std::min(images, 65535)));
}

template <class Noise>
void reverse_step_with(Noise noise, const float* z, float* x, const float* prediction, std::size_t predicted,
                       const posterior& p, float* x0, const float* guidance, int images, std::size_t size,
                       cudaStream_t stream) {
    const bool aligned = size % 4 == 0 && predicted % 4 == 0 && on_vector_border({x, prediction, z, x0, guidance});
    launch("reverse_step", aligned ? reverse_step_kernel<true, Noise> : reverse_step_kernel<false, Noise>,
           step_grid(images, size), step_threads, 0, stream, images, size, x, prediction, predicted, noise, p, x0,
           guidance);
}

template <class Noise>
void forward_step_with(Noise noise, const float* z, float* x, const mixing& m, int images, std::size_t size,
                       cudaStream_t stream) {
    const bool aligned = size % 4 == 0 && on_vector_border({x, z});
    launch("forward_step", aligned ? forward_step_kernel<true, Noise> : forward_step_kernel<false, Noise>,
           step_grid(images, size), step_threads, 0, stream, images, size, x, noise, m);
}

template <class Noise>
void merge_with(Noise noise, const float* z, float* x, const shape4& shape, const known_region& region, const mixing& m,
                cudaStream_t stream) {
    const std::size_t pixels = shape.plane();
    const std::size_t size = static_cast<std::size_t>(shape.c) * pixels;
    const bool aligned = pixels % 4 == 0 && on_vector_border({x, z, region.known, region.keep});
    launch("merge", aligned ? merge_kernel<true, Noise> : merge_kernel<false, Noise>, step_grid(shape.n, size),
           step_threads, 0, stream, shape.n, size, pixels, x, region, noise, m);
}

/// Image i of y (images of `size` elements) becomes draw `draw` of the Philox stream of seeds[i], which lie on the
/// device.
inline void normal(const std::uint64_t* seeds, std::uint64_t draw, int images, std::size_t size, float* y,
                   cudaStream_t stream) {
    const bool aligned = size % 4 == 0 && on_vector_border({y});
    launch("normal", aligned ? normal_kernel<true> : normal_kernel<false>, step_grid(images, size), step_threads, 0,
           stream, drawn_noise{seeds, draw}, images, size, y);
}

/// x_t becomes x_{t-1}. size: elements of an image of x, z, x0 and guidance; predicted: of the prediction, size or
/// 2 * size. x0 and guidance may be null.
inline void reverse_step(float* x, const float* prediction, std::size_t predicted, const float* z, const posterior& p,
                         float* x0, const float* guidance, int images, std::size_t size, cudaStream_t stream) {
    reverse_step_with(given_noise{z}, z, x, prediction, predicted, p, x0, guidance, images, size, stream);
}

/// x = m.signal * x + m.noise * z
inline void forward_step(float* x, const float* z, const mixing& m, int images, std::size_t size, cudaStream_t stream) {
    forward_step_with(given_noise{z}, z, x, m, images, size, stream);
}

/// x = keep * (m.signal * known + m.noise * z) + (1 - keep) * x, with x and z of `shape`.
inline void merge(float* x, const shape4& shape, const known_region& region, const float* z, const mixing& m,
                  cudaStream_t stream) {
    merge_with(given_noise{z}, z, x, shape, region, m, stream);
}

/// normal() into a z that is never stored, then reverse_step().
inline void reverse_step_with_draw(float* x, const float* prediction, std::size_t predicted, const std::uint64_t* seeds,
                                   std::uint64_t draw, const posterior& p, float* x0, const float* guidance, int images,
                                   std::size_t size, cudaStream_t stream) {
    reverse_step_with(drawn_noise{seeds, draw}, nullptr, x, prediction, predicted, p, x0, guidance, images, size,
                      stream);
}

/// normal() into a z that is never stored, then forward_step().
inline void forward_step_with_draw(float* x, const std::uint64_t* seeds, std::uint64_t draw, const mixing& m,
                                   int images, std::size_t size, cudaStream_t stream) {
    forward_step_with(drawn_noise{seeds, draw}, nullptr, x, m, images, size, stream);
}

/// normal() into a z that is never stored, then merge().
inline void merge_with_draw(float* x, const shape4& shape, const known_region& region, const std::uint64_t* seeds,
                            std::uint64_t draw, const mixing& m, cudaStream_t stream) {
    merge_with(drawn_noise{seeds, draw}, nullptr, x, shape, region, m, stream);
}

} // namespace repaint::detail::cuda
