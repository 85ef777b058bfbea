#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <vector>

#include <repaint/backend/cpu/context.hpp>
#include <repaint/backend/cpu/packed_conv2d.hpp>
#include <repaint/core/options.hpp>

/// What convolutions and transposed convolutions of cpu_backend share.
namespace repaint::detail::cpu {

constexpr std::ptrdiff_t step_of(std::size_t i) { return static_cast<std::ptrdiff_t>(i); }

/// How long the parts of `whole` are when it is cut into parts of at most `most`, as many for each thread.
constexpr int even_part(int whole, int most, int threads) {
    const int parts = ceil_div(ceil_div(whole, most), threads) * threads;
    return ceil_div(whole, parts);
}

/// Everything one convolution is about. x, residual and y are blocked.
struct convolution {
    const storage& x;
    const packed_conv2d& w;
    const storage* residual;
    conv2d_options options;
    storage& y;
    bool transposed = false; ///< with the weights transposed and turned by half a turn, and no bias

    [[nodiscard]] int blocks() const { return y.blocks(); }
    [[nodiscard]] int chunks() const { return ceil_div(blocks(), chunk_blocks); }
    [[nodiscard]] int blocks_in(int chunk) const { return std::min(chunk_blocks, blocks() - chunk * chunk_blocks); }

    /// The epilogue of block `block` of image `n`; `constant` points to room for its 16 values.
    [[nodiscard]] epilogue finishing(int n, int block, float* constant) const;
};

/// A rectangle of result pixels, and where in the input tap t of the pixel at (row, column) of it reads:
/// (row * stride + shifts[t][0], column * stride + shifts[t][1]); outside of the input there are zeros.
struct tap_grid {
    int rows = 0;
    int columns = 0;
    int stride = 1;
    std::vector<std::array<int, 2>> shifts;
};

/// Sums over taps and input channels: each pixel of the grid is a row of values at the taps, wherever the taps lie. The
/// matrix w, packed like packed_conv2d::values, has `blocks` blocks of columns. write(image, block, first, count, sums)
/// takes the sums of pixels [first, first + count) of one block, chunk_channels floats from one to the next. Without
/// taps the sums are zeros.
template <class Write>
void sum_over_taps(const context& with, const storage& x, const tap_grid& grid, const float* matrix, int blocks,
                   Write&& write) {
    const shape4 in = x.shape;
    const int pixels = grid.rows * grid.columns;
    const int taps = static_cast<int>(grid.shifts.size());
    const int planes = blocks_of(in.c);
    const int chunks = ceil_div(blocks, chunk_blocks);
    const std::size_t block_stride = size_of(in.c * taps) * lanes;

    // Strips of pixels: short enough for the cache, and enough of them for all threads; where there are not, threads
    // share a strip by result channels.
    const int threads = with.pool.threads();
    constexpr int most = 96;
    const bool by_chunks = in.n * ceil_div(pixels, most) < 4 * threads;
    const int strip = by_chunks ? std::min(pixels, most) : even_part(pixels, most, threads);
    const int strips = ceil_div(pixels, strip);
    // Input blocks whose weights for one chunk stay in the cache while the strip goes by.
    const int planes_per_sum = std::max(1, chain / (lanes * std::max(1, taps)));
    const int cached = std::max(1, 48 / std::max(1, taps) / planes_per_sum) * planes_per_sum;

    alignas(64) static constexpr std::array<float, lanes> zeros{};
    const auto sums = with.scratch_for_workers(size_of(strip) * chunk_channels);
    const std::size_t tasks = size_of(in.n) * size_of(strips) * (by_chunks ? size_of(chunks) : 1);
    with.pool.run(tasks, [&](std::size_t task, int worker) {
        // Chunk by chunk over all strips, so that threads read the same weights at about the same time.
        const int first_chunk = by_chunks ? static_cast<int>(task / size_of(strips) / size_of(in.n)) : 0;
        const int last_chunk = by_chunks ? first_chunk + 1 : chunks;
        const int n = static_cast<int>(task / size_of(strips) % size_of(in.n));
        const int first = static_cast<int>(task % size_of(strips)) * strip;
        const int count = std::min(strip, pixels - first);

        std::vector<std::ptrdiff_t> offsets(size_of(taps * count));
        for (int t = 0; t < taps; ++t) {
            for (int i = 0; i < count; ++i) {
                const int row = (first + i) / grid.columns * grid.stride + grid.shifts[size_of(t)][0];
                const int column = (first + i) % grid.columns * grid.stride + grid.shifts[size_of(t)][1];
                const bool inside = row >= 0 && row < in.h && column >= 0 && column < in.w;
                offsets[size_of(t * count + i)] =
                    inside ? step_of((size_of(row) * size_of(in.w) + size_of(column)) * lanes) : -1;
            }
        }
        std::vector<const float*> plane(size_of(planes));
        for (int p = 0; p < planes; ++p) {
            plane[size_of(p)] = x.plane(n, p);
        }
        row_source rows;
        rows.depth = lanes;
        rows.planes_per_sum = planes_per_sum;
        rows.taps = taps;
        rows.offsets = offsets.data();
        rows.offsets_stride = count;
        rows.zeros = zeros.data();

        float* m = sums.of(worker);
        for (int chunk = first_chunk; chunk < last_chunk; ++chunk) {
            const int some = std::min(chunk_blocks, blocks - chunk * chunk_blocks);
            packed_matrix w{matrix + size_of(chunk * chunk_blocks) * block_stride, step_of(block_stride), 0};
            for (int p = 0; p < planes; p += cached) {
                rows.plane = plane.data() + p;
                rows.planes = std::min(cached, planes - p);
                rows.last_depth = p + rows.planes == planes ? in.c - (planes - 1) * lanes : lanes;
                w.first_row = step_of(size_of(p) * lanes * size_of(taps));
                with.kernels.multiply(rows, count, w, some, m, chunk_channels, p > 0);
            }
            for (int b = 0; b < some; ++b) {
                write(n, chunk * chunk_blocks + b, first, count, m + b * lanes);
            }
        }
    });
}

} // namespace repaint::detail::cpu

#ifndef REPAINT_COMPILED
#include <repaint/backend/cpu/convolution.ipp>
#endif
