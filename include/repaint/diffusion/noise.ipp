#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <repaint/config.hpp>
#include <repaint/core/text.hpp>
#include <repaint/diffusion/noise.hpp>
#include <repaint/diffusion/philox.hpp>
#include <repaint/error.hpp>

namespace repaint {

REPAINT_INLINE std::vector<int> philox_noise::labels(int images, int classes) const {
    if (!seeds_.empty() && seeds_.size() < static_cast<std::size_t>(images)) {
        throw shape_error(joined_text({"labels: ", seeds_.size(), " seeds for ", images, " images"}));
    }
    std::vector<int> result;
    for (std::size_t i = 0; i < static_cast<std::size_t>(images); ++i) {
        const std::uint64_t seed = seeds_.empty() ? first_seed_ + i : seeds_[i];
        // A counter that no draw reaches.
        const std::uint32_t word = philox4x32({0, 0, 0xFFFFFFFFU, 0xFFFFFFFFU}, seed)[0];
        result.push_back(static_cast<int>(word % static_cast<std::uint32_t>(classes)));
    }
    return result;
}

REPAINT_INLINE std::vector<int> torch_cpu_noise::labels(int images, int classes) {
    std::vector<int> result;
    for (int i = 0; i < images; ++i) {
        result.push_back(static_cast<int>(generator_.randint(0, classes)));
    }
    return result;
}

REPAINT_INLINE std::vector<int> torch_cuda_noise::labels(int images, int classes) {
    std::vector<std::int64_t> drawn(static_cast<std::size_t>(images));
    generator_.randint(0, classes, drawn);
    std::vector<int> result;
    for (const std::int64_t label : drawn) {
        result.push_back(static_cast<int>(label));
    }
    return result;
}

REPAINT_INLINE recorded_noise::recorded_noise(std::vector<host_tensor> draws)
    : draws_(std::make_shared<const std::vector<host_tensor>>(std::move(draws))) {}

} // namespace repaint
