#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>

#include <repaint/core/text.hpp>
#include <repaint/diffusion/philox.hpp>

namespace repaint {

/// What PyTorch's random numbers depend on besides the seed: how many threads a GPU holds.
struct torch_cuda_device {
    int multiprocessors = 0;
    int threads_per_multiprocessor = 0;

    friend bool operator==(const torch_cuda_device&, const torch_cuda_device&) = default;
};

/// A GPU by name.
struct named_torch_cuda_device {
    std::string_view name;
    torch_cuda_device device;
};

/// The GPUs whose names are known; "H100" is the SXM module.
inline constexpr std::array<named_torch_cuda_device, 7> torch_cuda_devices{{{"A100", {108, 2048}},
                                                                            {"H100", {132, 2048}},
                                                                            {"H200", {132, 2048}},
                                                                            {"RTX 3090", {82, 1536}},
                                                                            {"RTX 4090", {128, 1536}},
                                                                            {"T4", {40, 1024}},
                                                                            {"V100", {80, 2048}}}};

/// The one of torch_cuda_devices with that name. Empty for any other.
std::optional<torch_cuda_device> torch_cuda_device_named(std::string_view name);

/// PyTorch's random numbers on a GPU: after the same calls in the same order, the numbers torch.randn and torch.randint
/// return on that device after torch.manual_seed(seed), for contiguous tensors. Integers are equal bit for bit; normals
/// agree to about 1e-6, since the GPU's logarithm, sine and cosine differ in the last bits. Every thread of a launch has
/// a Philox4x32-10 stream of its own, so draws larger than the number of resident threads differ from GPU to GPU.
class torch_cuda_generator {
public:
    /// All there is to a generator: with it a stopped run continues where it was. offset counts the 32-bit words that
    /// each thread has taken, four at a time.
    struct state {
        std::uint64_t seed = 0;
        std::uint64_t offset = 0;

        friend bool operator==(const state&, const state&) = default;
    };

    /// torch.manual_seed; all 64 bits of the seed count. Throws std::invalid_argument for a device without room for one
    /// block of 256 threads.
    torch_cuda_generator(std::uint64_t seed, const torch_cuda_device& device);

    /// The state as it is now.
    [[nodiscard]] state save() const { return state_; }

    /// Continues from a saved state. Throws std::invalid_argument when its offset is not a multiple of 4.
    void restore(const state& saved);

    /// torch.randn in float32. Throws std::invalid_argument for 2^29 numbers or more, which PyTorch draws in pieces.
    void normal(std::span<float> out);

    /// torch.randint(low, high), int64. Throws std::invalid_argument when the range is empty or has 2^28 integers or
    /// more, for which versions of PyTorch differ.
    void randint(std::int64_t low, std::int64_t high, std::span<std::int64_t> out);

private:
    static constexpr std::size_t block = 256; ///< threads

    /// The numbers of one thread go to elements that lie as far apart as there are threads.
    template <class T>
    static void scatter(const std::array<T, 4>& numbers, std::size_t first, std::size_t step, std::span<T> out) {
        for (std::size_t i = 0; i < numbers.size() && first + i * step < out.size(); ++i) {
            out[first + i * step] = numbers[i];
        }
    }

    /// The launch of a draw of `size` elements: f(words, first element, threads) for every four words of every thread
    /// that has an element left.
    template <class F> void for_each_four_words(std::size_t size, F&& f) {
        if (size == 0) {
            return;
        }
        if (size >= (std::size_t{1} << 29U)) {
            throw std::invalid_argument(
                joined_text({"torch_cuda_generator: draws have fewer than 2^29 numbers, got ", size}));
        }
        const auto resident = static_cast<std::size_t>(device_.multiprocessors) *
                              (static_cast<std::size_t>(device_.threads_per_multiprocessor) / block);
        const std::size_t threads = block * std::min(resident, (size + block - 1) / block);
        const std::size_t rounds = (size - 1) / (4 * threads) + 1;
        for (std::size_t round = 0; round < rounds; ++round) {
            const std::uint64_t counter = state_.offset / 4 + round;
            for (std::size_t thread = 0; thread < threads && 4 * threads * round + thread < size; ++thread) {
                f(detail::philox_rounds({static_cast<std::uint32_t>(counter),
                                         static_cast<std::uint32_t>(counter >> 32U), static_cast<std::uint32_t>(thread),
                                         0},
                                        state_.seed),
                  4 * threads * round + thread, threads);
            }
        }
        state_.offset += 4 * rounds;
    }

    /// Two normals of two words (Box and Muller 1958); the sine comes first. The GPU computes in float32: so does this
    /// up to the logarithm, sine and cosine, which are exact to float32 here.
    static std::array<float, 2> pair(std::uint32_t a, std::uint32_t b);

    state state_;
    torch_cuda_device device_;
};

} // namespace repaint

#ifndef REPAINT_COMPILED
#include <repaint/diffusion/torch_cuda_generator.ipp>
#endif
