#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <vector>

#include <repaint/backend/dry.hpp>
#include <repaint/diffusion/noise.hpp>
#include <repaint/diffusion/torch_cuda_generator.hpp>

#include "support/catch.hpp"

namespace {

using repaint::torch_cuda_device;
using repaint::torch_cuda_device_named;
using repaint::torch_cuda_generator;

static_assert(repaint::noise_source<repaint::torch_cuda_noise, repaint::dry_backend>);

/// 512 threads at once.
constexpr torch_cuda_device small = {2, 256};

std::vector<float> randn(torch_cuda_generator& generator, std::size_t size) {
    std::vector<float> values(size);
    generator.normal(values);
    return values;
}

torch_cuda_device named(const char* name) { return torch_cuda_device_named(name).value(); }

/// What thread `thread` makes of its words number 4 * round ... of `offset`, by the definition and in double.
std::vector<double> normals_of(std::uint64_t seed, std::uint64_t offset, std::uint32_t thread) {
    const std::uint64_t counter = offset / 4;
    const auto w = repaint::philox4x32(
        {static_cast<std::uint32_t>(counter), static_cast<std::uint32_t>(counter >> 32U), thread, 0}, seed);
    std::vector<double> result;
    for (const std::size_t i : {0U, 2U}) {
        const double u = static_cast<double>(w[i]) * 0x1p-32 + 0x1p-33;
        const double angle = (static_cast<double>(w[i + 1]) + 0.5) * 0x1p-32 * 6.283185307179586;
        const double radius = std::sqrt(-2.0 * std::log(u));
        result.push_back(radius * std::sin(angle));
        result.push_back(radius * std::cos(angle));
    }
    return result;
}

} // namespace

TEST_CASE("torch.randn on a GPU has its published first numbers") {
    torch_cuda_generator generator(0, named("A100"));
    const std::vector<double> expected{-.92466259, -.42534415, -2.6438457,  .14518388,  -.12086647,  -.57972564,
                                       -.62285122, -.32838709, -1.07454231, -.36314407, -1.67105067, 2.26550497};
    const auto values = randn(generator, expected.size());
    for (std::size_t i = 0; i < expected.size(); ++i) {
        CAPTURE(i);
        // The angle alone is rounded to 2.4e-7 times the radius.
        CHECK(std::abs(static_cast<double>(values[i]) - expected[i]) < 1e-6);
    }
}

TEST_CASE("every thread of a GPU has a stream, and its numbers lie a grid apart") {
    const std::uint64_t seed = (std::uint64_t{9} << 40U) + 5;
    for (const std::size_t size : {1U, 255U, 256U, 257U, 512U, 513U, 2048U, 2049U, 5000U}) {
        CAPTURE(size);
        torch_cuda_generator generator(seed, small);
        generator.restore({seed, (std::uint64_t{1} << 34U) - 4}); // the counter's first word is full
        const std::uint64_t offset = generator.save().offset;
        const auto values = randn(generator, size);
        const std::size_t threads = size <= 256 ? 256 : 512;
        std::size_t rounds = 0;
        for (std::size_t e = 0; e < size; ++e) {
            const std::size_t round = e / (4 * threads);
            const auto expected = normals_of(seed, offset + 4 * round, static_cast<std::uint32_t>(e % threads));
            CAPTURE(e);
            REQUIRE(std::abs(static_cast<double>(values[e]) - expected[e / threads % 4]) < 2e-6);
            rounds = round + 1;
        }
        CHECK(generator.save() == torch_cuda_generator::state{seed, offset + 4 * rounds});
    }
}

TEST_CASE("large draws differ between GPUs of different size, from where the smaller is full") {
    const auto first_difference = [](const char* a, const char* b, std::size_t size) {
        torch_cuda_generator first(1, named(a));
        torch_cuda_generator second(1, named(b));
        const auto x = randn(first, size);
        const auto y = randn(second, size);
        return static_cast<std::size_t>(std::mismatch(x.begin(), x.end(), y.begin()).first - x.begin());
    };
    const std::size_t picture = 3 * 256 * 256;
    CHECK(first_difference("V100", "A100", picture) == 163840);
    CHECK(first_difference("T4", "A100", picture) == 40960);
    CHECK(first_difference("RTX 3090", "A100", picture) == 125952);
    CHECK(first_difference("A100", "H200", picture) == picture);
    CHECK(first_difference("A100", "RTX 4090", picture) == picture);
    CHECK(first_difference("A100", "H100", 250000) == 221184);
    CHECK(named("H100") == named("H200"));
    CHECK_FALSE(torch_cuda_device_named("a100").has_value());
    CHECK_FALSE(torch_cuda_device_named("").has_value());

    // A batch begins with the picture that is drawn alone, where that leaves threads idle.
    torch_cuda_generator one(1, named("A100"));
    torch_cuda_generator four(1, named("A100"));
    const auto alone = randn(one, picture);
    const auto batch = randn(four, 4 * picture);
    CHECK(std::equal(alone.begin(), alone.end(), batch.begin()));
    CHECK(one.save().offset == 4);
    CHECK(four.save().offset == 4);
}

TEST_CASE("torch.randint on a GPU takes words where randn takes normals") {
    torch_cuda_generator generator(7, small);
    std::vector<std::int64_t> values(1100);
    generator.randint(-5, 1000 - 5, values);
    for (std::size_t e = 0; e < values.size(); ++e) {
        const auto w = repaint::philox4x32({0, 0, static_cast<std::uint32_t>(e % 512), 0}, 7);
        REQUIRE(values[e] == static_cast<std::int64_t>(w[e / 512] % 1000) - 5);
    }
    CHECK(generator.save().offset == 4);
    CHECK_THROWS_WITH(generator.randint(3, 3, values), contains("got 3 and 3"));
    CHECK_THROWS_AS(generator.randint(0, std::int64_t{1} << 28U, values), std::invalid_argument);
    CHECK(generator.save().offset == 4);
}

TEST_CASE("labels of a GPU's noise come before the noise, and a state continues it") {
    repaint::torch_cuda_noise noise(3, named("A100"));
    const std::vector<int> labels = noise.labels(5, 1000);
    REQUIRE(labels.size() == 5);
    for (std::size_t i = 0; i < labels.size(); ++i) {
        const auto w = repaint::philox4x32({0, 0, static_cast<std::uint32_t>(i), 0}, 3);
        CHECK(labels[i] == static_cast<int>(w[0] % 1000U));
    }
    const auto saved = noise.state();
    CHECK(saved == torch_cuda_generator::state{3, 4});
    CHECK(noise.labels(0, 10).empty());
    CHECK(noise.state() == saved);

    torch_cuda_generator first(0, small);
    first.restore(saved);
    const auto values = randn(first, 700);
    torch_cuda_generator second(12, small);
    second.restore(saved);
    CHECK(randn(second, 700) == values);
    CHECK(first.save() == second.save());
}

TEST_CASE("a GPU that cannot be, and draws that PyTorch would cut") {
    CHECK_THROWS_WITH(torch_cuda_generator(0, {0, 2048}), contains("got 0 and 2048"));
    CHECK_THROWS_WITH(torch_cuda_generator(0, {80, 255}), contains("got 80 and 255"));
    torch_cuda_generator generator(4, small);
    CHECK_THROWS_WITH(generator.restore({4, 6}), contains("multiple of 4, got 6"));
    generator.normal({});
    CHECK(generator.save() == torch_cuda_generator::state{4, 0});
}
