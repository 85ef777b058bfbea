#pragma once

#include <algorithm>

#include <repaint/backend/cpu/context.hpp>
#include <repaint/backend/cpu/packed_conv2d.hpp>

namespace repaint::detail::cpu {

REPAINT_INLINE packed_conv2d pack_conv2d(thread_pool& pool, const kernel_table& kernels, const host_weights& weights,
                                         const host_weights& bias) {
    packed_conv2d p;
    p.shape = weights.shape;
    const int out = p.shape.n;
    const int in = p.shape.c;
    const int taps = p.taps();
    const std::size_t floats = size_of(p.blocks()) * p.block_stride();
    float* const values = p.values.allocate(floats);
    p.bias.assign(size_of(p.blocks() * lanes), 0.0F);
    if (bias.values) {
        std::copy_n(bias.values.get(), bias.shape.size(), p.bias.begin());
    }
    const int input_blocks = blocks_of(in);
    const int chunks = ceil_div(p.blocks(), chunk_blocks);
    pool.run(size_of(chunks) * size_of(input_blocks), [&](std::size_t task, int) {
        const int chunk = static_cast<int>(task) / input_blocks;
        const int input = static_cast<int>(task) % input_blocks;
        const int depth = std::min(lanes, in - input * lanes);
        const int last = std::min((chunk + 1) * chunk_blocks, p.blocks());
        for (int b = chunk * chunk_blocks; b < last;) {
            const int group = group_blocks(last - b, kernels.widest_group);
            const int width = group * lanes;
            float* to = values + size_of(b) * p.block_stride() + size_of(input * lanes * taps * width);
            for (int k = 0; k < width; ++k) {
                const int channel = b * lanes + k;
                const float* from =
                    weights.values.get() + (size_of(channel) * size_of(in) + size_of(input * lanes)) * size_of(taps);
                for (int c = 0; c < depth; ++c) {
                    for (int t = 0; t < taps; ++t) {
                        to[(t * depth + c) * width + k] = channel < out ? from[c * taps + t] : 0.0F;
                    }
                }
            }
            b += group;
        }
    });
    return p;
}

REPAINT_INLINE void transpose_rows(const kernel_table& kernels, const packed_conv2d& w, std::span<const int> taps,
                                   int chunk, int first, int planes, float* to, std::size_t block_stride,
                                   std::size_t first_row) {
    const int out = w.shape.n;
    const int in = w.shape.c;
    const int end = std::min((chunk + 1) * chunk_blocks, blocks_of(in));
    for (int column = chunk * chunk_blocks; column < end; ++column) { // a block of input channels
        const int depth = std::min(lanes, in - column * lanes);
        const block_group group = group_of(column, blocks_of(in), kernels.widest_group);
        const int to_width = group.count * lanes;
        float* const matrix = to + size_of(group.first - chunk * chunk_blocks) * block_stride +
                              first_row * size_of(to_width) + size_of((column - group.first) * lanes);
        for (std::size_t t = 0; t < taps.size(); ++t) {
            const int tap = taps[t];
            for (int plane = first; plane < first + planes; ++plane) { // a block of result channels
                const int some = std::min(lanes, out - plane * lanes);
                const block_group from = group_of(plane, w.blocks(), kernels.widest_group);
                const int width = from.count * lanes;
                const float* const values = w.values.data() + size_of(from.first) * w.block_stride() +
                                            size_of(column * lanes * w.taps() + tap * depth) * size_of(width) +
                                            size_of((plane - from.first) * lanes);
                const float* const next = t + 1 < taps.size() ? values + (taps[t + 1] - tap) * depth * width
                                                              : values + (taps[0] - tap + w.taps()) * depth * width;
                kernels.transpose(values, next, width, depth, some,
                                  matrix + (size_of((plane - first) * lanes) * taps.size() + t * size_of(some)) *
                                               size_of(to_width),
                                  to_width);
            }
        }
    }
}

REPAINT_INLINE memory_block transposed(const context& with, const packed_conv2d& w, std::span<const int> taps) {
    const int planes = w.blocks();
    const int columns = blocks_of(w.shape.c);
    const std::size_t rows = size_of(w.shape.n) * taps.size();
    memory_block matrix = with.block(size_of(columns) * rows * lanes);
    const int chunks = ceil_div(columns, chunk_blocks);
    const int slices = ceil_div(planes, chunk_blocks);
    with.pool.run(size_of(chunks * slices), [&](std::size_t task, int) {
        const int chunk = static_cast<int>(task) % chunks;
        const int first = static_cast<int>(task) / chunks * chunk_blocks;
        transpose_rows(with.kernels, w, taps, chunk, first, std::min(chunk_blocks, planes - first),
                       matrix.data() + size_of(chunk * chunk_blocks) * rows * lanes, rows * lanes,
                       size_of(first * lanes) * taps.size());
    });
    return matrix;
}

} // namespace repaint::detail::cpu
