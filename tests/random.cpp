#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <fstream>
#include <limits>
#include <numbers>
#include <random>
#include <sstream>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <repaint/diffusion/noise.hpp>
#include <repaint/diffusion/philox.hpp>
#include <repaint/diffusion/torch_generator.hpp>

#include "support/catch.hpp"

namespace {

using repaint::philox4x32;
using repaint::torch_cpu_generator;
using words = std::array<std::uint32_t, 4>;

static_assert(philox4x32(words{}, 0) == words{0x6627e8d5U, 0xe169c58dU, 0xbc57ac4cU, 0x9b00dbd8U});

std::vector<float> draw(std::uint64_t seed, std::uint64_t number, std::size_t size, std::uint64_t first = 0) {
    std::vector<float> values(size);
    repaint::philox_normal(seed, number, values, first);
    return values;
}

std::vector<float> randn(torch_cpu_generator& generator, std::size_t size) {
    std::vector<float> values(size);
    generator.normal(values);
    return values;
}

double correlation(const std::vector<float>& a, const std::vector<float>& b, std::size_t lag = 0) {
    const std::size_t n = std::min(a.size(), b.size()) - lag;
    double sum = 0.0;
    for (std::size_t i = 0; i < n; ++i) {
        sum += static_cast<double>(a[i]) * static_cast<double>(b[i + lag]);
    }
    return sum / static_cast<double>(n);
}

/// Moments and the Kolmogorov-Smirnov distance of what should be standard normals. All limits are five standard errors,
/// so they fail for a wrong distribution and not for an unlucky seed.
void check_normal(std::vector<float> values) {
    const auto n = static_cast<double>(values.size());
    double moment[5] = {};
    for (const float value : values) {
        const auto z = static_cast<double>(value);
        moment[1] += z / n;
        moment[2] += z * z / n;
        moment[3] += z * z * z / n;
        moment[4] += z * z * z * z / n;
    }
    const double standard_error = 5.0 / std::sqrt(n);
    CHECK(std::abs(moment[1]) < standard_error);
    CHECK(std::abs(moment[2] - 1.0) < standard_error * std::sqrt(2.0));
    CHECK(std::abs(moment[3]) < standard_error * std::sqrt(15.0));
    CHECK(std::abs(moment[4] - 3.0) < standard_error * std::sqrt(96.0));
    std::sort(values.begin(), values.end());
    double distance = 0.0;
    for (std::size_t i = 0; i < values.size(); ++i) {
        const double expected = 0.5 * std::erfc(-static_cast<double>(values[i]) / std::numbers::sqrt2);
        distance = std::max({distance, std::abs(static_cast<double>(i) / n - expected),
                             std::abs(static_cast<double>(i + 1) / n - expected)});
    }
    // P(distance * sqrt(n) > 2.2) is 1.3e-4.
    CHECK(distance * std::sqrt(n) < 2.2);
    // The largest of a million normals lies in here but for one case in a thousand.
    CHECK(values.back() > 4.2F);
    CHECK(values.back() < 6.2F);
    CHECK(values.front() < -4.2F);
    CHECK(values.front() > -6.2F);
}

} // namespace

TEST_CASE("Philox4x32-10 gives the known answers of its authors") {
    CHECK(philox4x32({0, 0, 0, 0}, 0) == words{0x6627e8d5U, 0xe169c58dU, 0xbc57ac4cU, 0x9b00dbd8U});
    CHECK(philox4x32({0xffffffffU, 0xffffffffU, 0xffffffffU, 0xffffffffU}, 0xffffffffffffffffU) ==
          words{0x408f276dU, 0x41c83b0eU, 0xa20bc7c6U, 0x6d5451fdU});
    CHECK(philox4x32({0x243f6a88U, 0x85a308d3U, 0x13198a2eU, 0x03707344U}, 0x299f31d0a4093822U) ==
          words{0xd16cfe09U, 0x94fdccebU, 0x5001e420U, 0x24126ea1U});
}

TEST_CASE("Philox normals have the documented values") {
    // Computed in float64 by another program; float32 arithmetic keeps 1e-6 of them.
    const double expected[] = {1.065150881,  -0.817524720, -0.658450372, 1.132865741,
                               -0.328625670, 0.327657878,  0.493254515,  0.954014825};
    const auto values = draw(42, 7, 8);
    for (std::size_t i = 0; i < 8; ++i) {
        CHECK(std::abs(static_cast<double>(values[i]) - expected[i]) < 1e-6);
    }
    // Every word of the counter and the key counts.
    const double far[] = {-0.347431142, 0.990797429, -0.219309562, 0.055156276};
    for (std::uint64_t i = 0; i < 4; ++i) {
        const float value = repaint::philox_normal_at((1ULL << 63U) + 5, (1ULL << 40U) + 3, (1ULL << 36U) + i);
        CHECK(std::abs(static_cast<double>(value) - far[i]) < 1e-6);
    }
}

TEST_CASE("Philox normals are the same however they are asked for") {
    const auto all = draw(3, 11, 1500);
    for (std::size_t i = 0; i < all.size(); ++i) {
        REQUIRE(repaint::philox_normal_at(3, 11, i) == all[i]);
    }
    // Any size is a prefix, any piece a piece.
    for (const std::size_t size : {0U, 1U, 2U, 3U, 4U, 5U, 255U, 256U, 257U, 1023U}) {
        CAPTURE(size);
        CHECK(draw(3, 11, size) == std::vector<float>(all.begin(), all.begin() + static_cast<std::ptrdiff_t>(size)));
        for (const std::size_t first : {1U, 2U, 3U, 4U, 6U, 254U, 255U, 400U}) {
            const auto begin = all.begin() + static_cast<std::ptrdiff_t>(first);
            CHECK(draw(3, 11, size, first) == std::vector<float>(begin, begin + static_cast<std::ptrdiff_t>(size)));
        }
    }
    // Across the carry into the second word of the counter.
    const std::uint64_t carry = (1ULL << 34U) - 6;
    const auto across = draw(3, 11, 12, carry);
    for (std::size_t i = 0; i < across.size(); ++i) {
        CHECK(across[i] == repaint::philox_normal_at(3, 11, carry + i));
    }
}

TEST_CASE("Box-Muller is exact to float32 for every angle and radius") {
    const auto error = [](std::uint32_t a, std::uint32_t b) {
        float first = 0.0F;
        float second = 0.0F;
        repaint::detail::normal_pair(a, b, first, second);
        const auto u = static_cast<double>(static_cast<float>(a) * 0x1p-32F + 0x1p-33F);
        const double radius = std::sqrt(-2.0 * std::log(u));
        const double angle = 2.0 * std::numbers::pi * (static_cast<double>(b) + 0.5) * 0x1p-32;
        const double cosine = std::abs(static_cast<double>(first) - radius * std::cos(angle));
        const double sine = std::abs(static_cast<double>(second) - radius * std::sin(angle));
        return std::max(cosine, sine) / std::max(radius, 1e-30);
    };
    const std::uint32_t edges[] = {0U,          1U,          2U,          0x1fffffffU, 0x20000000U, 0x20000001U,
                                   0x3fffffffU, 0x40000000U, 0x5fffffffU, 0x60000000U, 0x7fffffffU, 0x80000000U,
                                   0x9fffffffU, 0xa0000000U, 0xbfffffffU, 0xc0000000U, 0xdfffffffU, 0xe0000000U,
                                   0xb504f333U, 0x5a827999U, 0xfffffe00U, 0xfffffeffU, 0xffffff00U, 0xffffff7fU};
    double largest = 0.0;
    for (const std::uint32_t a : edges) {
        for (const std::uint32_t b : edges) {
            largest = std::max(largest, error(a, b));
        }
    }
    std::mt19937 random(1);
    for (int i = 0; i < 200000; ++i) {
        const auto a = static_cast<std::uint32_t>(random());
        largest = std::max(largest, error(a, static_cast<std::uint32_t>(random())));
    }
    // Three units of float32's 2^-24: one for the radius, one for the angle, one for their product.
    CHECK(largest < 3.0 * 0x1p-24);

    // The extremes of the radius: u = 2^-33 and u = 1.
    float first = 0.0F;
    float second = 0.0F;
    repaint::detail::normal_pair(0U, 0U, first, second);
    CHECK(first == approx(std::sqrt(66.0 * std::numbers::ln2)));
    repaint::detail::normal_pair(0xffffffffU, 0U, first, second);
    CHECK(std::abs(first) == 0.0F);
    CHECK(std::abs(second) == 0.0F);
}

TEST_CASE("Philox normals are standard normals, independent of their neighbours") {
    const std::size_t n = 1'000'000;
    const auto values = draw(0, 0, n);
    check_normal(values);
    // Five standard errors of a correlation of zero.
    const double limit = 5.0 / std::sqrt(static_cast<double>(n - 4));
    for (std::size_t lag = 1; lag <= 4; ++lag) {
        CHECK(std::abs(correlation(values, values, lag)) < limit);
    }
    for (const auto& [seed, number] :
         {std::pair<std::uint64_t, std::uint64_t>{1, 0}, {0, 1}, {1, 1}, {2, 0}, {1ULL << 32U, 0}, {0, 1ULL << 32U}}) {
        CAPTURE(seed, number);
        const auto other = draw(seed, number, n);
        CHECK(std::abs(correlation(values, other)) < limit);
        CHECK(std::abs(correlation(values, other, 1)) < limit);
    }
    // Both halves of a pair share the radius: their squares must be uncorrelated all the same.
    double sum = 0.0;
    for (std::size_t i = 0; i < n; i += 2) {
        const auto a = static_cast<double>(values[i]);
        const auto b = static_cast<double>(values[i + 1]);
        sum += (a * a - 1.0) * (b * b - 1.0);
    }
    CHECK(std::abs(sum / (0.5 * static_cast<double>(n))) < 5.0 * 2.0 / std::sqrt(0.5 * static_cast<double>(n)));
}

TEST_CASE("the torch generator is the Mersenne Twister, seeded by the low 32 bits") {
    for (const std::uint64_t seed : {0ULL, 5489ULL, 0xffffffffULL, (7ULL << 32U) + 9}) {
        torch_cpu_generator generator(seed);
        std::mt19937 expected(static_cast<std::uint32_t>(seed));
        for (int i = 0; i < 2000; ++i) {
            REQUIRE(generator.random32() == static_cast<std::uint32_t>(expected()));
        }
    }
    torch_cpu_generator generator(5489);
    std::uint32_t last = 0;
    for (int i = 0; i < 10000; ++i) {
        last = generator.random32();
    }
    CHECK(last == 4123659995U);

    torch_cpu_generator words32(1);
    torch_cpu_generator words64(1);
    const std::uint64_t high = words32.random32();
    CHECK(words64.random64() == ((high << 32U) | words32.random32()));
}

TEST_CASE("torch.randn has its published first numbers") {
    const auto check = [](std::uint64_t seed, const std::vector<double>& expected) {
        torch_cpu_generator generator(seed);
        const auto values = randn(generator, expected.size());
        for (std::size_t i = 0; i < expected.size(); ++i) {
            CAPTURE(seed, expected.size(), i);
            // Written with four decimals.
            CHECK(std::abs(static_cast<double>(values[i]) - expected[i]) < 5.1e-5);
        }
    };
    check(42, {.3367, .1288, .2345, .2303});
    check(0, {1.5410, -.2934, -2.1788, .5684});
    check(0, {-1.1258, -1.1524, -.2506, -.4339, .8487, .6920, -.3160, -2.1152, .3223, -1.2633, .3500, .3081, .1198,
              1.2377, 1.1168, -.2473});
    check(42, {1.9269, 1.4873, .9007, -2.1055, .6784, -1.2345, -.0431, -1.6047, -.7521, 1.6487, -.3925, -1.4036, -.7279,
               -.5594, -.7688, .7624});
    // Eight more than a block: the last sixteen are drawn anew.
    check(42, {1.9269,  1.4873, .9007,   -2.1055, .6784,  -1.2345, -.0431, -1.6047, .3559,  -.6866, -.4934, .2415,
               -1.1109, .0915,  -2.3169, -.2168,  -.3097, -.3957,  .8034,  -.6216,  -.5920, -.0631, -.8286, .3309});
}

TEST_CASE("the torch generator replays recorded calls of PyTorch") {
    std::ifstream file(REPAINT_TEST_DATA "/randn.txt");
    torch_cpu_generator generator(0);
    int calls = 0;
    double largest = 0.0;
    int number = 0;
    for (std::string line; std::getline(file, line);) {
        ++number;
        CAPTURE(number);
        std::istringstream in(line);
        std::string call;
        in >> call;
        if (call == "#") {
            continue;
        }
        ++calls;
        if (call == "seed") {
            std::uint64_t seed = 0;
            in >> seed;
            generator = torch_cpu_generator(seed);
        } else if (call == "randn" || call == "rand") {
            std::size_t size = 0;
            in >> size;
            std::vector<float> values(size);
            call == "rand" ? generator.uniform(values) : generator.normal(values);
            for (const float value : values) {
                std::string text;
                in >> text;
                const double expected = std::stod(text);
                if (call == "rand") {
                    REQUIRE(value == std::stof(text));
                } else {
                    // PyTorch's float32 logarithm, sine and cosine differ from the C library's in the last bits, and a
                    // radius goes up to 5.8: 1e-6 is two units in the last place there.
                    largest = std::max(largest, std::abs(static_cast<double>(value) - expected));
                    REQUIRE(std::abs(static_cast<double>(value) - expected) < 1e-6);
                }
            }
        } else {
            REQUIRE(call == "randint");
            std::int64_t low = 0;
            std::int64_t high = 0;
            int size = 0;
            in >> low >> high >> size;
            for (int i = 0; i < size; ++i) {
                std::int64_t expected = 0;
                in >> expected;
                REQUIRE(generator.randint(low, high) == expected);
            }
        }
        REQUIRE(!in.fail());
    }
    CHECK(calls > 200);
    INFO("largest difference " << largest);
    CHECK(largest > 0.0);
}

TEST_CASE("a torch generator continues from a saved state") {
    torch_cpu_generator generator(9);
    CHECK(generator.save().position == 624);
    // Three numbers leave a second of a pair behind; a block draw in between must leave it alone.
    static_cast<void>(randn(generator, 3));
    const torch_cpu_generator::state saved = generator.save();
    CHECK(saved.has_cached);
    CHECK(saved.position == 8);
    const auto draws = [](torch_cpu_generator& g) {
        std::vector<float> all = randn(g, 700);
        for (const std::size_t size : {1U, 5U, 16U, 2U}) {
            const auto more = randn(g, size);
            all.insert(all.end(), more.begin(), more.end());
        }
        return all;
    };
    const auto expected = draws(generator);
    CHECK(generator.save() != saved);

    torch_cpu_generator other(123);
    static_cast<void>(randn(other, 1));
    other.restore(saved);
    CHECK(other.save() == saved);
    CHECK(draws(other) == expected);
    CHECK(other.save() == generator.save());

    torch_cpu_generator::state broken = saved;
    for (const int position : {-1, 625, 1 << 30}) {
        broken.position = position;
        CHECK_THROWS_AS(other.restore(broken), std::invalid_argument);
        CHECK_THROWS_WITH(other.restore(broken), contains("must be 0 to 624, got " + std::to_string(position)));
    }
}

TEST_CASE("torch draws of nothing, of bounds and of empty ranges") {
    torch_cpu_generator generator(4);
    const auto before = generator.save();
    generator.normal({});
    generator.uniform({});
    CHECK(generator.save() == before);
    CHECK_THROWS_WITH(generator.randint(3, 3), contains("low must be below high, got 3 and 3"));
    CHECK_THROWS_AS(generator.randint(3, -3), std::invalid_argument);
    CHECK(generator.save() == before);

    std::vector<float> values(10000);
    generator.uniform(values, -2.0F, 3.0F);
    CHECK(*std::min_element(values.begin(), values.end()) >= -2.0F);
    CHECK(*std::max_element(values.begin(), values.end()) <= 3.0F);
    for (int i = 0; i < 1000; ++i) {
        const auto value = generator.randint(-3, 4);
        REQUIRE((value >= -3 && value < 4));
    }
    // The widest range there is must not overflow.
    static_cast<void>(
        generator.randint(std::numeric_limits<std::int64_t>::min(), std::numeric_limits<std::int64_t>::max()));
    CHECK(generator.randint(41, 42) == 41);
}

TEST_CASE("torch normals are standard normals") {
    torch_cpu_generator generator(17);
    check_normal(randn(generator, 1'000'000));
}

TEST_CASE("Philox labels have the documented values and take no draw") {
    // Word 0 of counter (0, 0, 2^32 - 1, 2^32 - 1) modulo the classes, computed by another program.
    repaint::philox_noise noise(7);
    const std::vector<int> expected{889, 246, 365, 332, 289, 429};
    CHECK(noise.labels(6, 1000) == expected);
    CHECK(noise.labels(6, 10) == std::vector{9, 6, 5, 2, 9, 9});
    CHECK(noise.labels(3, 1) == std::vector{0, 0, 0});
    CHECK(noise.labels(0, 10).empty());
    CHECK(noise.state() == 0);
    // Image i has the label that it has alone, wherever in the run it is asked for.
    for (std::size_t i = 0; i < expected.size(); ++i) {
        CHECK(repaint::philox_noise(7 + i).labels(1, 1000) == std::vector{expected[i]});
    }
    noise.restore(100);
    CHECK(noise.labels(6, 1000) == expected);
    // Of each seed, where they are given one by one; there must be enough of them.
    repaint::philox_noise listed(std::vector<std::uint64_t>{3, 12, (1ULL << 40U) + 1});
    CHECK(listed.labels(3, 1000) == std::vector{745, 429, 756});
    CHECK_THROWS_WITH(listed.labels(4, 1000), contains("3 seeds for 4 images"));

    // Every class is as likely: 64000 labels, 1000 expected of each, five standard deviations.
    std::vector<int> counts(64);
    for (const int label : repaint::philox_noise(0).labels(64000, 64)) {
        ++counts.at(static_cast<std::size_t>(label));
    }
    CHECK(*std::min_element(counts.begin(), counts.end()) > 1000 - 5 * 32);
    CHECK(*std::max_element(counts.begin(), counts.end()) < 1000 + 5 * 32);
}

TEST_CASE("torch labels are torch.randint, drawn before the noise") {
    // torch.manual_seed(seed); torch.randint(0, classes, (n,)); torch.randn(1, 3, 4, 4) in PyTorch 2.9.1.
    struct expectation {
        std::uint64_t seed;
        int classes;
        std::vector<int> labels;
        std::vector<double> normals;
    };
    const std::vector<expectation> expected{{0, 1000, {44, 239, 933, 760}, {0.848710358, 0.692009151, -0.31601277}},
                                            {42, 1000, {542, 67, 876, 414}, {0.678418458, -1.23454487, -0.0430674776}},
                                            {301, 1000, {581, 560, 879, 748}, {0.652460694, 0.324452966, 1.35887694}},
                                            {5, 10, {1, 4, 7, 5, 6, 0}, {-0.130717501, -1.43741381}}};
    for (const auto& e : expected) {
        CAPTURE(e.seed);
        repaint::torch_cpu_noise noise(e.seed);
        CHECK(noise.labels(static_cast<int>(e.labels.size()), e.classes) == e.labels);
        torch_cpu_generator behind(0);
        behind.restore(noise.state());
        const auto values = randn(behind, 48);
        for (std::size_t i = 0; i < e.normals.size(); ++i) {
            CHECK(std::abs(static_cast<double>(values[i]) - e.normals[i]) < 1e-6);
        }
    }
    repaint::torch_cpu_noise untouched(9);
    CHECK(untouched.labels(0, 1000).empty());
    CHECK(untouched.state() == torch_cpu_generator(9).save());
}
