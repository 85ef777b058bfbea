#pragma once

#include <cstddef>

#include <repaint/backend/cpu/group_norm.hpp>
#include <repaint/backend/cpu/group_statistics.hpp>

namespace repaint::detail::cpu {

REPAINT_INLINE void group_norm(const context& with, const normalisation& c, storage& y) {
    const normalisation_steps steps(with, c.x.shape, c.options.groups);
    group_statistics statistics(with, c, steps);
    const auto apply = [&](int n, int block, int first, int last) {
        const lane_normalisation k = statistics.of_block(n, block);
        const float* from = c.x.plane(n, block);
        float* to = y.plane(n, block);
        for (int p = first; p < last; ++p) {
            const std::size_t at = normalisation_steps::offset(p);
            with.kernels.normalise(from + at, steps.length(p), k, c.options.then, to + at);
        }
    };
    steps.run({statistics.measuring(), statistics.joining(), {apply, {}}});
}

} // namespace repaint::detail::cpu
