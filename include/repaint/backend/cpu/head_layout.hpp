#pragma once

#include <algorithm>
#include <cstddef>

#include <repaint/backend/cpu/context.hpp>

namespace repaint::detail::cpu {

/// The channels of one head of one image, for all tokens, in the forms that products read; null for a form that is not
/// wanted.
struct token_forms {
    float* rows = nullptr;    ///< tokens x width: what a product takes row by row
    float* columns = nullptr; ///< width x tokens, packed
    float* matrix = nullptr;  ///< tokens x width, packed
};

/// How attention over `tokens` pixels lays out heads of `width` channels, and what it does with them.
class head_layout {
public:
    static constexpr int most_rows = 48;

    head_layout(const context& with, int tokens, int width)
        : with_(with), tokens_(tokens), width_(width), token_blocks_(blocks_of(tokens)),
          width_blocks_(blocks_of(width)) {}

    [[nodiscard]] int tokens() const { return tokens_; }
    [[nodiscard]] int width() const { return width_; }
    [[nodiscard]] int token_blocks() const { return token_blocks_; }
    /// Floats of a row of scores, and of a row of channels.
    [[nodiscard]] int score_stride() const { return token_blocks_ * lanes; }
    [[nodiscard]] int row_stride() const { return width_blocks_ * lanes; }
    /// Floats of each form, and of what pack() needs besides.
    [[nodiscard]] std::size_t rows_floats() const { return size_of(score_stride()) * size_of(row_stride()); }
    [[nodiscard]] std::size_t columns_floats() const { return size_of(width_) * size_of(score_stride()); }
    [[nodiscard]] std::size_t matrix_floats() const { return size_of(tokens_) * size_of(row_stride()); }
    [[nodiscard]] std::size_t packing_floats() const { return size_of(lanes) * size_of(row_stride()); }

    /// How many rows are computed together, so that `arrays` arrays of their scores stay in the cache.
    [[nodiscard]] int batch(int arrays) const {
        constexpr int cached = 48 << 10; // floats
        return std::clamp(cached / arrays / score_stride() / 6 * 6, 6, most_rows);
    }

    /// Tokens [16 first, 16 last) of the channels of x from c on, times a factor. x is blocked.
    void pack(const storage& x, int n, int c, float factor, int first, int last, const token_forms& to,
              float* scratch) const;

    /// scores = rows times columns.
    void multiply_columns(const float* rows, int count, const float* columns, float* scores) const {
        multiply(rows, row_stride(), count, width_, columns, token_blocks_, scores);
    }

    /// result = scores times matrix.
    void multiply_matrix(const float* scores, int count, const float* matrix, float* result) const {
        multiply(scores, score_stride(), count, tokens_, matrix, width_blocks_, result);
    }

    /// The channels of y from c on, of tokens [first, first + count), become these rows. y is blocked.
    void write(const float* rows, int n, int c, int first, int count, storage& y) const;

private:
    /// Where a row of block `column` of a packed matrix of `rows` rows lies; g is the block's group.
    [[nodiscard]] static std::size_t position(int row, int column, int rows, const block_group& g) {
        return size_of(g.first * lanes) * size_of(rows) + size_of(row * g.count * lanes) +
               size_of((column - g.first) * lanes);
    }

    /// m = rows of `a`, `depth` long and `stride` apart, times the packed matrix w of `blocks` blocks.
    void multiply(const float* a, int stride, int rows, int depth, const float* w, int blocks, float* m) const;

    const context& with_;
    int tokens_;
    int width_; ///< channels of a head
    int token_blocks_;
    int width_blocks_;
};

/// Calls f(pair, first, last, worker) for blocks [first, last) of the tokens of every pair, a head of an image.
template <class F> void for_each_token_block(const context& with, int pairs, int token_blocks, F&& f) {
    const int slices = std::clamp(2 * with.pool.threads() / pairs, 1, token_blocks);
    const int slice = ceil_div(token_blocks, slices);
    with.pool.run(size_of(pairs * slices), [&](std::size_t task, int worker) {
        const int first = std::min(static_cast<int>(task) % slices * slice, token_blocks);
        f(static_cast<int>(task) / slices, first, std::min(first + slice, token_blocks), worker);
    });
}

/// Calls f(pair, first, count, worker) for batches of the tokens of every pair.
template <class F> void for_each_batch(const context& with, int pairs, int tokens, int batch, F&& f) {
    const int batches = ceil_div(tokens, batch);
    with.pool.run(size_of(pairs * batches), [&](std::size_t task, int worker) {
        const int first = static_cast<int>(task) % batches * batch;
        f(static_cast<int>(task) / batches, first, std::min(batch, tokens - first), worker);
    });
}

} // namespace repaint::detail::cpu

#ifndef REPAINT_COMPILED
#include <repaint/backend/cpu/head_layout.ipp>
#endif
