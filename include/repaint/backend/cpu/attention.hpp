#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <vector>

#include <repaint/backend/cpu/context.hpp>

namespace repaint::detail::cpu {

/// y = softmax(Q K^T / sqrt(d)) V per head. Queries go through in batches whose rows of scores stay in the cache:
/// nothing of size tokens x tokens exists.
class attention_over_tokens {
public:
    attention_over_tokens(const context& with, const storage& qkv, int heads, storage& y)
        : with_(with), qkv_(qkv), y_(y), heads_(heads), channels_(y.shape.c), width_(channels_ / heads),
          width_blocks_(blocks_of(width_)), tokens_(static_cast<int>(y.shape.plane())),
          token_blocks_(blocks_of(tokens_)) {}

    void run() {
        // Per head: queries in rows, keys as a matrix (width x tokens), values as a matrix (tokens x width).
        const std::size_t padded = size_of(token_blocks_ * lanes);
        q_floats_ = size_of(tokens_) * size_of(width_);
        k_floats_ = padded * size_of(width_);
        v_floats_ = size_of(tokens_) * size_of(width_blocks_ * lanes);
        const int pairs = y_.shape.n * heads_;
        packed_ = with_.block(size_of(pairs) * (q_floats_ + k_floats_ + v_floats_));
        const int slices = std::clamp(2 * with_.pool.threads() / pairs, 1, token_blocks_);
        const int slice = ceil_div(token_blocks_, slices);
        with_.pool.run(size_of(pairs * slices), [&](std::size_t task, int) {
            const int first = static_cast<int>(task) % slices * slice;
            pack(static_cast<int>(task) / slices, first, std::min(first + slice, token_blocks_));
        });

        const int cached = static_cast<int>(score_floats / padded);
        const int batch = std::clamp(cached / 6 * 6, 6, most_queries);
        const int batches = ceil_div(tokens_, batch);
        const auto scratch = with_.scratch_for_workers(size_of(batch) * (padded + size_of(width_blocks_ * lanes)));
        with_.pool.run(size_of(pairs * batches), [&](std::size_t task, int worker) {
            const int first = static_cast<int>(task) % batches * batch;
            attend(static_cast<int>(task) / batches, first, std::min(batch, tokens_ - first), batch,
                   scratch.of(worker));
        });
    }

private:
    static constexpr std::size_t score_floats = std::size_t{48} << 10U;
    static constexpr int most_queries = 48;

    [[nodiscard]] float* packed(int pair) const {
        return packed_.data() + size_of(pair) * (q_floats_ + k_floats_ + v_floats_);
    }

    /// Where element (row, column) of a packed matrix of `rows` rows and `blocks` blocks of columns lies.
    [[nodiscard]] std::size_t position(int row, int column, int rows, int blocks) const {
        // Groups are counted from the beginning of every chunk.
        int block = column / lanes / chunk_blocks * chunk_blocks;
        const int end = std::min(block + chunk_blocks, blocks);
        int group = group_blocks(end - block, with_.kernels.widest_group);
        while (column / lanes >= block + group) {
            block += group;
            group = group_blocks(end - block, with_.kernels.widest_group);
        }
        return size_of(block * lanes) * size_of(rows) + size_of(row * group * lanes) + size_of(column - block * lanes);
    }

    /// Tokens of blocks [first, last) of one head of one image.
    void pack(int pair, int first, int last) const {
        const int n = pair / heads_;
        const int head = pair % heads_;
        float* q = packed(pair);
        float* k = q + q_floats_;
        float* v = k + k_floats_;
        const float scale = 1.0F / std::sqrt(static_cast<float>(width_));
        const int end = std::min(last * lanes, tokens_);
        for (int i = 0; i < width_; ++i) {
            const int c = head * width_ + i;
            const auto query = channel(qkv_, n, c);
            const auto key = channel(qkv_, n, channels_ + c);
            const auto value = channel(qkv_, n, 2 * channels_ + c);
            const std::size_t column = position(0, i, tokens_, width_blocks_);
            const std::size_t next = tokens_ > 1 ? position(1, i, tokens_, width_blocks_) - column : 0;
            for (int block = first; block < last; ++block) {
                float* keys = k + position(i, block * lanes, width_, token_blocks_);
                for (int t = block * lanes; t < std::min((block + 1) * lanes, tokens_); ++t) {
                    *keys++ = key.first[size_of(t) * key.step];
                }
                if ((block + 1) * lanes > tokens_) {
                    std::fill_n(keys, (block + 1) * lanes - tokens_, 0.0F);
                }
            }
            for (int t = first * lanes; t < end; ++t) {
                q[size_of(t) * size_of(width_) + size_of(i)] = query.first[size_of(t) * query.step] * scale;
                v[column + size_of(t) * next] = value.first[size_of(t) * value.step];
            }
        }
        for (int i = width_; i < width_blocks_ * lanes; ++i) {
            const std::size_t column = position(0, i, tokens_, width_blocks_);
            const std::size_t next = tokens_ > 1 ? position(1, i, tokens_, width_blocks_) - column : 0;
            for (int t = first * lanes; t < end; ++t) {
                v[column + size_of(t) * next] = 0.0F;
            }
        }
    }

    /// m = rows of `a`, `depth` long and `a_stride` apart, times the packed matrix w of `blocks` blocks.
    void multiply(const float* a, int a_stride, int rows, int depth, const float* w, int blocks, float* m,
                  int m_stride) const {
        std::array<std::ptrdiff_t, most_queries> offsets;
        for (int j = 0; j < rows; ++j) {
            offsets[size_of(j)] = static_cast<std::ptrdiff_t>(j) * a_stride;
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
            with_.kernels.multiply(source, rows, matrix, std::min(chunk_blocks, blocks - b), m + b * lanes, m_stride,
                                   false);
        }
    }

    /// Queries [first, first + count) of one head of one image.
    void attend(int pair, int first, int count, int batch, float* scratch) const {
        const int n = pair / heads_;
        const int head = pair % heads_;
        const float* q = packed(pair);
        const float* k = q + q_floats_;
        const float* v = k + k_floats_;
        const int padded = token_blocks_ * lanes;
        const int out = width_blocks_ * lanes;
        float* scores = scratch;
        float* result = scratch + size_of(batch) * size_of(padded);
        multiply(q + size_of(first) * size_of(width_), width_, count, width_, k, token_blocks_, scores, padded);
        std::array<float, most_queries> inverse;
        for (int j = 0; j < count; ++j) {
            inverse[size_of(j)] = 1.0F / with_.kernels.softmax(scores + size_of(j) * size_of(padded), tokens_);
        }
        multiply(scores, padded, count, tokens_, v, width_blocks_, result, out);
        for (int j = 0; j < count; ++j) {
            float* row = result + size_of(j) * size_of(out);
            with_.kernels.scale(row, inverse[size_of(j)], width_blocks_, row);
        }
        const std::size_t at = size_of(first) * lanes;
        for (int i = 0; i < width_;) {
            const int c = head * width_ + i;
            float* to = y_.plane(n, c / lanes) + at + size_of(c % lanes);
            const int some = std::min(lanes - c % lanes, width_ - i);
            for (int j = 0; j < count; ++j) {
                std::copy_n(result + size_of(j) * size_of(out) + size_of(i), some, to + size_of(j) * lanes);
            }
            i += some;
        }
    }

    const context& with_;
    const storage& qkv_;
    storage& y_;
    int heads_;
    int channels_;
    int width_;        ///< channels of a head
    int width_blocks_; ///< blocks that they fill
    int tokens_;
    int token_blocks_;
    std::size_t q_floats_ = 0;
    std::size_t k_floats_ = 0;
    std::size_t v_floats_ = 0;
    memory_block packed_;
};

} // namespace repaint::detail::cpu
