#pragma once

#include <array>
#include <cmath>
#include <cstddef>

#include <repaint/backend/cpu/attention.hpp>
#include <repaint/backend/cpu/head_layout.hpp>

namespace repaint::detail::cpu {

REPAINT_INLINE void attention(const context& with, const storage& qkv, int heads, storage& y) {
    const int channels = y.shape.c;
    const head_layout h(with, static_cast<int>(y.shape.plane()), channels / heads);
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
        std::array<float, head_layout::most_rows> inverse;
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
