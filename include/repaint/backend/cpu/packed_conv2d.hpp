#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include <repaint/backend/cpu/layout.hpp>
#include <repaint/backend/cpu/long_lived_floats.hpp>
#include <repaint/config.hpp>
#include <repaint/core/host_weights.hpp>

namespace repaint::detail::cpu {

struct context;
struct kernel_table;
class thread_pool;

/// Weights as the kernels read them: groups of blocks of result channels (kernel_table::widest_group), in each
/// [input block][tap][input channel][result channels of the group]; result channels are filled up with zeros.
struct packed_conv2d {
    shape4 shape; ///< (out, in, k, k)
    long_lived_floats values;
    std::vector<float> bias; ///< filled up to whole blocks

    [[nodiscard]] int blocks() const { return blocks_of(shape.n); }
    [[nodiscard]] int taps() const { return shape.h * shape.w; }
    /// Rows of the matrix: input channels times taps.
    [[nodiscard]] std::size_t rows() const { return size_of(shape.c) * size_of(taps()); }
    [[nodiscard]] std::size_t block_stride() const { return rows() * lanes; }
};

/// Packs weights (out, in, k, k) and a bias (out, 1, 1, 1), whose values may be null.
packed_conv2d pack_conv2d(thread_pool& pool, const kernel_table& kernels, const host_weights& weights,
                          const host_weights& bias);

/// Writes rows of the transposed matrix, which are taps of the result channels of w: of the blocks [first, first +
/// planes), for the tap numbers `taps`, in their order. Columns are the input channels of one chunk of blocks; block b
/// of the chunk begins at to + b block_stride, of which the first `first_row` rows are left out.
void transpose_rows(const kernel_table& kernels, const packed_conv2d& w, std::span<const int> taps, int chunk,
                    int first, int planes, float* to, std::size_t block_stride, std::size_t first_row);

/// The transposed matrix for some taps, packed like packed_conv2d::values.
memory_block transposed(const context& with, const packed_conv2d& w, std::span<const int> taps);

} // namespace repaint::detail::cpu

#ifndef REPAINT_COMPILED
#include <repaint/backend/cpu/packed_conv2d.ipp>
#endif
