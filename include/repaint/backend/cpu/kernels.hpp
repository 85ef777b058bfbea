#pragma once

#include <array>
#include <cstddef>

#include <repaint/backend/cpu/instruction_set.hpp>
#include <repaint/config.hpp>
#include <repaint/core/options.hpp>

/// The inner loops of cpu_backend, once per instruction set, behind one table of functions. Everything around them
/// (what is computed where, by which thread) is ordinary C++ that knows nothing of registers.
namespace repaint::detail::cpu {

/// The rows that a matrix product reads: at plane p and tap t, `depth` values at plane[p] + offsets[t][row]. A negative
/// offset reads zeros: the padding of a convolution.
struct row_source {
    const float* const* plane = nullptr;
    int planes = 0;
    int depth = 0;          ///< of all planes but the last
    int last_depth = 0;     ///< of the last one
    int planes_per_sum = 1; ///< how many planes are summed in one chain
    int taps = 1;
    const std::ptrdiff_t* offsets = nullptr; ///< [taps][offsets_stride]
    std::ptrdiff_t offsets_stride = 0;
    const float* zeros = nullptr; ///< at least `depth` of them
};

/// A matrix in groups of blocks of sixteen columns (kernel_table::widest_group): block b begins at values + b
/// block_stride.
struct packed_matrix {
    const float* values = nullptr;
    std::ptrdiff_t block_stride = 0; ///< floats: 16 times the rows of the whole matrix
    std::ptrdiff_t first_row = 0;    ///< the rows above it are left out
};

/// Tiles of a Winograd convolution over one plane of one image, numbered row by row.
struct tile_grid {
    int h = 0;
    int w = 0;
    int padding = 0;
    int output_h = 0;
    int output_w = 0;
    int columns = 0; ///< tiles in a row
};

/// What a kernel does to the sums of a convolution, a channel block of them, before it writes them.
struct epilogue {
    const float* constant = nullptr; ///< 16 values: bias and what else is the same for every pixel
    const float* residual = nullptr; ///< a plane like the result's, or null
    activation then = activation::none;
};

/// A normalisation of the sixteen channels of a block: (x - mean) * scale + shift.
struct lane_normalisation {
    alignas(64) std::array<float, 16> mean{};
    alignas(64) std::array<float, 16> scale{};
    alignas(64) std::array<float, 16> shift{};
};

/// What the gradient of a normalisation takes from all of a group: dx = scale dz - level - slope (x - mean).
struct lane_feedback {
    alignas(64) std::array<float, 16> level{};
    alignas(64) std::array<float, 16> slope{};
};

/// The largest of some scores, and the sum of e^(score - largest).
struct exponentials {
    float largest = 0.0F;
    float sum = 0.0F;
};

/// Blocks in the next group of a packed matrix: `widest`, or the powers of two below once fewer remain.
constexpr int group_blocks(int remaining, int widest) {
    while (widest > remaining) {
        widest /= 2;
    }
    return widest;
}

/// One instruction set's kernels. Counts are of vectors of sixteen floats unless they say otherwise.
struct kernel_table {
    /// Blocks of sixteen columns that a matrix is packed in (group_blocks): within a group of g blocks, the 16 g values
    /// of each row of the matrix lie together.
    int widest_group;

    /// m[j][0 .. 16 blocks) (+)= row j of `a` times the first `blocks` blocks of w.
    void (*multiply)(const row_source& a, int rows, const packed_matrix& w, int blocks, float* m,
                     std::ptrdiff_t m_stride, bool accumulate);

    /// B^T d B of tiles first .. first + count - 1 of a plane; `next` is the plane that will follow; point (y, x) of
    /// tile i at v[(y P + x) point_stride + i tile_stride], P = 4 or 6.
    void (*winograd_input2)(const float* plane, const float* next, const tile_grid& grid, int first, int count,
                            float* v, std::ptrdiff_t point_stride, std::ptrdiff_t tile_stride);
    void (*winograd_input4)(const float* plane, const float* next, const tile_grid& grid, int first, int count,
                            float* v, std::ptrdiff_t point_stride, std::ptrdiff_t tile_stride);

    /// G g G^T of one group's packed 3x3 weights, `planes` blocks of input channels.
    void (*winograd_weights2)(const float* w, int planes, int last_depth, int blocks, float* u,
                              std::ptrdiff_t point_stride);
    void (*winograd_weights4)(const float* w, int planes, int last_depth, int blocks, float* u,
                              std::ptrdiff_t point_stride);

    /// A^T m A of tiles first .. first + count - 1 and what `e` says, written to a plane of the result.
    void (*winograd_output2)(const float* m, std::ptrdiff_t point_stride, std::ptrdiff_t tile_stride,
                             const tile_grid& grid, int first, int count, const epilogue& e, float* plane);
    void (*winograd_output4)(const float* m, std::ptrdiff_t point_stride, std::ptrdiff_t tile_stride,
                             const tile_grid& grid, int first, int count, const epilogue& e, float* plane);

    /// y[j] = what `e` makes of m[j].
    void (*finish)(const float* m, std::ptrdiff_t m_stride, int rows, const epilogue& e, float* y);

    /// Per lane the mean of `count` vectors and the sum of squared distances from it.
    void (*moments)(const float* x, int count, float* mean, float* squares);

    /// y = then(n(x)), lane by lane.
    void (*normalise)(const float* x, int count, const lane_normalisation& n, activation then, float* y);

    /// scores[i] = e^(scores[i] - largest) for `count` floats, zeros up to the next multiple of 16.
    exponentials (*softmax)(float* scores, int count);

    /// y = factor * x
    void (*scale)(const float* x, float factor, int count, float* y);

    /// factor * x, each vector twice, into two rows.
    void (*double_row)(const float* x, int count, float factor, float* first, float* second);

    /// `count` sums of 2x2 vectors of two rows, times factor.
    void (*halve_rows)(const float* first, const float* second, int count, float factor, float* y);

    /// y[j][i] = x[i][j] for rows i and columns j of x, at most sixteen of each; zeros where x has no more rows. `next`
    /// is where x will be soon.
    void (*transpose)(const float* x, const float* next, std::ptrdiff_t x_stride, int rows, int columns, float* y,
                      std::ptrdiff_t y_stride);
};

/// One instruction set's kernels for gradients, apart from kernel_table so that programs without gradients do not compile
/// them.
struct gradient_table {
    /// dx = f'(x) dy
    void (*activation_vjp)(const float* x, activation f, const float* dy, int count, float* dx);

    /// dz = then'(n(x)) dy, written unless `then` is none, and per lane the sums of dz and of dz (x - mean).
    void (*normalise_sums)(const float* x, const float* dy, int count, const lane_normalisation& n, activation then,
                           float* dz, float* sums, float* products);

    /// dx = scale dz - level - slope (x - mean).
    void (*normalise_vjp)(const float* x, const float* dz, int count, const lane_normalisation& n,
                          const lane_feedback& f, float* dx);

    /// For one query, whose softmax is p * inverse and whose softmax's cotangent is dp: p becomes the cotangent of the
    /// scores. Returns the mean of dp, weighted by the softmax.
    float (*softmax_vjp)(float* p, const float* dp, float inverse, int count);

    /// For one key and `count` vectors of queries: the scores become the softmax, dp becomes the cotangent of the
    /// scores. largest, inverse and mean hold one value for each query.
    void (*softmax_vjp_of_key)(float* scores, float* dp, const float* largest, const float* inverse, const float* mean,
                               int count);
};

/// The kernels of an instruction set that this CPU supports.
[[nodiscard]] const kernel_table& kernels_for(instruction_set s);
[[nodiscard]] const gradient_table& gradient_kernels_for(instruction_set s);

} // namespace repaint::detail::cpu

#ifndef REPAINT_COMPILED
#include <repaint/backend/cpu/kernels.ipp>
#endif
