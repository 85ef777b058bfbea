#pragma once

#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <numbers>
#include <span>
#include <stdexcept>
#include <string>

namespace repaint {

/// PyTorch's random numbers on the CPU: after the same calls in the same order, the numbers torch.randn, torch.rand and
/// torch.randint return after torch.manual_seed(seed), for contiguous float32 tensors. Words, integers and uniforms of
/// [0, 1) are equal bit for bit; normals agree to about 1e-6, since PyTorch's own builds differ in the last bits.
class torch_cpu_generator {
public:
    /// All there is to a generator: with it a stopped run continues where it was.
    struct state {
        /// The Mersenne Twister's words.
        std::array<std::uint32_t, 624> words{};
        /// The next word to hand out; 624 when new ones have to be made first.
        int position = 624;
        /// The second number of a pair of normals, kept for the next small draw.
        bool has_cached = false;
        double cached = 0.0;

        friend bool operator==(const state&, const state&) = default;
    };

    /// torch.manual_seed. As in PyTorch only the low 32 bits of the seed count.
    explicit torch_cpu_generator(std::uint64_t seed) {
        state_.words[0] = static_cast<std::uint32_t>(seed);
        for (std::uint32_t i = 1; i < count; ++i) {
            const std::uint32_t last = state_.words[i - 1];
            state_.words[i] = 1812433253U * (last ^ (last >> 30U)) + i;
        }
    }

    /// The state as it is now.
    [[nodiscard]] state save() const { return state_; }

    /// Continues from a saved state. Throws std::invalid_argument when its position is not 0..624.
    void restore(const state& saved) {
        if (saved.position < 0 || saved.position > static_cast<int>(count)) {
            throw std::invalid_argument("torch_cpu_generator: the position of a state must be 0 to 624, got " +
                                        std::to_string(saved.position));
        }
        state_ = saved;
    }

    /// The next 32 bits of the Mersenne Twister (Matsumoto and Nishimura 1998).
    std::uint32_t random32() {
        if (state_.position == static_cast<int>(count)) {
            twist();
        }
        std::uint32_t y = state_.words[static_cast<std::size_t>(state_.position++)];
        y ^= y >> 11U;
        y ^= (y << 7U) & 0x9D2C5680U;
        y ^= (y << 15U) & 0xEFC60000U;
        return y ^ (y >> 18U);
    }

    /// Two words, the first one on top.
    std::uint64_t random64() {
        const std::uint64_t high = random32();
        return (high << 32U) | random32();
    }

    /// torch.randint(low, high): an integer in [low, high). Ranges from 2^28 on take two words, as PyTorch does since
    /// 2.7; earlier versions did from 2^32 on. Throws std::invalid_argument when the range is empty.
    std::int64_t randint(std::int64_t low, std::int64_t high) {
        if (low >= high) {
            throw std::invalid_argument("randint: low must be below high, got " + std::to_string(low) + " and " +
                                        std::to_string(high));
        }
        const std::uint64_t range = static_cast<std::uint64_t>(high) - static_cast<std::uint64_t>(low);
        const std::uint64_t word = range >= (std::uint64_t{1} << 28U) ? random64() : random32();
        return static_cast<std::int64_t>(word % range + static_cast<std::uint64_t>(low));
    }

    /// torch.rand: numbers in [low, high), one word each.
    void uniform(std::span<float> out, float low = 0.0F, float high = 1.0F) {
        for (float& value : out) {
            value = uniform24() * (high - low) + low;
        }
    }

    /// torch.randn. Sixteen numbers or more are made in blocks, fewer one by one from pairs of which the second may be
    /// kept for the next such call; a draw of 16 therefore does not begin with the numbers of a draw of 15.
    void normal(std::span<float> out) {
        if (out.size() < block) {
            for (float& value : out) {
                value = static_cast<float>(normal_of_pair());
            }
            return;
        }
        uniform(out);
        for (std::size_t i = 0; i + block <= out.size(); i += block) {
            normals_in_place(out.subspan(i, block));
        }
        if (out.size() % block != 0) {
            // The last sixteen are drawn anew, over what the loop above left half done.
            const std::span<float> tail = out.last(block);
            uniform(tail);
            normals_in_place(tail);
        }
    }

private:
    static constexpr std::size_t count = 624;
    static constexpr std::size_t block = 16;

    void twist() {
        constexpr std::size_t lag = 397;
        auto& w = state_.words;
        for (std::size_t i = 0; i < count; ++i) {
            const std::uint32_t y = (w[i] & 0x80000000U) | (w[(i + 1) % count] & 0x7FFFFFFFU);
            w[i] = w[(i + lag) % count] ^ (y >> 1U) ^ ((y & 1U) != 0U ? 0x9908B0DFU : 0U);
        }
        state_.position = 0;
    }

    float uniform24() { return static_cast<float>(random32() & 0xFFFFFFU) * 0x1p-24F; }

    double uniform53() { return static_cast<double>(random64() & 0x1FFFFFFFFFFFFFU) * 0x1p-53; }

    /// Sixteen uniforms become sixteen normals: the first half gives the radii, the second the angles. In float32, as
    /// there.
    static void normals_in_place(std::span<float> values) {
        constexpr std::size_t half = block / 2;
        for (std::size_t i = 0; i < half; ++i) {
            const float radius = std::sqrt(-2.0F * std::log(1.0F - values[i]));
            const float angle = 2.0F * std::numbers::pi_v<float> * values[i + half];
            values[i] = radius * std::cos(angle);
            values[i + half] = radius * std::sin(angle);
        }
    }

    /// One normal in float64. The angle is drawn first here, the radius second.
    double normal_of_pair() {
        if (state_.has_cached) {
            state_.has_cached = false;
            return state_.cached;
        }
        const double angle = 2.0 * std::numbers::pi * uniform53();
        const double radius = std::sqrt(-2.0 * std::log1p(-uniform53()));
        state_.cached = radius * std::sin(angle);
        state_.has_cached = true;
        return radius * std::cos(angle);
    }

    state state_;
};

} // namespace repaint
