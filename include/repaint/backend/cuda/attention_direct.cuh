#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <type_traits>

#include <repaint/backend/cuda/element.cuh>
#include <repaint/backend/cuda/runtime.cuh>
#include <repaint/error.hpp>

/// Attention without a library, for what cuDNN has none of (float, odd widths): y = softmax(Q K^T / sqrt(d)) V of every
/// head, and its vector-Jacobian product. qkv is NHWC, a row of 3c channels for each token: Q of all heads, then K, then
/// V; y and dy have rows of c.
///
/// A block makes the results of a tile of 64 tokens of one head (of 32, where heads have more than 64 channels, of 16
/// from 257 on) and goes through all others 32 at a time; sums are float, in an order that depends on tokens and width
/// alone. For each tile of queries attention reads K and V once; Q is read once, or once for every 32 keys where heads
/// have more than 64 channels; y is written once. The product goes over all pairs of tokens three times: for the
/// statistics of each query (three floats, kept in a scratch), for dQ, and for dK and dV (for each of them where heads
/// have more than 512 channels), each time reading the tile's tokens for every 32 others and the others once for each
/// tile; dqkv is written once.
namespace repaint::detail::cuda {

inline constexpr int attention_threads = 256;
inline constexpr int attention_others = 32;    ///< tokens that a tile meets at a time
inline constexpr int attention_chunk = 64;     ///< channels in block memory at a time
inline constexpr int attention_chunk_row = 68; ///< floats from one token's to the next
inline constexpr int attention_score_row = 36; ///< floats from one token's scores to the next
inline constexpr int attention_widest = 1024;

struct attention_shape {
    int images;
    int tokens;
    int heads;
    int width; ///< channels of a head

    [[nodiscard]] REPAINT_HOST_DEVICE std::size_t channels() const {
        return static_cast<std::size_t>(heads) * static_cast<std::size_t>(width);
    }
};

/// One head of one image: its Q, K, V or dy. Rows begin `stride` elements apart.
template <class T> struct head_tokens {
    const T* data;
    std::size_t stride;

    [[nodiscard]] const __device__ T* row(int token) const { return data + static_cast<std::size_t>(token) * stride; }
};

/// Which tile of which head of which image a block makes.
struct attention_place {
    int image;
    int head;
    int first; ///< token

    __device__ static attention_place of_block(const attention_shape& s, int rows) {
        const auto block = static_cast<int>(blockIdx.x);
        const int tiles = ceil_div(s.tokens, rows);
        return {block / tiles / s.heads, block / tiles % s.heads, block % tiles * rows};
    }

    /// The head's channels in a tensor of rows of `tensors` times the channels, in the which-th of them.
    template <class T>
    [[nodiscard]] __device__ head_tokens<T> of(const T* data, const attention_shape& s, int tensors, int which) const {
        const std::size_t stride = static_cast<std::size_t>(tensors) * s.channels();
        const std::size_t token = static_cast<std::size_t>(image) * static_cast<std::size_t>(s.tokens);
        const std::size_t channel = static_cast<std::size_t>(which) * s.channels() +
                                    static_cast<std::size_t>(head) * static_cast<std::size_t>(s.width);
        return {data + token * stride + channel, stride};
    }

    /// The head's row of statistics, one number for each token.
    [[nodiscard]] __device__ std::size_t statistics(const attention_shape& s) const {
        return (static_cast<std::size_t>(image) * static_cast<std::size_t>(s.heads) + static_cast<std::size_t>(head)) *
               static_cast<std::size_t>(s.tokens);
    }
};

/// What a block does for its tile of Rows tokens. Of scores (Rows x 32), a thread makes those of its own rows and two
/// columns; of sums (Rows x width, in block memory), those of its own rows and four columns of each chunk, which no other
/// thread touches.
template <class T, int Rows> struct attention_tile {
    static constexpr int own_rows = Rows / 16;
    static constexpr int chunk_floats = (Rows + attention_others) * attention_chunk_row;
    static constexpr int score_floats = Rows * attention_score_row;
    static constexpr int row_threads = attention_threads / Rows; ///< that share a row of scores
    static constexpr int row_scores = attention_others / row_threads;

    using score_registers = float[std::size_t{own_rows}][2];
    using row_factors = float[std::size_t{own_rows}];

    int tokens;
    int width;
    bool vectors;
    float* memory; ///< chunk_floats

    __device__ static int thread() { return static_cast<int>(threadIdx.x); }
    __device__ static int own_row() { return thread() / 16 * own_rows; }
    __device__ static int column() { return thread() % 16; }

    /// The row of scores that this thread works on with its neighbours, and which scores of it: score_column + i *
    /// row_threads.
    __device__ static int score_row() { return thread() / row_threads; }
    __device__ static int score_column() { return thread() % row_threads; }

    __device__ static float over_row_sum(float value) {
        for (int distance = row_threads / 2; distance > 0; distance /= 2) {
            value += __shfl_xor_sync(0xFFFFFFFFU, value, distance);
        }
        return value;
    }

    __device__ static float over_row_max(float value) {
        for (int distance = row_threads / 2; distance > 0; distance /= 2) {
            const float other = __shfl_xor_sync(0xFFFFFFFFU, value, distance);
            value = other > value ? other : value;
        }
        return value;
    }

    /// Channels channel ... channel + 63 of tokens first ... first + rows - 1; 0 where there are none.
    __device__ void load(const head_tokens<T>& from, int first, int rows, int channel, float* to) const {
        if (vectors) {
            constexpr int each = vector_width<T>;
            constexpr int in_row = attention_chunk / each;
            for (int i = thread(); i < rows * in_row; i += attention_threads) {
                const int row = i / in_row;
                const int c = i % in_row * each;
                vector_of<T> loaded = {};
                if (first + row < tokens && channel + c < width) {
                    loaded = vector_of<T>::load(from.row(first + row) + channel + c);
                }
                for (int k = 0; k < each; k += 4) {
                    const vector_of<float> four = {
                        {loaded.values[k], loaded.values[k + 1], loaded.values[k + 2], loaded.values[k + 3]}};
                    four.store(to + row * attention_chunk_row + c + k);
                }
            }
        } else {
            for (int i = thread(); i < rows * attention_chunk; i += attention_threads) {
                const int row = i / attention_chunk;
                const int c = i % attention_chunk;
                const bool exists = first + row < tokens && channel + c < width;
                to[row * attention_chunk_row + c] = exists ? to_float(from.row(first + row)[channel + c]) : 0.0F;
            }
        }
    }

    /// scores = the products of tile's tokens with others' tokens, over the channels. tile_is_loaded: block memory has
    /// the tile's only chunk since the last call.
    __device__ void multiply(const head_tokens<T>& tile, int first, const head_tokens<T>& others, int first_other,
                             bool tile_is_loaded, score_registers& scores) const {
        float* other_chunk = memory + Rows * attention_chunk_row;
        for (int i = 0; i < own_rows; ++i) {
            scores[i][0] = 0.0F;
            scores[i][1] = 0.0F;
        }
        for (int channel = 0; channel < width; channel += attention_chunk) {
            __syncthreads(); // whoever read the last chunks is done
            if (!tile_is_loaded) {
                load(tile, first, Rows, channel, memory);
            }
            load(others, first_other, attention_others, channel, other_chunk);
            __syncthreads();
            const int count = width - channel < attention_chunk ? width - channel : attention_chunk;
#if defined(__CUDA_ARCH__)
#pragma unroll 2
#endif
            for (int c = 0; c < count; c += 4) {
                const auto a = vector_of<float>::load(other_chunk + column() * attention_chunk_row + c);
                const auto b = vector_of<float>::load(other_chunk + (column() + 16) * attention_chunk_row + c);
                for (int i = 0; i < own_rows; ++i) {
                    const auto x = vector_of<float>::load(memory + (own_row() + i) * attention_chunk_row + c);
                    for (int k = 0; k < 4; ++k) {
                        scores[i][0] += x.values[k] * a.values[k];
                        scores[i][1] += x.values[k] * b.values[k];
                    }
                }
            }
        }
    }

    /// Where whole rows of scores can be worked on, after the next barrier.
    __device__ static void show(const score_registers& scores, float* to) {
        for (int i = 0; i < own_rows; ++i) {
            to[(own_row() + i) * attention_score_row + column()] = scores[i][0];
            to[(own_row() + i) * attention_score_row + column() + 16] = scores[i][1];
        }
    }

    /// Floats of sums: whole chunks of every row.
    [[nodiscard]] REPAINT_HOST_DEVICE static constexpr int sum_floats(int width) {
        return Rows * ceil_div(width, attention_chunk) * attention_chunk;
    }

    /// The four sums of this thread's i-th row.
    [[nodiscard]] __device__ float* at(float* sums, int i, int chunk) const {
        return sums + (own_row() + i) * (sum_floats(width) / Rows) + chunk * attention_chunk + 4 * column();
    }

    __device__ void clear(float* sums) const {
        for (int chunk = 0; chunk * attention_chunk < width; ++chunk) {
            for (int i = 0; i < own_rows; ++i) {
                vector_of<float>{}.store(at(sums, i, chunk));
            }
        }
    }

    /// sums = factors (one for each row of this thread) times sums + weights (Rows x 32, in block memory) times others'
    /// tokens. Begins with a barrier.
    __device__ void accumulate(const float* weights, const head_tokens<T>& others, int first_other,
                               const row_factors& factors, float* sums) const {
        float* other_chunk = memory + Rows * attention_chunk_row;
        for (int chunk = 0; chunk * attention_chunk < width; ++chunk) {
            __syncthreads();
            load(others, first_other, attention_others, chunk * attention_chunk, other_chunk);
            __syncthreads();
            vector_of<float> sum[std::size_t{own_rows}];
            for (int i = 0; i < own_rows; ++i) {
                sum[i] = vector_of<float>::load(at(sums, i, chunk));
                for (float& value : sum[i].values) {
                    value *= factors[i];
                }
            }
#if defined(__CUDA_ARCH__)
#pragma unroll 2
#endif
            for (int token = 0; token < attention_others; token += 4) {
                vector_of<float> x[4];
                for (int k = 0; k < 4; ++k) {
                    x[k] = vector_of<float>::load(other_chunk + (token + k) * attention_chunk_row + 4 * column());
                }
                for (int i = 0; i < own_rows; ++i) {
                    const auto w = vector_of<float>::load(weights + (own_row() + i) * attention_score_row + token);
                    for (int k = 0; k < 4; ++k) {
                        for (int j = 0; j < 4; ++j) {
                            sum[i].values[j] += w.values[k] * x[k].values[j];
                        }
                    }
                }
            }
            for (int i = 0; i < own_rows; ++i) {
                sum[i].store(at(sums, i, chunk));
            }
        }
    }

    /// The sums times a factor for each row. to: the head's channels of token 0, in rows that begin `stride` elements
    /// apart.
    __device__ void write(float* sums, const row_factors& factors, int first, T* to, std::size_t stride) const {
        struct alignas(4 * sizeof(T)) four_channels {
            T values[4];
        };
        for (int chunk = 0; chunk * attention_chunk < width; ++chunk) {
            const int channel = chunk * attention_chunk + 4 * column();
            for (int i = 0; i < own_rows; ++i) {
                const int token = first + own_row() + i;
                if (token >= tokens || channel >= width) {
                    continue;
                }
                vector_of<float> sum = vector_of<float>::load(at(sums, i, chunk));
                for (float& value : sum.values) {
                    value *= factors[i];
                }
                T* y = to + static_cast<std::size_t>(token) * stride + channel;
                if (vectors) {
                    *reinterpret_cast<four_channels*>(y) = {{from_float<T>(sum.values[0]), from_float<T>(sum.values[1]),
                                                             from_float<T>(sum.values[2]),
                                                             from_float<T>(sum.values[3])}};
                } else {
                    for (int j = 0; j < 4 && channel + j < width; ++j) {
                        y[j] = from_float<T>(sum.values[j]);
                    }
                }
            }
        }
    }

    /// The factors of this thread's rows, of all rows'.
    __device__ static void own(const float* factors, row_factors& of_rows) {
        for (int i = 0; i < own_rows; ++i) {
            of_rows[i] = factors[own_row() + i];
        }
    }

    __device__ static void ones(row_factors& of_rows) {
        for (float& factor : of_rows) {
            factor = 1.0F;
        }
    }
};

/// The softmax of a row as its scores come in, 32 at a time: the largest so far, and the sum of exponentials relative to
/// it.
struct running_softmax {
    float largest = -std::numeric_limits<float>::infinity();
    float sum = 0.0F;

    /// Takes the larger of `value` and what there was. Returns by what earlier sums are to be multiplied.
    __device__ float raise(float value) {
        const float before = largest;
        largest = value > largest ? value : largest;
        const float factor = std::exp(before - largest);
        sum *= factor;
        return factor;
    }
};

template <class T, int Rows>
__global__ void __launch_bounds__(attention_threads)
    attention_kernel(const T* qkv, attention_shape shape, bool vectors, T* y) {
    using tile = attention_tile<T, Rows>;
    const auto place = attention_place::of_block(shape, Rows);
    const auto q = place.of(qkv, shape, 3, 0);
    const auto k = place.of(qkv, shape, 3, 1);
    const auto v = place.of(qkv, shape, 3, 2);
    const tile t = {shape.tokens, shape.width, vectors, block_memory<float>()};
    float* weights = t.memory + tile::chunk_floats;
    float* sums = weights + tile::score_floats;
    float* factors = sums + tile::sum_floats(shape.width);
    typename tile::row_factors own_factors;
    const float scale = 1.0F / std::sqrt(static_cast<float>(shape.width));
    float* row = weights + tile::score_row() * attention_score_row + tile::score_column();

    running_softmax softmax;
    t.clear(sums);
    for (int first = 0; first < shape.tokens; first += attention_others) {
        typename tile::score_registers scores;
        t.multiply(q, place.first, k, first, shape.width <= attention_chunk && first > 0, scores);
        tile::show(scores, weights);
        __syncthreads();
        float values[tile::row_scores];
        float largest = -std::numeric_limits<float>::infinity();
        for (int i = 0; i < tile::row_scores; ++i) {
            const bool exists = first + tile::score_column() + i * tile::row_threads < shape.tokens;
            values[i] = exists ? row[i * tile::row_threads] * scale : -std::numeric_limits<float>::infinity();
            largest = values[i] > largest ? values[i] : largest;
        }
        const float factor = softmax.raise(tile::over_row_max(largest));
        float sum = 0.0F;
        for (int i = 0; i < tile::row_scores; ++i) {
            const float weight = std::exp(values[i] - softmax.largest);
            row[i * tile::row_threads] = weight;
            sum += weight;
        }
        softmax.sum += tile::over_row_sum(sum);
        if (tile::score_column() == 0) {
            factors[tile::score_row()] = factor;
        }
        __syncthreads();
        tile::own(factors, own_factors);
        t.accumulate(weights, v, first, own_factors, sums);
    }
    __syncthreads();
    if (tile::score_column() == 0) {
        factors[tile::score_row()] = 1.0F / softmax.sum;
    }
    __syncthreads();
    tile::own(factors, own_factors);
    t.write(sums, own_factors, place.first, y + (place.of(y, shape, 1, 0).data - y), shape.channels());
}

/// Of each query of each head of each image: the largest score, the inverse of the sum of exponentials, and the mean of
/// dP weighted by P.
struct attention_statistics {
    float* largest;
    float* inverse;
    float* mean;
};

/// dQ, and the statistics that the kernel of dK and dV needs. With P = softmax(S), S = Q K^T / sqrt(d), dP = dY V^T:
/// dS = P (dP - mean), dQ = dS K / sqrt(d).
template <class T, int Rows>
__global__ void __launch_bounds__(attention_threads)
    attention_vjp_of_queries_kernel(const T* qkv, const T* dy, attention_shape shape, bool vectors,
                                    attention_statistics statistics, T* dqkv) {
    using tile = attention_tile<T, Rows>;
    const auto place = attention_place::of_block(shape, Rows);
    const auto q = place.of(qkv, shape, 3, 0);
    const auto k = place.of(qkv, shape, 3, 1);
    const auto v = place.of(qkv, shape, 3, 2);
    const auto cotangent = place.of(dy, shape, 1, 0);
    const tile t = {shape.tokens, shape.width, vectors, block_memory<float>()};
    float* shown = t.memory + tile::chunk_floats;
    float* shown_cotangents = shown + tile::score_floats;
    float* sums = shown_cotangents + tile::score_floats;
    const int in_row = tile::score_row() * attention_score_row + tile::score_column();
    float* row = shown + in_row;
    const float* row_cotangents = shown_cotangents + in_row;
    const float scale = 1.0F / std::sqrt(static_cast<float>(shape.width));
    const auto show_products = [&](int first) {
        typename tile::score_registers scores;
        typename tile::score_registers cotangents;
        t.multiply(q, place.first, k, first, false, scores);
        t.multiply(cotangent, place.first, v, first, false, cotangents);
        tile::show(scores, shown);
        tile::show(cotangents, shown_cotangents);
        __syncthreads();
    };
    const auto exists = [&](int first, int i) {
        return first + tile::score_column() + i * tile::row_threads < shape.tokens;
    };

    running_softmax softmax;
    float mean = 0.0F;
    for (int first = 0; first < shape.tokens; first += attention_others) {
        show_products(first);
        float largest = -std::numeric_limits<float>::infinity();
        for (int i = 0; i < tile::row_scores; ++i) {
            const float value = row[i * tile::row_threads] * scale;
            largest = exists(first, i) && value > largest ? value : largest;
        }
        mean *= softmax.raise(tile::over_row_max(largest));
        float sum = 0.0F;
        float weighted = 0.0F;
        for (int i = 0; i < tile::row_scores; ++i) {
            if (exists(first, i)) {
                const float weight = std::exp(row[i * tile::row_threads] * scale - softmax.largest);
                sum += weight;
                weighted += weight * row_cotangents[i * tile::row_threads];
            }
        }
        softmax.sum += tile::over_row_sum(sum);
        mean += tile::over_row_sum(weighted);
    }
    const float inverse = 1.0F / softmax.sum;
    mean *= inverse;
    const int query = place.first + tile::score_row();
    if (tile::score_column() == 0 && query < shape.tokens) {
        const std::size_t at = place.statistics(shape) + static_cast<std::size_t>(query);
        statistics.largest[at] = softmax.largest;
        statistics.inverse[at] = inverse;
        statistics.mean[at] = mean;
    }

    typename tile::row_factors ones;
    tile::ones(ones);
    t.clear(sums);
    for (int first = 0; first < shape.tokens; first += attention_others) {
        show_products(first);
        for (int i = 0; i < tile::row_scores; ++i) {
            const float weight = std::exp(row[i * tile::row_threads] * scale - softmax.largest) * inverse;
            row[i * tile::row_threads] =
                exists(first, i) ? weight * (row_cotangents[i * tile::row_threads] - mean) * scale : 0.0F;
        }
        t.accumulate(shown, k, first, ones, sums);
    }
    t.write(sums, ones, place.first, dqkv + (place.of(dqkv, shape, 3, 0).data - dqkv), 3 * shape.channels());
}

/// dK = dS^T Q / sqrt(d), dV = P^T dY, or both, after attention_vjp_of_queries_kernel.
template <class T, int Rows>
__global__ void __launch_bounds__(attention_threads)
    attention_vjp_of_keys_kernel(const T* qkv, const T* dy, attention_shape shape, bool vectors,
                                 attention_statistics statistics, bool keys, bool values, T* dqkv) {
    using tile = attention_tile<T, Rows>;
    const auto place = attention_place::of_block(shape, Rows);
    const auto q = place.of(qkv, shape, 3, 0);
    const auto k = place.of(qkv, shape, 3, 1);
    const auto v = place.of(qkv, shape, 3, 2);
    const auto cotangent = place.of(dy, shape, 1, 0);
    const tile t = {shape.tokens, shape.width, vectors, block_memory<float>()};
    float* weights = t.memory + tile::chunk_floats;
    float* score_cotangents = weights + tile::score_floats;
    float* key_sums = score_cotangents + tile::score_floats;
    float* value_sums = key_sums + (keys ? tile::sum_floats(shape.width) : 0);
    const int in_row = tile::score_row() * attention_score_row + tile::score_column();
    const float scale = 1.0F / std::sqrt(static_cast<float>(shape.width));
    const std::size_t head = place.statistics(shape);

    typename tile::row_factors ones;
    tile::ones(ones);
    if (keys) {
        t.clear(key_sums);
    }
    if (values) {
        t.clear(value_sums);
    }
    for (int first = 0; first < shape.tokens; first += attention_others) {
        typename tile::score_registers scores;
        typename tile::score_registers cotangents;
        t.multiply(k, place.first, q, first, false, scores);
        tile::show(scores, weights);
        if (keys) {
            t.multiply(v, place.first, cotangent, first, false, cotangents);
            tile::show(cotangents, score_cotangents);
        }
        __syncthreads();
        for (int i = 0; i < tile::row_scores; ++i) {
            const int at = in_row + i * tile::row_threads;
            const int query = first + tile::score_column() + i * tile::row_threads;
            float weight = 0.0F;
            float score_cotangent = 0.0F;
            if (query < shape.tokens) {
                const std::size_t of_query = head + static_cast<std::size_t>(query);
                weight = std::exp(weights[at] * scale - statistics.largest[of_query]) * statistics.inverse[of_query];
                if (keys) {
                    score_cotangent = weight * (score_cotangents[at] - statistics.mean[of_query]) * scale;
                }
            }
            weights[at] = weight;
            score_cotangents[at] = score_cotangent;
        }
        if (values) {
            t.accumulate(weights, cotangent, first, ones, value_sums);
        }
        if (keys) {
            t.accumulate(score_cotangents, q, first, ones, key_sums);
        }
    }
    if (keys) {
        t.write(key_sums, ones, place.first, dqkv + (place.of(dqkv, shape, 3, 1).data - dqkv), 3 * shape.channels());
    }
    if (values) {
        t.write(value_sums, ones, place.first, dqkv + (place.of(dqkv, shape, 3, 2).data - dqkv), 3 * shape.channels());
    }
}

template <int Rows> using attention_rows = std::integral_constant<int, Rows>;

/// Calls f with the attention_rows of a tile of heads of `width` channels. Throws shape_error when they are too wide.
template <class F> void for_attention_rows(const char* name, int width, F&& f) {
    if (width < 1 || width > attention_widest) {
        std::string text = name;
        text += ": heads of ";
        text += std::to_string(width);
        text += " channels, 1 to ";
        text += std::to_string(attention_widest);
        text += " are possible";
        throw shape_error(text);
    }
    if (width <= 64) {
        f(attention_rows<64>{});
    } else if (width <= 256) {
        f(attention_rows<32>{});
    } else {
        f(attention_rows<16>{});
    }
}

/// Block memory for so many tiles of scores and of sums.
template <class T, int Rows> std::size_t attention_bytes(int score_tiles, int sum_tiles, int width) {
    using tile = attention_tile<T, Rows>;
    return sizeof(float) * static_cast<std::size_t>(tile::chunk_floats + score_tiles * tile::score_floats +
                                                    sum_tiles * tile::sum_floats(width) + Rows);
}

inline dim3 attention_grid(const attention_shape& s, int rows) {
    return dim3(static_cast<unsigned>(ceil_div(s.tokens, rows)) * static_cast<unsigned>(s.heads) *
                static_cast<unsigned>(s.images));
}

/// Whether every head of every token begins on a border of sixteen bytes.
template <class T> bool attention_in_vectors(const attention_shape& s, const void* a, const void* b, const void* c) {
    const auto aligned = [](const void* p) { return reinterpret_cast<std::uintptr_t>(p) % 16 == 0; };
    return s.width % vector_width<T> == 0 && aligned(a) && aligned(b) && aligned(c);
}

/// qkv: (images, tokens, 3 * heads * width). y: (images, tokens, heads * width). Throws shape_error for heads wider than
/// 1024.
template <class T> void attention_direct(const T* qkv, const attention_shape& shape, T* y, cudaStream_t stream) {
    for_attention_rows("attention", shape.width, [&](auto rows) {
        constexpr int tile_rows = decltype(rows)::value;
        launch("attention", attention_kernel<T, tile_rows>, attention_grid(shape, tile_rows), attention_threads,
               attention_bytes<T, tile_rows>(1, 1, shape.width), stream, qkv, shape,
               attention_in_vectors<T>(shape, qkv, y, nullptr), y);
    });
}

/// Floats of scratch that attention_direct_vjp needs.
inline std::size_t attention_direct_vjp_floats(const attention_shape& s) {
    return 3 * static_cast<std::size_t>(s.images) * static_cast<std::size_t>(s.heads) *
           static_cast<std::size_t>(s.tokens);
}

/// dqkv, of qkv's shape, from the cotangent dy of y. scratch: attention_direct_vjp_floats(shape). Throws shape_error for
/// heads wider than 1024.
template <class T>
void attention_direct_vjp(const T* qkv, const T* dy, const attention_shape& shape, float* scratch, T* dqkv,
                          cudaStream_t stream) {
    const std::size_t each = attention_direct_vjp_floats(shape) / 3;
    const attention_statistics statistics = {scratch, scratch + each, scratch + 2 * each};
    const bool vectors = attention_in_vectors<T>(shape, qkv, dy, dqkv);
    for_attention_rows("attention_vjp", shape.width, [&](auto rows) {
        constexpr int tile_rows = decltype(rows)::value;
        const dim3 grid = attention_grid(shape, tile_rows);
        launch("attention_vjp", attention_vjp_of_queries_kernel<T, tile_rows>, grid, attention_threads,
               attention_bytes<T, tile_rows>(2, 1, shape.width), stream, qkv, dy, shape, vectors, statistics, dqkv);
        const auto of_keys = [&](bool keys, bool values) {
            launch("attention_vjp", attention_vjp_of_keys_kernel<T, tile_rows>, grid, attention_threads,
                   attention_bytes<T, tile_rows>(2, (keys ? 1 : 0) + (values ? 1 : 0), shape.width), stream, qkv, dy,
                   shape, vectors, statistics, keys, values, dqkv);
        };
        if (shape.width <= 512) {
            of_keys(true, true);
        } else { // the sums of both do not fit into the block memory of every device
            of_keys(true, false);
            of_keys(false, true);
        }
    });
}

} // namespace repaint::detail::cuda
