#pragma once

#include <array>
#include <vector>

#include <repaint/backend/cpu/head_layout.hpp>

namespace repaint::detail::cpu {

REPAINT_INLINE void head_layout::pack(const storage& x, int n, int c, float factor, int first, int last,
                                      const token_forms& to, float* scratch) const {
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

REPAINT_INLINE void head_layout::write(const float* rows, int n, int c, int first, int count, storage& y) const {
    for (int i = 0; i < width_;) {
        float* to = y.plane(n, (c + i) / lanes) + size_of(first) * lanes + size_of((c + i) % lanes);
        const int some = std::min(lanes - (c + i) % lanes, width_ - i);
        for (int j = 0; j < count; ++j) {
            std::copy_n(rows + j * row_stride() + i, some, to + j * lanes);
        }
        i += some;
    }
}

REPAINT_INLINE void head_layout::multiply(const float* a, int stride, int rows, int depth, const float* w, int blocks,
                                          float* m) const {
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
        const packed_matrix matrix{w + size_of(b * lanes) * size_of(depth), static_cast<std::ptrdiff_t>(depth) * lanes,
                                   0};
        with_.kernels.multiply(source, rows, matrix, std::min(chunk_blocks, blocks - b), m + b * lanes,
                               static_cast<std::ptrdiff_t>(blocks) * lanes, false);
    }
}

} // namespace repaint::detail::cpu
