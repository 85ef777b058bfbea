#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

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
    explicit torch_cpu_generator(std::uint64_t seed);

    /// The state as it is now.
    [[nodiscard]] state save() const { return state_; }

    /// Continues from a saved state. Throws std::invalid_argument when its position is not 0..624.
    void restore(const state& saved);

    /// The next 32 bits of the Mersenne Twister (Matsumoto and Nishimura 1998).
    std::uint32_t random32();

    /// Two words, the first one on top.
    std::uint64_t random64();

    /// torch.randint(low, high): an integer in [low, high). Ranges from 2^28 on take two words, as PyTorch does since
    /// 2.7; earlier versions did from 2^32 on. Throws std::invalid_argument when the range is empty.
    std::int64_t randint(std::int64_t low, std::int64_t high);

    /// torch.rand: numbers in [low, high), one word each.
    void uniform(std::span<float> out, float low = 0.0F, float high = 1.0F);

    /// torch.randn. Sixteen numbers or more are made in blocks, fewer one by one from pairs of which the second may be
    /// kept for the next such call; a draw of 16 therefore does not begin with the numbers of a draw of 15.
    void normal(std::span<float> out);

private:
    static constexpr std::size_t count = 624;
    static constexpr std::size_t block = 16;

    void twist();

    float uniform24() { return static_cast<float>(random32() & 0xFFFFFFU) * 0x1p-24F; }

    double uniform53();

    /// Sixteen uniforms become sixteen normals: the first half gives the radii, the second the angles. In float32, as
    /// there.
    static void normals_in_place(std::span<float> values);

    /// One normal in float64. The angle is drawn first here, the radius second.
    double normal_of_pair();

    state state_;
};

} // namespace repaint

#ifndef REPAINT_COMPILED
#include <repaint/diffusion/torch_generator.ipp>
#endif
