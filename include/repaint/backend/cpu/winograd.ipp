#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <vector>

#include <repaint/backend/cpu/convolution.hpp>
#include <repaint/backend/cpu/winograd.hpp>

namespace repaint::detail::cpu {

/// The transforms of one tile size.
struct winograd_kernels {
    int points; ///< in a square
    decltype(kernel_table::winograd_input2) input;
    decltype(kernel_table::winograd_weights2) weights;
    decltype(kernel_table::winograd_output2) output;
};

inline winograd_kernels winograd_kernels_for(const kernel_table& k, int tile) {
    return tile == 2 ? winograd_kernels{16, k.winograd_input2, k.winograd_weights2, k.winograd_output2}
                     : winograd_kernels{36, k.winograd_input4, k.winograd_weights4, k.winograd_output4};
}

/// One 3x3 convolution by Winograd's method: tiles of all images are rows; rows [first, last) of the transformed input
/// are a matrix per point, which is multiplied with that point's weights.
class winograd_convolution {
public:
    winograd_convolution(const context& with, const convolution& c, int tile)
        : with_(with), c_(c), k_(winograd_kernels_for(with.kernels, tile)), in_(c.x.shape.c),
          width_(blocks_of(in_) * lanes), chain_(in_ < 4 * chain ? chain / 2 : chain) {
        const shape4 out = c.y.shape;
        grid_ = {c.x.shape.h, c.x.shape.w, c.options.padding, out.h, out.w, ceil_div(out.w, tile)};
        tiles_ = grid_.columns * ceil_div(out.h, tile);
    }

    void run() {
        const int rows = tiles_ * c_.y.shape.n;
        const std::size_t weights = size_of(c_.chunks()) * chunk_floats();
        const int enough = std::max(2 * batch_rows, 2 * with_.pool.threads() * private_rows);
        if (rows >= enough && weights <= shared_weights) {
            const memory_block u = with_.block(weights);
            transform_all_weights(u.data());
            run_by_rows(rows, u.data());
        } else {
            // Strips of rows whose transformed input stays within bounds.
            const std::size_t per_row = size_of(k_.points) * size_of(width_);
            const int within = static_cast<int>(shared_input / per_row) / batch_rows * batch_rows;
            const int strip = std::clamp(within, batch_rows, 4 * batch_rows);
            for (int first = 0; first < rows; first += strip) {
                run_by_channels(first, std::min(strip, rows - first));
            }
        }
    }

private:
    static constexpr int private_rows = 24;
    static constexpr int batch_rows = 64;
    static constexpr int panel_planes = 4;
    static constexpr std::size_t shared_weights = std::size_t{6} << 20U; // floats
    static constexpr std::size_t shared_input = std::size_t{4} << 20U;   // floats

    /// Floats of one chunk's transformed weights.
    [[nodiscard]] std::size_t chunk_floats() const { return size_of(k_.points) * weights_stride(in_); }

    /// Floats of the panel in which weights are transposed.
    [[nodiscard]] std::size_t panel_floats() const {
        return c_.transposed ? size_of(panel_planes * lanes * 9 * chunk_channels) : 0;
    }

    /// Distances between points: a cache line more than a multiple of a page, so that points do not share cache sets.
    [[nodiscard]] std::size_t input_stride(int rows) const { return size_of(rows) * size_of(width_) + lanes; }
    [[nodiscard]] static std::size_t sums_stride(int rows) { return size_of(rows) * chunk_channels + lanes; }
    [[nodiscard]] static std::size_t weights_stride(int depth) { return size_of(depth) * chunk_channels + lanes; }

    /// Calls f(image, first tile, count, first row) for the images that rows [first, first + count) belong to.
    template <class F> void for_each_image(int first, int count, F&& f) const {
        for (int row = first; row < first + count;) {
            const int n = row / tiles_;
            const int tile = row % tiles_;
            const int some = std::min(tiles_ - tile, first + count - row);
            f(n, tile, some, row - first);
            row += some;
        }
    }

    void transform_input(int block, int first, int count, float* v, std::size_t point_stride) const {
        for_each_image(first, count, [&](int n, int tile, int some, int row) {
            const int next = std::min(block + 1, blocks_of(in_) - 1);
            k_.input(c_.x.plane(n, block), c_.x.plane(n, next), grid_, tile, some,
                     v + size_of(row) * size_of(width_) + size_of(block * lanes), step_of(point_stride), width_);
        });
    }

    /// Weights of input blocks [first, first + planes) for one chunk; `u` holds `depth` input channels per point.
    void transform_weights(int chunk, int first, int planes, float* u, int depth, int first_row, float* panel) const {
        if (!c_.transposed) {
            const std::size_t stride = c_.w.block_stride();
            transform_weights(c_.w.values.data() + size_of(chunk * chunk_blocks) * stride, stride, first * lanes, chunk,
                              first, planes, u, depth, first_row);
            return;
        }
        // A few at a time are transposed into a panel that stays in the cache.
        static constexpr std::array<int, 9> half_turn{8, 7, 6, 5, 4, 3, 2, 1, 0};
        for (int done = 0; done < planes; done += panel_planes) {
            const int some = std::min(panel_planes, planes - done);
            const int channels = std::min(some * lanes, in_ - (first + done) * lanes);
            const std::size_t stride = size_of(channels) * 9 * lanes;
            transpose_rows(with_.kernels, c_.w, half_turn, chunk, first + done, some, panel, stride, 0);
            transform_weights(panel, stride, 0, chunk, first + done, some, u, depth, first_row + done * lanes);
        }
    }

    /// Transforms weights from channel `from` on of a packed matrix that belongs to the chunk.
    void transform_weights(const float* w, std::size_t block_stride, int from, int chunk, int first, int planes,
                           float* u, int depth, int first_row) const {
        const int channels = std::min(planes * lanes, in_ - first * lanes);
        const int count = c_.blocks_in(chunk);
        for (int b = 0; b < count;) {
            const int group = group_blocks(count - b, with_.kernels.widest_group);
            k_.weights(w + size_of(b) * block_stride + size_of(from * 9) * size_of(group * lanes), planes,
                       channels - (planes - 1) * lanes, group,
                       u + size_of(b * lanes) * size_of(depth) + size_of(first_row * group * lanes),
                       step_of(weights_stride(depth)));
            b += group;
        }
    }

    /// Transforms all weights into one array, chunk by chunk.
    void transform_all_weights(float* u) const {
        const int planes = blocks_of(in_);
        const int slices = ceil_div(planes, panel_planes);
        const auto panels = with_.scratch_for_workers(panel_floats());
        with_.pool.run(size_of(c_.chunks() * slices), [&](std::size_t task, int worker) {
            const int chunk = static_cast<int>(task) / slices;
            const int first = static_cast<int>(task) % slices * panel_planes;
            transform_weights(chunk, first, std::min(panel_planes, planes - first), u + size_of(chunk) * chunk_floats(),
                              in_, first * lanes, panels.of(worker));
        });
    }

    /// Sums of up to batch_rows rows over input channels [first, first + depth), which are all that `u` holds.
    void multiply(const float* v, std::size_t v_stride, int rows, const float* u, int first, int depth, int chunk,
                  float* m, std::size_t m_stride) const {
        std::array<std::ptrdiff_t, batch_rows> offsets;
        for (int j = 0; j < rows; ++j) {
            offsets[size_of(j)] = step_of(size_of(j) * size_of(width_));
        }
        const int planes = ceil_div(depth, chain_);
        std::array<const float*, 64> few;
        std::vector<const float*> many;
        const float** plane = few.data();
        if (planes > 64) {
            many.resize(size_of(planes));
            plane = many.data();
        }
        row_source a;
        a.plane = plane;
        a.planes = planes;
        a.depth = chain_;
        a.last_depth = depth - (planes - 1) * chain_;
        a.offsets = offsets.data();
        for (int point = 0; point < k_.points; ++point) {
            for (int p = 0; p < planes; ++p) {
                plane[p] = v + size_of(point) * v_stride + first + p * chain_;
            }
            const packed_matrix w{u + size_of(point) * weights_stride(depth), step_of(size_of(depth) * lanes), 0};
            with_.kernels.multiply(a, rows, w, c_.blocks_in(chunk), m + size_of(point) * m_stride, chunk_channels,
                                   first > 0);
        }
    }

    void transform_output(int chunk, int first, int count, const float* m, std::size_t m_stride) const {
        for (int b = 0; b < c_.blocks_in(chunk); ++b) {
            const int block = chunk * chunk_blocks + b;
            for_each_image(first, count, [&](int n, int tile, int some, int row) {
                alignas(64) std::array<float, lanes> constant;
                const epilogue e = c_.finishing(n, block, constant.data());
                k_.output(m + row * chunk_channels + b * lanes, step_of(m_stride), chunk_channels, grid_, tile, some, e,
                          c_.y.plane(n, block));
            });
        }
    }

    /// For many rows and moderate weights: the weights are transformed once and shared, and every worker takes a few
    /// rows all the way from input to output, in memory of its own.
    void run_by_rows(int rows, const float* u) {
        const int chunks = c_.chunks();
        const int planes = blocks_of(in_);
        const int most = even_part(rows, private_rows, with_.pool.threads());
        const std::size_t v_floats = size_of(k_.points) * input_stride(most);
        const auto scratch = with_.scratch_for_workers(v_floats + size_of(k_.points) * sums_stride(most));
        with_.pool.run(size_of(ceil_div(rows, most)), [&](std::size_t task, int worker) {
            const int first = static_cast<int>(task) * most;
            const int count = std::min(most, rows - first);
            float* v = scratch.of(worker);
            float* m = v + v_floats;
            for (int p = 0; p < planes; ++p) {
                transform_input(p, first, count, v, input_stride(most));
            }
            for (int chunk = 0; chunk < chunks; ++chunk) {
                multiply(v, input_stride(most), count, u + size_of(chunk) * chunk_floats(), 0, in_, chunk, m,
                         sums_stride(most));
                transform_output(chunk, first, count, m, sums_stride(most));
            }
        });
    }

    /// Few rows, or many weights: the transformed input is shared, and every worker takes result channels, whose
    /// weights it transforms on the way.
    void run_by_channels(int first, int rows) {
        const int planes = blocks_of(in_);
        const std::size_t v_stride = input_stride(rows);
        const memory_block v = with_.block(size_of(k_.points) * v_stride);
        const int segments = ceil_div(rows, batch_rows);
        with_.pool.run(size_of(planes * segments), [&](std::size_t task, int) {
            const int begin = static_cast<int>(task) % segments * batch_rows;
            transform_input(static_cast<int>(task) / segments, first + begin, std::min(batch_rows, rows - begin),
                            v.data() + size_of(begin) * size_of(width_), v_stride);
        });

        // Every thread takes an equal number of whole chunks; the threads share the remaining chunks by rows.
        const int threads = with_.pool.threads();
        const int whole = c_.chunks() / threads * threads;
        const int parts = std::clamp(rows / 4, 1, threads);
        const int part = ceil_div(rows, parts);
        // The weights of some input channels at a time, which then stay in the cache while all rows go by: the fewer
        // rows, the sooner the next ones have to come.
        const int depth = std::min(in_, rows <= batch_rows ? chain : 4 * chain);
        const std::size_t u_floats = size_of(k_.points) * weights_stride(depth);
        const std::size_t m_stride = sums_stride(rows);
        const std::size_t m_floats = size_of(k_.points) * m_stride;
        const auto scratch = with_.scratch_for_workers(u_floats + m_floats + panel_floats());
        with_.pool.run(size_of(whole + (c_.chunks() - whole) * parts), [&](std::size_t task, int worker) {
            int chunk = static_cast<int>(task);
            int begin = 0;
            int end = rows;
            if (chunk >= whole) {
                begin = (chunk - whole) % parts * part;
                end = std::min(rows, begin + part);
                chunk = whole + (chunk - whole) / parts;
            }
            float* u = scratch.of(worker);
            float* m = u + u_floats;
            for (int done = 0; done < in_; done += depth) {
                const int channels = std::min(depth, in_ - done);
                transform_weights(chunk, done / lanes, blocks_of(channels), u, channels, 0, m + m_floats);
                for (int row = begin; row < end; row += batch_rows) {
                    multiply(v.data() + size_of(row) * size_of(width_), v_stride, std::min(batch_rows, end - row), u,
                             done, channels, chunk, m + (row - begin) * chunk_channels, m_stride);
                }
            }
            transform_output(chunk, first + begin, end - begin, m, m_stride);
        });
    }

    const context& with_;
    const convolution& c_;
    winograd_kernels k_;
    int in_;
    int width_; ///< floats from row to row of the transformed input
    int chain_; ///< products that are summed in one go: fewer where all products would make less than four chains
    tile_grid grid_;
    int tiles_; ///< of one image
};

REPAINT_INLINE void convolve_by_winograd(const context& with, const convolution& c, int tile) {
    winograd_convolution(with, c, tile).run();
}

} // namespace repaint::detail::cpu
