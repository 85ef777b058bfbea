#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <vector>

#include <repaint/backend/cpu/context.hpp>

namespace repaint::detail::cpu {

/// Some channels of all tokens, those of one head of one image, in the forms that products read; null for a form that
/// is not wanted.
struct token_forms {
    float* rows = nullptr;    ///< tokens x width: what a product takes row by row
    float* columns = nullptr; ///< width x tokens, packed
    float* matrix = nullptr;  ///< tokens x width, packed
};

/// How attention over `tokens` pixels lays out heads of `width` channels, and what it does with them.
class attention_heads {
public:
    static constexpr int most_rows = 48;

    attention_heads(const context& with, int tokens, int width)
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

    /// Rows that go through together so that their scores, `arrays` of them, stay in the cache.
    [[nodiscard]] int batch(int arrays) const {
        constexpr int cached = 48 << 10; // floats
        return std::clamp(cached / arrays / score_stride() / 6 * 6, 6, most_rows);
    }

    /// Tokens [16 first, 16 last) of the channels of x from c on, times a factor. x is blocked.
    void pack(const storage& x, int n, int c, float factor, int first, int last, const token_forms& to,
              float* scratch) const {
        for (int block = first; block < last; ++block) {
            const int token = block * lanes;
            const int count = std::min(lanes, tokens_ - token);
            float* rows = to.rows == nullptr ? scratch : to.rows + size_of(token) * size_of(row_stride());
            for (int i = 0; i < width_;) {
                const float* from = x.plane(n, (c + i) / lanes) + size_of(token) * lanes + size_of((c + i) % lanes);
                const int some = std::min(lanes - (c + i) % lanes, width_ - i);
                for (int t = 0; t < count; ++t) {
                    for (int k = 0; k < some; ++k) {
                        rows[t * row_stride() + i + k] = from[t * lanes + k] * factor;
                    }
                }
                i += some;
            }
            for (int t = 0; t < count; ++t) {
                std::fill_n(rows + t * row_stride() + width_, row_stride() - width_, 0.0F);
            }
            for (int w = 0; w < width_blocks_; ++w) {
                const float* from = rows + w * lanes;
                if (to.columns != nullptr) {
                    const block_group g = group_of(block, token_blocks_, with_.kernels.widest_group);
                    with_.kernels.transpose(from, from, row_stride(), count, std::min(lanes, width_ - w * lanes),
                                            to.columns + position(w * lanes, block, width_, g), g.count * lanes);
                }
                if (to.matrix != nullptr) {
                    const block_group g = group_of(w, width_blocks_, with_.kernels.widest_group);
                    float* matrix = to.matrix + position(token, w, tokens_, g);
                    for (int t = 0; t < count; ++t) {
                        std::copy_n(from + t * row_stride(), lanes, matrix + t * g.count * lanes);
                    }
                }
            }
        }
    }

    /// scores = rows times columns.
    void multiply_columns(const float* rows, int count, const float* columns, float* scores) const {
        multiply(rows, row_stride(), count, width_, columns, token_blocks_, scores);
    }

    /// result = scores times matrix.
    void multiply_matrix(const float* scores, int count, const float* matrix, float* result) const {
        multiply(scores, score_stride(), count, tokens_, matrix, width_blocks_, result);
    }

    /// The channels of y from c on, of tokens [first, first + count), become these rows. y is blocked.
    void write(const float* rows, int n, int c, int first, int count, storage& y) const {
        for (int i = 0; i < width_;) {
            float* to = y.plane(n, (c + i) / lanes) + size_of(first) * lanes + size_of((c + i) % lanes);
            const int some = std::min(lanes - (c + i) % lanes, width_ - i);
            for (int j = 0; j < count; ++j) {
                std::copy_n(rows + j * row_stride() + i, some, to + j * lanes);
            }
            i += some;
        }
    }

private:
    /// Where a row of block `column` of a packed matrix of `rows` rows lies; g is the block's group.
    [[nodiscard]] static std::size_t position(int row, int column, int rows, const block_group& g) {
        return size_of(g.first * lanes) * size_of(rows) + size_of(row * g.count * lanes) +
               size_of((column - g.first) * lanes);
    }

    /// m = rows of `a`, `depth` long and `stride` apart, times the packed matrix w of `blocks` blocks.
    void multiply(const float* a, int stride, int rows, int depth, const float* w, int blocks, float* m) const {
        std::array<std::ptrdiff_t, most_rows> offsets;
        for (int j = 0; j < rows; ++j) {
            offsets[size_of(j)] = static_cast<std::ptrdiff_t>(j) * stride;
        }
        std::vector<const float*> planes;
        for (int first = 0; first < depth; first += chain) {
            planes.push_back(a + first);
        }
        row_source source;
        source.plane = planes.data();
        source.planes = static_cast<int>(planes.size());
        source.depth = chain;
        source.last_depth = depth - (source.planes - 1) * chain;
        source.offsets = offsets.data();
        for (int b = 0; b < blocks; b += chunk_blocks) {
            const packed_matrix matrix{w + size_of(b * lanes) * size_of(depth),
                                       static_cast<std::ptrdiff_t>(depth) * lanes, 0};
            with_.kernels.multiply(source, rows, matrix, std::min(chunk_blocks, blocks - b), m + b * lanes,
                                   static_cast<std::ptrdiff_t>(blocks) * lanes, false);
        }
    }

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

/// y = softmax(Q K^T / sqrt(d)) V per head. Queries go through in batches whose rows of scores stay in the cache:
/// nothing of size tokens x tokens exists. qkv and y are blocked.
inline void attention(const context& with, const storage& qkv, int heads, storage& y) {
    const int channels = y.shape.c;
    const attention_heads h(with, static_cast<int>(y.shape.plane()), channels / heads);
    const int pairs = y.shape.n * heads;
    const std::size_t floats = h.rows_floats() + h.columns_floats() + h.matrix_floats();
    const memory_block packed = with.block(size_of(pairs) * floats);
    const auto queries = [&](int pair) { return packed.data() + size_of(pair) * floats; };
    const auto keys = [&](int pair) { return queries(pair) + h.rows_floats(); };
    const auto values = [&](int pair) { return keys(pair) + h.columns_floats(); };
    {
        const float scale = 1.0F / std::sqrt(static_cast<float>(h.width()));
        const auto scratch = with.scratch_for_workers(h.packing_floats());
        for_each_token_block(with, pairs, h.token_blocks(), [&](int pair, int first, int last, int worker) {
            const int n = pair / heads;
            const int c = pair % heads * h.width();
            h.pack(qkv, n, c, scale, first, last, {queries(pair), nullptr, nullptr}, nullptr);
            h.pack(qkv, n, channels + c, 1.0F, first, last, {nullptr, keys(pair), nullptr}, scratch.of(worker));
            h.pack(qkv, n, 2 * channels + c, 1.0F, first, last, {nullptr, nullptr, values(pair)}, scratch.of(worker));
        });
    }
    const int batch = h.batch(1);
    const std::size_t score_floats = size_of(batch) * size_of(h.score_stride());
    const auto scratch = with.scratch_for_workers(score_floats + size_of(batch) * size_of(h.row_stride()));
    for_each_batch(with, pairs, h.tokens(), batch, [&](int pair, int first, int count, int worker) {
        float* scores = scratch.of(worker);
        float* result = scores + score_floats;
        h.multiply_columns(queries(pair) + size_of(first) * size_of(h.row_stride()), count, keys(pair), scores);
        std::array<float, attention_heads::most_rows> inverse;
        for (int j = 0; j < count; ++j) {
            inverse[size_of(j)] = 1.0F / with.kernels.softmax(scores + j * h.score_stride(), h.tokens()).sum;
        }
        h.multiply_matrix(scores, count, values(pair), result);
        for (int j = 0; j < count; ++j) {
            float* row = result + j * h.row_stride();
            with.kernels.scale(row, inverse[size_of(j)], h.row_stride() / lanes, row);
        }
        h.write(result, pair / heads, pair % heads * h.width(), first, count, y);
    });
}

} // namespace repaint::detail::cpu
