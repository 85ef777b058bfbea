#include "support/cuda_on_host.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <vector>

#include <repaint/backend/cuda/diffusion.cuh>

#include "support/catch.hpp"
#include "support/device_values.hpp"

/// The diffusion kernels of the CUDA backend, on the host, against the functions that the CPU backends call for every
/// element.

namespace {

using namespace repaint::detail::cuda;
using repaint::mixing;
using repaint::posterior;
using repaint::prediction_type;
using repaint::shape4;
using repaint::variance_type;
using floats = device_values<float>;

/// A compiler that fuses products with sums may do so in one place and not in another; elsewhere bits are the same.
bool same(float actual, float expected) {
#if defined(__FP_FAST_FMAF)
    return std::abs(actual - expected) <= 2e-6F * std::max(1.0F, std::abs(expected));
#else
    return actual == expected;
#endif
}

void check_same(const floats& actual, const floats& expected) {
    REQUIRE(actual.size() == expected.size());
    for (std::size_t i = 0; i < actual.size(); ++i) {
        CAPTURE(i);
        REQUIRE(same(actual[i], expected[i]));
    }
    CHECK(actual.guards_hold());
}

floats noise(std::size_t size, std::uint64_t seed, std::size_t offset = 0) {
    return floats(random_values(size, seed), offset);
}

constexpr mixing example_mixing = {0.93F, 0.36F};

posterior example_posterior(prediction_type prediction, variance_type variance) {
    posterior p;
    p.prediction = prediction;
    p.variance = variance;
    p.x0_from_x = 1.02F;
    p.x0_from_prediction = -0.4F;
    p.x0_from_guidance = 0.03F;
    p.mean_from_x0 = 0.3F;
    p.mean_from_x = 0.7F;
    p.mean_from_prediction = 0.01F;
    p.mean_from_guidance = 0.02F;
    p.min_log_variance = -5.3F;
    p.max_log_variance = -4.1F;
    p.noise = 1.0F;
    return p;
}

/// Elements of an image: one and less than a group, whole groups and a part of one, more than a block takes.
const std::vector<std::size_t> sizes = {1, 3, 4, 5, 48, 75, 1024, 1030};
const std::vector<std::uint64_t> seeds = {3, (std::uint64_t{1} << 40U) + 7, 3};

} // namespace

TEST_CASE("CUDA: normal gives the numbers of philox.hpp") {
    const std::uint64_t draw = (std::uint64_t{5} << 32U) + 2;
    for (const std::size_t size : sizes) {
        for (const std::size_t offset : {0U, 1U}) {
            CAPTURE(size, offset);
            floats y(3 * size, offset);
            normal(seeds.data(), draw, 3, size, y.data(), nullptr);
            for (std::size_t i = 0; i < y.size(); ++i) {
                REQUIRE(same(y[i], repaint::philox_normal_at(seeds[i / size], draw, i % size)));
            }
            CHECK(y.guards_hold());
            floats alone(size, offset);
            normal(seeds.data() + 1, draw, 1, size, alone.data(), nullptr);
            CHECK(alone.same_bits(0, y, size, size));
        }
    }
    normal(seeds.data(), draw, 0, 4, nullptr, nullptr);
    normal(seeds.data(), draw, 2, 0, nullptr, nullptr);
}

TEST_CASE("CUDA: a grid smaller than the work goes over it again") {
    const std::size_t size = 1001;
    floats y(3 * size);
    launch("normal", normal_kernel<false>, dim3(2, 2), 32, 0, nullptr, drawn_noise{seeds.data(), 9}, 3, size, y.data());
    for (std::size_t i = 0; i < y.size(); ++i) {
        REQUIRE(same(y[i], repaint::philox_normal_at(seeds[i / size], 9, i % size)));
    }
    CHECK(y.guards_hold());
}

TEST_CASE("CUDA: reverse_step is that of step.hpp for every prediction and variance") {
    const std::size_t size = 75;
    const int images = 2;
    const std::size_t total = images * size;
    for (int prediction = 0; prediction < 4; ++prediction) {
        for (int variance = 0; variance < 6; ++variance) {
            for (int options = 0; options < 8; ++options) {
                CAPTURE(prediction, variance, options);
                posterior p =
                    example_posterior(static_cast<prediction_type>(prediction), static_cast<variance_type>(variance));
                p.clip = (options & 1) != 0;
                p.guidance_by_variance = p.clip;
                const bool guided = (options & 2) != 0;
                const bool shows = (options & 4) != 0;
                const bool learned = is_learned(p.variance);
                const std::size_t predicted = learned ? 2 * size : size;

                floats x = noise(total, 1);
                const floats before = x;
                // A variance that is read as it is must not be negative.
                std::vector<float> predictions = random_values(images * predicted, 2);
                for (float& value : predictions) {
                    value = std::abs(value);
                }
                const floats prediction_values(predictions);
                const floats z = noise(total, 3);
                const floats g = noise(total, 4);
                floats x0(total);
                reverse_step(x.data(), prediction_values.data(), predicted, z.data(), p, shows ? x0.data() : nullptr,
                             guided ? g.data() : nullptr, images, size, nullptr);
                for (std::size_t i = 0; i < total; ++i) {
                    const std::size_t at = i / size * predicted + i % size;
                    const float mean = prediction_values[at];
                    const float v = learned ? prediction_values[at + size] : 0.0F;
                    const float clean = predicted_x0(p, before[i], mean, guided ? g[i] : 0.0F);
                    const float expected = guided
                                               ? repaint::guided_reverse_step(p, before[i], mean, clean, v, z[i], g[i])
                                               : repaint::reverse_step(p, before[i], mean, clean, v, z[i]);
                    CAPTURE(i);
                    REQUIRE(same(x[i], expected));
                    REQUIRE((shows ? same(x0[i], clean) : std::isnan(x0[i])));
                }
                CHECK(x.guards_hold());
                CHECK(x0.guards_hold());
            }
        }
    }
}

TEST_CASE("CUDA: steps go over all sizes, whatever their addresses") {
    const posterior p = example_posterior(prediction_type::epsilon, variance_type::learned_range);
    for (const std::size_t size : sizes) {
        for (const std::size_t offset : {0U, 1U, 2U}) {
            CAPTURE(size, offset);
            const std::size_t total = 3 * size;
            const floats z = noise(total, 3, offset);
            floats x = noise(total, 1, offset);
            const floats before = x;
            forward_step(x.data(), z.data(), example_mixing, 3, size, nullptr);
            for (std::size_t i = 0; i < total; ++i) {
                REQUIRE(same(x[i], repaint::forward_step(example_mixing, before[i], z[i])));
            }
            CHECK(x.guards_hold());

            const floats prediction = noise(2 * total, 2, offset);
            floats x0(total, offset);
            x = before;
            reverse_step(x.data(), prediction.data(), 2 * size, z.data(), p, x0.data(), nullptr, 3, size, nullptr);
            for (std::size_t i = 0; i < total; ++i) {
                const std::size_t at = i / size * 2 * size + i % size;
                const float clean = predicted_x0(p, before[i], prediction[at]);
                REQUIRE(same(x0[i], clean));
                REQUIRE(same(x[i],
                             repaint::reverse_step(p, before[i], prediction[at], clean, prediction[at + size], z[i])));
            }
            CHECK(x.guards_hold());
            CHECK(x0.guards_hold());
        }
    }
}

TEST_CASE("CUDA: a NaN stays where it was, and nowhere else") {
    const std::size_t size = 12;
    const posterior p = example_posterior(prediction_type::epsilon, variance_type::learned_range);
    floats x = noise(size, 1);
    floats prediction = noise(2 * size, 2);
    prediction.data()[5] = std::nanf("");
    const floats z = noise(size, 3);
    floats x0(size);
    reverse_step(x.data(), prediction.data(), 2 * size, z.data(), p, x0.data(), nullptr, 1, size, nullptr);
    for (std::size_t i = 0; i < size; ++i) {
        CHECK(std::isnan(x[i]) == (i == 5));
        CHECK(std::isnan(x0[i]) == (i == 5));
    }
}

TEST_CASE("CUDA: merge takes known and keep for all images, and keep for all channels") {
    for (const shape4 s : {shape4{2, 3, 4, 4}, shape4{2, 3, 5, 3}, shape4{3, 1, 1, 1}, shape4{2, 4, 1, 7}}) {
        for (int broadcast = 0; broadcast < 8; ++broadcast) {
            for (const std::size_t offset : {0U, 3U}) {
                CAPTURE(to_string(s), broadcast, offset);
                const std::size_t pixels = s.plane();
                const std::size_t size = pixels * static_cast<std::size_t>(s.c);
                const int known_images = (broadcast & 1) != 0 ? 1 : s.n;
                const int keep_images = (broadcast & 2) != 0 ? 1 : s.n;
                const int keep_channels = (broadcast & 4) != 0 ? 1 : s.c;
                const std::size_t mask_size = pixels * static_cast<std::size_t>(keep_channels);
                const floats known = noise(static_cast<std::size_t>(known_images) * size, 2, offset);
                std::vector<float> soft = random_values(static_cast<std::size_t>(keep_images) * mask_size, 3);
                for (float& value : soft) { // 0, 1 and between
                    value = std::min(1.0F, std::max(0.0F, 0.5F + value));
                }
                const floats keep(soft);
                const floats z = noise(s.size(), 4);
                floats x = noise(s.size(), 1, offset);
                const floats before = x;
                const known_region region = {known.data(), known_images, keep.data(), keep_images, keep_channels};
                merge(x.data(), s, region, z.data(), example_mixing, nullptr);
                for (std::size_t i = 0; i < s.size(); ++i) {
                    const std::size_t n = i / size;
                    const std::size_t c = keep_channels == 1 ? 0 : i % size / pixels;
                    const float mask = keep[(keep_images == 1 ? 0 : n) * mask_size + c * pixels + i % pixels];
                    const float clean = known[(known_images == 1 ? 0 : n) * size + i % size];
                    CAPTURE(i);
                    REQUIRE(same(x[i], merged(example_mixing, before[i], clean, mask, z[i])));
                }
                CHECK(x.guards_hold());

                std::vector<float> last = before.floats();
                last.erase(last.begin(), last.end() - static_cast<std::ptrdiff_t>(size));
                floats alone(last, offset);
                const auto n = static_cast<std::size_t>(s.n - 1);
                const known_region of_last = {known.data() + (known_images == 1 ? 0 : n * size), 1,
                                              keep.data() + (keep_images == 1 ? 0 : n * mask_size), 1, keep_channels};
                merge(alone.data(), {1, s.c, s.h, s.w}, of_last, z.data() + n * size, example_mixing, nullptr);
#if !defined(__FP_FAST_FMAF)
                CHECK(alone.same_bits(0, x, n * size, size));
#endif
            }
        }
    }
}

TEST_CASE("CUDA: steps that draw their own noise are normal and the step") {
    const std::uint64_t draw = 11;
    const posterior p = example_posterior(prediction_type::epsilon, variance_type::learned_range);
    for (const shape4 s : {shape4{3, 3, 4, 4}, shape4{2, 3, 5, 5}, shape4{1, 3, 20, 20}}) {
        for (const std::size_t offset : {0U, 1U}) {
            CAPTURE(to_string(s), offset);
            const std::size_t size = s.size() / static_cast<std::size_t>(s.n);
            const floats before = noise(s.size(), 1, offset);
            const floats prediction = noise(2 * s.size(), 2, offset);
            const floats gradient = noise(s.size(), 4, offset);
            const floats keep = noise(s.plane(), 5);
            const known_region region = {prediction.data(), 1, keep.data(), 1, 1};
            floats z(s.size(), offset);
            normal(seeds.data(), draw, s.n, size, z.data(), nullptr);

            floats expected = before;
            floats x = before;
            forward_step(expected.data(), z.data(), example_mixing, s.n, size, nullptr);
            forward_step_with_draw(x.data(), seeds.data(), draw, example_mixing, s.n, size, nullptr);
            check_same(x, expected);

            expected = before;
            x = before;
            merge(expected.data(), s, region, z.data(), example_mixing, nullptr);
            merge_with_draw(x.data(), s, region, seeds.data(), draw, example_mixing, nullptr);
            check_same(x, expected);

            for (const float* g : {static_cast<const float*>(nullptr), gradient.data()}) {
                expected = before;
                x = before;
                floats expected_x0(s.size(), offset);
                floats x0(s.size(), offset);
                reverse_step(expected.data(), prediction.data(), 2 * size, z.data(), p, expected_x0.data(), g, s.n,
                             size, nullptr);
                reverse_step_with_draw(x.data(), prediction.data(), 2 * size, seeds.data(), draw, p, x0.data(), g, s.n,
                                       size, nullptr);
                check_same(x, expected);
                check_same(x0, expected_x0);
            }
        }
    }
}
