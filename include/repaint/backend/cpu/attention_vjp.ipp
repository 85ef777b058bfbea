#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>

#include <repaint/backend/cpu/attention_vjp.hpp>
#include <repaint/backend/cpu/head_layout.hpp>

namespace repaint::detail::cpu {

/// With P = softmax(S), S = Q K^T / sqrt(d) and Y = P V: dV = P^T dY, dP = dY V^T, dS = P (dP - mean), the mean of each
/// query's dP weighted by P, dQ = dS K / sqrt(d), dK = dS^T Q / sqrt(d). Scores are computed twice, in batches of
/// queries for dQ and in batches of keys for dK and dV: no sums are shared between threads, and nothing of size tokens
/// x tokens exists.
class attention_gradient {
public:
    /// All blocked.
    attention_gradient(const context& with, const storage& qkv, int heads, const storage& dy, storage& dqkv)
        : with_(with), qkv_(qkv), dy_(dy), dqkv_(dqkv), heads_(heads), channels_(dy.shape.c),
          pairs_(dy.shape.n * heads), h_(with, static_cast<int>(dy.shape.plane()), channels_ / heads),
          scale_(1.0F / std::sqrt(static_cast<float>(h_.width()))),
          statistics_(with.block(size_of(pairs_) * 3 * size_of(h_.score_stride()))) {}

    void run() {
        queries();
        keys_and_values();
    }

private:
    [[nodiscard]] int image(int pair) const { return pair / heads_; }
    [[nodiscard]] int query_channel(int pair) const { return pair % heads_ * h_.width(); }
    [[nodiscard]] int key_channel(int pair) const { return channels_ + query_channel(pair); }
    [[nodiscard]] int value_channel(int pair) const { return 2 * channels_ + query_channel(pair); }

    /// Where a pair keeps, for each query, the largest score, the inverse of the sum of exponentials and the mean of
    /// dP.
    [[nodiscard]] float* largest(int pair) const {
        return statistics_.data() + size_of(pair) * 3 * size_of(h_.score_stride());
    }
    [[nodiscard]] float* inverse(int pair) const { return largest(pair) + h_.score_stride(); }
    [[nodiscard]] float* mean(int pair) const { return inverse(pair) + h_.score_stride(); }

    [[nodiscard]] std::size_t row(int token) const { return size_of(token) * size_of(h_.row_stride()); }

    void queries() {
        const std::size_t floats = 2 * h_.rows_floats() + 2 * h_.columns_floats() + h_.matrix_floats();
        const memory_block packed = with_.block(size_of(pairs_) * floats);
        const auto query_rows = [&](int pair) { return packed.data() + size_of(pair) * floats; };
        const auto dy_rows = [&](int pair) { return query_rows(pair) + h_.rows_floats(); };
        const auto key_columns = [&](int pair) { return dy_rows(pair) + h_.rows_floats(); };
        const auto value_columns = [&](int pair) { return key_columns(pair) + h_.columns_floats(); };
        const auto key_matrix = [&](int pair) { return value_columns(pair) + h_.columns_floats(); };
        {
            const auto scratch = with_.scratch_for_workers(h_.packing_floats());
            for_each_token_block(with_, pairs_, h_.token_blocks(), [&](int pair, int first, int last, int worker) {
                const int n = image(pair);
                float* s = scratch.of(worker);
                h_.pack(qkv_, n, query_channel(pair), scale_, first, last, {query_rows(pair), nullptr, nullptr}, s);
                h_.pack(dy_, n, query_channel(pair), 1.0F, first, last, {dy_rows(pair), nullptr, nullptr}, s);
                h_.pack(qkv_, n, key_channel(pair), 1.0F, first, last, {nullptr, key_columns(pair), key_matrix(pair)},
                        s);
                h_.pack(qkv_, n, value_channel(pair), 1.0F, first, last, {nullptr, value_columns(pair), nullptr}, s);
            });
        }
        const int batch = h_.batch(2);
        const std::size_t score_floats = size_of(batch) * size_of(h_.score_stride());
        const auto scratch = with_.scratch_for_workers(2 * score_floats + row(batch));
        for_each_batch(with_, pairs_, h_.tokens(), batch, [&](int pair, int first, int count, int worker) {
            float* p = scratch.of(worker);
            float* dp = p + score_floats;
            float* dq = dp + score_floats;
            h_.multiply_columns(query_rows(pair) + row(first), count, key_columns(pair), p);
            h_.multiply_columns(dy_rows(pair) + row(first), count, value_columns(pair), dp);
            for (int j = 0; j < count; ++j) {
                float* scores = p + j * h_.score_stride();
                const exponentials e = with_.kernels.softmax(scores, h_.tokens());
                const int query = first + j;
                largest(pair)[query] = e.largest;
                inverse(pair)[query] = 1.0F / e.sum;
                mean(pair)[query] = with_.gradient_kernels().softmax_vjp(scores, dp + j * h_.score_stride(),
                                                                         inverse(pair)[query], h_.token_blocks());
            }
            h_.multiply_matrix(p, count, key_matrix(pair), dq);
            with_.kernels.scale(dq, scale_, count * h_.row_stride() / lanes, dq);
            h_.write(dq, image(pair), query_channel(pair), first, count, dqkv_);
        });
    }

    void keys_and_values() {
        const std::size_t floats = 2 * h_.rows_floats() + 2 * h_.columns_floats() + 2 * h_.matrix_floats();
        const memory_block packed = with_.block(size_of(pairs_) * floats);
        const auto key_rows = [&](int pair) { return packed.data() + size_of(pair) * floats; };
        const auto value_rows = [&](int pair) { return key_rows(pair) + h_.rows_floats(); };
        const auto query_columns = [&](int pair) { return value_rows(pair) + h_.rows_floats(); };
        const auto dy_columns = [&](int pair) { return query_columns(pair) + h_.columns_floats(); };
        const auto query_matrix = [&](int pair) { return dy_columns(pair) + h_.columns_floats(); };
        const auto dy_matrix = [&](int pair) { return query_matrix(pair) + h_.matrix_floats(); };
        {
            const auto scratch = with_.scratch_for_workers(h_.packing_floats());
            for_each_token_block(with_, pairs_, h_.token_blocks(), [&](int pair, int first, int last, int worker) {
                const int n = image(pair);
                float* s = scratch.of(worker);
                h_.pack(qkv_, n, query_channel(pair), scale_, first, last,
                        {nullptr, query_columns(pair), query_matrix(pair)}, s);
                h_.pack(dy_, n, query_channel(pair), 1.0F, first, last, {nullptr, dy_columns(pair), dy_matrix(pair)},
                        s);
                h_.pack(qkv_, n, key_channel(pair), 1.0F, first, last, {key_rows(pair), nullptr, nullptr}, s);
                h_.pack(qkv_, n, value_channel(pair), 1.0F, first, last, {value_rows(pair), nullptr, nullptr}, s);
                if (last == h_.token_blocks() && first < last) { // places behind the last query get no weight
                    for (float* each : {largest(pair), inverse(pair), mean(pair)}) {
                        std::fill(each + h_.tokens(), each + h_.score_stride(), 0.0F);
                    }
                }
            });
        }
        const int batch = h_.batch(2);
        const std::size_t score_floats = size_of(batch) * size_of(h_.score_stride());
        const auto scratch = with_.scratch_for_workers(2 * score_floats + row(batch));
        for_each_batch(with_, pairs_, h_.tokens(), batch, [&](int pair, int first, int count, int worker) {
            float* p = scratch.of(worker);
            float* dp = p + score_floats;
            float* result = dp + score_floats;
            h_.multiply_columns(key_rows(pair) + row(first), count, query_columns(pair), p);
            h_.multiply_columns(value_rows(pair) + row(first), count, dy_columns(pair), dp);
            for (int j = 0; j < count; ++j) {
                const std::size_t at = size_of(j) * size_of(h_.score_stride());
                with_.gradient_kernels().softmax_vjp_of_key(p + at, dp + at, largest(pair), inverse(pair), mean(pair),
                                                            h_.token_blocks());
            }
            h_.multiply_matrix(p, count, dy_matrix(pair), result);
            h_.write(result, image(pair), value_channel(pair), first, count, dqkv_);
            h_.multiply_matrix(dp, count, query_matrix(pair), result); // of queries that are scaled already
            h_.write(result, image(pair), key_channel(pair), first, count, dqkv_);
        });
    }

    const context& with_;
    const storage& qkv_;
    const storage& dy_;
    storage& dqkv_;
    int heads_;
    int channels_;
    int pairs_; ///< heads of all images
    head_layout h_;
    float scale_;
    memory_block statistics_;
};

REPAINT_INLINE void attention_vjp(const context& with, const storage& qkv, int heads, const storage& dy,
                                  storage& dqkv) {
    attention_gradient(with, qkv, heads, dy, dqkv).run();
}

} // namespace repaint::detail::cpu
