#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>

#include <repaint/config.hpp>
#include <repaint/core/text.hpp>
#include <repaint/diffusion/philox.hpp>
#include <repaint/diffusion/torch_cuda_generator.hpp>

namespace repaint {

REPAINT_INLINE std::optional<torch_cuda_device> torch_cuda_device_named(std::string_view name) {
    const auto* found = std::find_if(torch_cuda_devices.begin(), torch_cuda_devices.end(),
                                     [name](const named_torch_cuda_device& each) { return each.name == name; });
    return found == torch_cuda_devices.end() ? std::nullopt : std::optional(found->device);
}

REPAINT_INLINE torch_cuda_generator::torch_cuda_generator(std::uint64_t seed, const torch_cuda_device& device)
    : state_{seed, 0}, device_(device) {
    if (device.multiprocessors < 1 || device.threads_per_multiprocessor < static_cast<int>(block)) {
        throw std::invalid_argument(
            joined_text({"torch_cuda_generator: a GPU has at least 1 multiprocessor and 256 threads in "
                         "each, got ",
                         device.multiprocessors, " and ", device.threads_per_multiprocessor}));
    }
}

REPAINT_INLINE void torch_cuda_generator::restore(const state& saved) {
    if (saved.offset % 4 != 0) {
        throw std::invalid_argument(
            joined_text({"torch_cuda_generator: the offset of a state must be a multiple of 4, got ", saved.offset}));
    }
    state_ = saved;
}

REPAINT_INLINE void torch_cuda_generator::normal(std::span<float> out) {
    for_each_four_words(out.size(), [&](const detail::philox_words& w, std::size_t first, std::size_t step) {
        const auto [a, b] = pair(w.a, w.b);
        const auto [c, d] = pair(w.c, w.d);
        scatter(std::array{a, b, c, d}, first, step, out);
    });
}

REPAINT_INLINE void torch_cuda_generator::randint(std::int64_t low, std::int64_t high, std::span<std::int64_t> out) {
    const std::uint64_t range = static_cast<std::uint64_t>(high) - static_cast<std::uint64_t>(low);
    if (low >= high || range >= (std::uint64_t{1} << 28U)) {
        throw std::invalid_argument(
            joined_text({"randint: low must be below high, by less than 2^28, got ", low, " and ", high}));
    }
    const auto in_range = [&](std::uint32_t word) { return low + static_cast<std::int64_t>(word % range); };
    for_each_four_words(out.size(), [&](const detail::philox_words& w, std::size_t first, std::size_t step) {
        scatter(std::array{in_range(w.a), in_range(w.b), in_range(w.c), in_range(w.d)}, first, step, out);
    });
}

REPAINT_INLINE std::array<float, 2> torch_cuda_generator::pair(std::uint32_t a, std::uint32_t b) {
    const float u = std::fma(static_cast<float>(a), 0x1p-32F, 0x1p-33F);
    const float angle = std::fma(static_cast<float>(b), 1.46291807927e-9F, 7.31459039633e-10F); // 2 pi / 2^32, half
    const double radius = std::sqrt(-2.0 * std::log(static_cast<double>(u)));
    return {static_cast<float>(radius * std::sin(static_cast<double>(angle))),
            static_cast<float>(radius * std::cos(static_cast<double>(angle)))};
}

} // namespace repaint
