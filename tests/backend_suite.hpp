#pragma once

#include <array>
#include <cmath>
#include <cstdint>
#include <optional>
#include <vector>

#include <repaint/diffusion/noise.hpp>
#include <repaint/diffusion/philox.hpp>
#include <repaint/diffusion/step.hpp>
#include <repaint/ops.hpp>

#include "support/catch.hpp"
#include "support/compare.hpp"
#include "support/oracle.hpp"
#include "support/tolerances.hpp"

/// The meaning of the contract: every primitive, in the shapes that hurt, against its definition in double. A file that
/// includes this defines `backends_under_test`, a std::tuple of backend types, first.

using repaint::activation;
using repaint::host_tensor;
using repaint::shape4;

namespace suite {

/// Weights with the spread trained ones have: the sum over the fan-in stays near 1.
inline host_tensor conv_weights(shape4 s, std::uint64_t seed) {
    host_tensor w = random_tensor(s, seed);
    const float scale = 1.0F / std::sqrt(static_cast<float>(s.c) * static_cast<float>(s.plane()));
    for (float& value : w.values()) {
        value *= scale;
    }
    return w;
}

} // namespace suite

TEMPLATE_LIST_TEST_CASE("upload and download give the values back", "[backend]", backends_under_test) {
    TestType b;
    for (const shape4 s : {shape4{1, 1, 1, 1}, {2, 3, 5, 7}, {1, 33, 2, 3}, {3, 16, 8, 8}}) {
        const auto x = random_tensor(s, 1);
        const auto on_device = b.upload(x);
        REQUIRE(shape4(on_device.shape()) == s);
        CHECK(same_bits(b.download(on_device), x));
    }
}

TEMPLATE_LIST_TEST_CASE("conv2d", "[backend]", backends_under_test) {
    struct conv_case {
        shape4 x;
        int out;
        int kernel;
        repaint::conv2d_options options;
    };
    const auto c =
        GENERATE(values<conv_case>({{{1, 1, 1, 1}, 1, 1, {}},                            // one number
                                    {{1, 3, 8, 8}, 32, 3, {.padding = 1}},               // the first convolution
                                    {{1, 32, 8, 8}, 6, 3, {.padding = 1}},               // the last one
                                    {{2, 5, 7, 5}, 4, 3, {.padding = 1}},                // odd sizes, odd channels
                                    {{2, 32, 9, 7}, 48, 3, {.stride = 2, .padding = 1}}, // stride 2 on odd rows
                                    {{1, 32, 8, 8}, 32, 3, {.stride = 2, .padding = 1}}, // and on even ones
                                    {{1, 16, 1, 1}, 16, 3, {.padding = 1}},              // one pixel under a 3x3 kernel
                                    {{2, 64, 3, 2}, 96, 3, {.padding = 1}},              // smaller than a tile
                                    {{1, 64, 17, 33}, 64, 3, {.padding = 1}},            // one more than a tile
                                    {{3, 33, 4, 4}, 17, 1, {}}, // pointwise, channels not a multiple of 8
                                    {{2, 128, 1, 1}, 256, 1, {.then = activation::silu}}, // a linear layer
                                    {{1, 40, 6, 6}, 24, 3, {.padding = 1, .then = activation::silu}},
                                    {{1, 40, 6, 6}, 24, 3, {.padding = 1, .then = activation::relu}},
                                    {{2, 64, 16, 16}, 64, 3, {.padding = 1, .then = activation::relu}},
                                    {{2, 33, 5, 3}, 20, 1, {.then = activation::relu}},
                                    {{1, 16, 8, 8}, 8, 4, {.stride = 2, .padding = 1}}, // an even kernel
                                    {{1, 24, 5, 5}, 8, 3, {}}}));                       // no padding
    TestType b;
    const auto x = random_tensor(c.x, 1);
    const auto w = suite::conv_weights(shape4{c.out, c.x.c, c.kernel, c.kernel}, 2);
    const auto bias = random_tensor({c.out, 1, 1, 1}, 3);
    const auto packed = b.pack_conv2d(oracle::weights(w), oracle::weights(bias));
    CAPTURE(to_string(c.x), c.out, c.kernel, c.options.stride, c.options.padding);
    const auto expected = oracle::conv2d(x, w, bias, nullptr, c.options);
    const auto on_device = b.upload(x);
    CHECK(difference(b.download(repaint::ops::conv2d(b, on_device, packed, c.options)), expected,
                     tolerances<TestType>::conv2d) == "");

    SECTION("residual of the result's shape") {
        const auto residual = random_tensor(expected.shape(), 4);
        const auto r = b.upload(residual);
        CHECK(difference(b.download(repaint::ops::conv2d(b, on_device, packed, c.options, &r)),
                         oracle::conv2d(x, w, bias, &residual, c.options), tolerances<TestType>::conv2d) == "");
    }
    SECTION("residual for every pixel, one for all images or one each") {
        for (const int images : std::array<int, 2>{1, c.x.n}) {
            const auto residual = random_tensor({images, c.out, 1, 1}, 5);
            const auto r = b.upload(residual);
            CHECK(difference(b.download(repaint::ops::conv2d(b, on_device, packed, c.options, &r)),
                             oracle::conv2d(x, w, bias, &residual, c.options), tolerances<TestType>::conv2d) == "");
        }
    }
}

TEMPLATE_LIST_TEST_CASE("group_norm", "[backend]", backends_under_test) {
    struct norm_case {
        shape4 x;
        int groups;
        activation then;
    };
    const auto c = GENERATE(values<norm_case>({{{1, 32, 8, 8}, 32, activation::silu}, // one channel per group
                                               {{2, 96, 5, 7}, 32, activation::none}, // odd sizes
                                               {{2, 64, 1, 1}, 32, activation::silu}, // two numbers per group
                                               {{1, 8, 3, 3}, 1, activation::none},   // one group
                                               {{2, 33, 4, 3}, 3, activation::relu},  // groups that end inside a block
                                               {{3, 128, 16, 16}, 32, activation::silu}}));
    TestType b;
    const auto x = random_tensor(c.x, 1);
    const auto gamma = random_tensor({c.x.c, 1, 1, 1}, 2);
    const auto beta = random_tensor({c.x.c, 1, 1, 1}, 3);
    const repaint::group_norm_options options{.groups = c.groups, .then = c.then};
    const auto packed = b.pack_norm(oracle::weights(gamma), oracle::weights(beta));
    const auto on_device = b.upload(x);
    CAPTURE(to_string(c.x), c.groups);
    CHECK(difference(b.download(repaint::ops::group_norm(b, on_device, packed, options)),
                     oracle::group_norm(x, gamma, beta, nullptr, options), tolerances<TestType>::group_norm) == "");
    for (const int images : std::array<int, 2>{1, c.x.n}) {
        const auto scale_shift = random_tensor({images, 2 * c.x.c, 1, 1}, 4);
        const auto s = b.upload(scale_shift);
        CHECK(difference(b.download(repaint::ops::group_norm(b, on_device, packed, options, &s)),
                         oracle::group_norm(x, gamma, beta, &scale_shift, options),
                         tolerances<TestType>::group_norm) == "");
    }
}

TEMPLATE_LIST_TEST_CASE("group_norm far from zero keeps its digits", "[backend]", backends_under_test) {
    TestType b;
    auto x = random_tensor({1, 64, 8, 8}, 1);
    for (float& value : x.values()) {
        value = 1000.0F + value; // mean of squares minus square of the mean would lose everything here
    }
    const host_tensor gamma({64, 1, 1, 1}, std::vector<float>(64, 1.0F));
    const host_tensor beta({64, 1, 1, 1});
    const repaint::group_norm_options options{};
    const auto packed = b.pack_norm(oracle::weights(gamma), oracle::weights(beta));
    CHECK(difference(b.download(repaint::ops::group_norm(b, b.upload(x), packed, options)),
                     oracle::group_norm(x, gamma, beta, nullptr, options), tolerances<TestType>::group_norm_far) == "");
}

TEMPLATE_LIST_TEST_CASE("group_norm of a constant is beta", "[backend]", backends_under_test) {
    TestType b;
    const host_tensor x({2, 32, 4, 4}, std::vector<float>(2 * 32 * 16, -7.5F));
    const auto gamma = random_tensor({32, 1, 1, 1}, 2);
    const auto beta = random_tensor({32, 1, 1, 1}, 3);
    const auto packed = b.pack_norm(oracle::weights(gamma), oracle::weights(beta));
    const auto y = b.download(repaint::ops::group_norm(b, b.upload(x), packed));
    for (int c = 0; c < 32; ++c) {
        CHECK(y(1, c, 2, 3) ==
              approx(static_cast<double>(beta(c, 0, 0, 0))).margin(tolerances<TestType>::group_norm.element));
    }
}

TEMPLATE_LIST_TEST_CASE("attention", "[backend]", backends_under_test) {
    struct attention_case {
        shape4 qkv;
        int heads;
    };
    const auto c = GENERATE(values<attention_case>({{{1, 3, 1, 1}, 1},        // one token of one channel
                                                    {{2, 96, 1, 1}, 4},       // one token: the value itself
                                                    {{2, 3 * 48, 4, 4}, 3},   // three heads
                                                    {{1, 3 * 64, 5, 7}, 1},   // not square, odd
                                                    {{2, 3 * 24, 1, 17}, 2},  // the tokens of attention pooling
                                                    {{1, 3 * 32, 17, 16}, 4}, // one strip of queries and a bit
                                                    {{3, 3 * 64, 8, 8}, 2}}));
    TestType b;
    const auto qkv = random_tensor(c.qkv, 1);
    CAPTURE(to_string(c.qkv), c.heads);
    CHECK(difference(b.download(repaint::ops::attention(b, b.upload(qkv), c.heads)), oracle::attention(qkv, c.heads),
                     tolerances<TestType>::attention) == "");
}

TEMPLATE_LIST_TEST_CASE("attention survives large scores", "[backend]", backends_under_test) {
    TestType b;
    auto qkv = random_tensor({1, 3 * 32, 4, 4}, 1);
    for (float& value : qkv.values()) {
        value *= 30.0F; // exp of the scores themselves would overflow
    }
    CHECK(difference(b.download(repaint::ops::attention(b, b.upload(qkv), 1)), oracle::attention(qkv, 1),
                     tolerances<TestType>::attention_large) == "");
}

TEMPLATE_LIST_TEST_CASE("resize", "[backend]", backends_under_test) {
    TestType b;
    const auto x = random_tensor({2, 5, 4, 6}, 1);
    const auto up = b.download(repaint::ops::resize(b, b.upload(x), repaint::resampling::nearest_up));
    const auto down = b.download(repaint::ops::resize(b, b.upload(x), repaint::resampling::average_down));
    REQUIRE(up.shape() == shape4{2, 5, 8, 12});
    REQUIRE(down.shape() == shape4{2, 5, 2, 3});
    bool exact = true;
    for (int n = 0; n < 2; ++n) {
        for (int c = 0; c < 5; ++c) {
            for (int i = 0; i < 8; ++i) {
                for (int j = 0; j < 12; ++j) {
                    exact = exact && up(n, c, i, j) == x(n, c, i / 2, j / 2);
                }
            }
            for (int i = 0; i < 2; ++i) {
                for (int j = 0; j < 3; ++j) {
                    const float mean = (x(n, c, 2 * i, 2 * j) + x(n, c, 2 * i, 2 * j + 1) + x(n, c, 2 * i + 1, 2 * j) +
                                        x(n, c, 2 * i + 1, 2 * j + 1)) *
                                       0.25F;
                    exact = exact && std::fabs(down(n, c, i, j) - mean) <= tolerances<TestType>::resize;
                }
            }
        }
    }
    CHECK(exact);
}

TEMPLATE_LIST_TEST_CASE("concat keeps every image's channels together", "[backend]", backends_under_test) {
    TestType b;
    const auto first = random_tensor({2, 3, 4, 5}, 1);
    const auto second = random_tensor({2, 40, 4, 5}, 2);
    const auto joined = b.download(repaint::ops::concat(b, b.upload(first), b.upload(second)));
    REQUIRE(joined.shape() == shape4{2, 43, 4, 5});
    for (int n = 0; n < 2; ++n) {
        CHECK(std::equal(first.image(n).begin(), first.image(n).end(), joined.image(n).begin()));
        CHECK(std::equal(second.image(n).begin(), second.image(n).end(), joined.image(n).begin() + 3 * 20));
    }
}

TEMPLATE_LIST_TEST_CASE("what is joined can be normalised, convolved and resampled", "[backend]", backends_under_test) {
    // A backend may keep a joined tensor in two pieces; everything that can follow has to read it.
    TestType b;
    const auto first = random_tensor({2, 48, 6, 4}, 1);
    const auto second = random_tensor({2, 16, 6, 4}, 2);
    host_tensor joined({2, 64, 6, 4});
    for (int n = 0; n < 2; ++n) {
        std::copy(second.image(n).begin(), second.image(n).end(),
                  std::copy(first.image(n).begin(), first.image(n).end(), joined.image(n).begin()));
    }
    const auto gamma = random_tensor({64, 1, 1, 1}, 3);
    const auto beta = random_tensor({64, 1, 1, 1}, 4);
    const auto w = suite::conv_weights({32, 64, 1, 1}, 5);
    const auto bias = random_tensor({32, 1, 1, 1}, 6);
    const auto norm = b.pack_norm(oracle::weights(gamma), oracle::weights(beta));
    const auto conv = b.pack_conv2d(oracle::weights(w), oracle::weights(bias));
    const auto both = repaint::ops::concat(b, b.upload(first), b.upload(second));
    CHECK(difference(b.download(repaint::ops::group_norm(b, both, norm)),
                     oracle::group_norm(joined, gamma, beta, nullptr, {}), tolerances<TestType>::group_norm) == "");
    CHECK(difference(b.download(repaint::ops::conv2d(b, both, conv)), oracle::conv2d(joined, w, bias, nullptr, {}),
                     tolerances<TestType>::conv2d) == "");
    const auto doubled = b.download(repaint::ops::resize(b, both, repaint::resampling::nearest_up));
    CHECK(doubled(1, 50, 11, 7) == approx(static_cast<double>(joined(1, 50, 5, 3))).margin(1e-2));
}

TEMPLATE_LIST_TEST_CASE("normal is addressed by seed, draw and element", "[backend]", backends_under_test) {
    TestType b;
    const shape4 s{3, 3, 5, 7};
    const std::array<std::uint64_t, 3> seeds{7, 8, 1ULL << 40U};
    const auto y = b.download(repaint::ops::normal(b, std::span<const std::uint64_t>(seeds), 11, s));
    for (int n = 0; n < 3; ++n) {
        const auto alone = b.download(
            repaint::ops::normal(b, std::span(seeds).subspan(static_cast<std::size_t>(n), 1), 11, {1, 3, 5, 7}));
        CHECK(std::equal(alone.values().begin(), alone.values().end(), y.image(n).begin()));
        host_tensor expected({1, 3, 5, 7});
        repaint::philox_normal(seeds[static_cast<std::size_t>(n)], 11, expected.values());
        CHECK(largest_difference(alone, expected) <= tolerances<TestType>::normal);
    }
}

TEMPLATE_LIST_TEST_CASE("reverse_step, for every meaning of the network's output", "[backend]", backends_under_test) {
    using repaint::prediction_type;
    using repaint::variance_type;
    const auto prediction =
        GENERATE(values({prediction_type::epsilon, prediction_type::x_0, prediction_type::previous_x}));
    const auto variance = GENERATE(values({variance_type::learned_range, variance_type::learned,
                                           variance_type::fixed_small, variance_type::fixed_large}));
    const bool clip = GENERATE(false, true);
    TestType b;
    const shape4 s{2, 3, 5, 4};
    const repaint::posterior p{.prediction = prediction,
                               .variance = variance,
                               .clip = clip,
                               .x0_from_x = 1.25F,
                               .x0_from_prediction = -0.75F,
                               .mean_from_x0 = 0.4F,
                               .mean_from_x = 0.55F,
                               .min_log_variance = -6.0F,
                               .max_log_variance = -3.5F,
                               .noise = 1.0F};
    const auto x = random_tensor(s, 1);
    const auto out = random_tensor({2, is_learned(variance) ? 6 : 3, 5, 4}, 2);
    const auto z = random_tensor(s, 3);
    host_tensor expected(s);
    host_tensor clean(s);
    for (int n = 0; n < s.n; ++n) {
        for (int c = 0; c < s.c; ++c) {
            for (int i = 0; i < s.h; ++i) {
                for (int j = 0; j < s.w; ++j) {
                    clean(n, c, i, j) = repaint::predicted_x0(p, x(n, c, i, j), out(n, c, i, j));
                    const float v = is_learned(variance) ? out(n, 3 + c, i, j) : 0.0F;
                    expected(n, c, i, j) =
                        repaint::reverse_step(p, x(n, c, i, j), out(n, c, i, j), clean(n, c, i, j), v, z(n, c, i, j));
                }
            }
        }
    }
    auto moved = b.upload(x);
    auto x0 = b.allocate(s);
    repaint::ops::reverse_step(b, moved, b.upload(out), b.upload(z), p, &x0);
    CHECK(difference(b.download(moved), expected, tolerances<TestType>::step) == "");
    CHECK(difference(b.download(x0), clean, tolerances<TestType>::step) == "");
    moved = b.upload(x);
    repaint::ops::reverse_step(b, moved, b.upload(out), b.upload(z), p);
    CHECK(difference(b.download(moved), expected, tolerances<TestType>::step) == "");
}

TEMPLATE_LIST_TEST_CASE("forward_step and merge", "[backend]", backends_under_test) {
    TestType b;
    const shape4 s{2, 3, 4, 5};
    const auto x = random_tensor(s, 1);
    const auto z = random_tensor(s, 2);
    const repaint::mixing m{0.8F, 0.6F};
    SECTION("forward_step") {
        host_tensor expected(s);
        for (std::size_t i = 0; i < x.size(); ++i) {
            expected.values()[i] = 0.8F * x.values()[i] + 0.6F * z.values()[i];
        }
        auto moved = b.upload(x);
        repaint::ops::forward_step(b, moved, b.upload(z), m);
        CHECK(difference(b.download(moved), expected, tolerances<TestType>::step) == "");
    }
    SECTION("merge, with masks of one channel or of each, for all images or each, hard or soft") {
        for (const int images : {1, 2}) {
            for (const int channels : {1, 3}) {
                const auto known = random_tensor({images, 3, 4, 5}, 3);
                auto keep = random_tensor({images, channels, 4, 5}, 4);
                for (float& value : keep.values()) {
                    value = value < -0.5F ? 0.0F : (value > 0.5F ? 1.0F : value + 0.5F);
                }
                host_tensor expected(s);
                for (int n = 0; n < 2; ++n) {
                    for (int c = 0; c < 3; ++c) {
                        for (int i = 0; i < 4; ++i) {
                            for (int j = 0; j < 5; ++j) {
                                const int k = images == 1 ? 0 : n;
                                expected(n, c, i, j) =
                                    repaint::merged(m, x(n, c, i, j), known(k, c, i, j),
                                                    keep(k, channels == 1 ? 0 : c, i, j), z(n, c, i, j));
                            }
                        }
                    }
                }
                auto merged = b.upload(x);
                repaint::ops::merge(b, merged, b.upload(known), b.upload(keep), b.upload(z), m);
                CHECK(difference(b.download(merged), expected, tolerances<TestType>::step) == "");
            }
        }
    }
}

TEMPLATE_LIST_TEST_CASE("of no images every step gives no images", "[backend]", backends_under_test) {
    namespace ops = repaint::ops;
    TestType b;
    for (const shape4 s : {shape4{0, 3, 4, 5}, {0, 32, 8, 8}}) {
        CAPTURE(to_string(s));
        auto x = b.upload(host_tensor(s));
        CHECK(shape4(x.shape()) == s);
        CHECK(b.download(x).shape() == s);
        const auto z = ops::normal(b, std::span<const std::uint64_t>(), 0, s);
        CHECK(b.download(z).shape() == s);
        ops::forward_step(b, x, z, {0.8F, 0.6F});
        for (const int channels : {s.c, 2 * s.c}) {
            const auto prediction = b.upload(host_tensor({0, channels, s.h, s.w}));
            const repaint::posterior p{.variance = channels == s.c ? repaint::variance_type::fixed_small
                                                                   : repaint::variance_type::learned_range};
            ops::reverse_step(b, x, prediction, z, p);
            auto x0 = b.allocate(s);
            ops::reverse_step(b, x, prediction, z, p, &x0, &z);
            CHECK(b.download(x0).shape() == s);
        }
        const auto one = b.upload(host_tensor({1, s.c, s.h, s.w}));
        const auto mask = b.upload(host_tensor({1, 1, s.h, s.w}));
        ops::merge(b, x, one, mask, z, {0.8F, 0.6F});
        ops::merge(b, x, z, z, z, {0.8F, 0.6F});
        b.synchronize();
        CHECK(b.download(x).shape() == s);
    }
}

TEMPLATE_LIST_TEST_CASE("ops refuses shapes that do not fit, with the numbers", "[backend]", backends_under_test) {
    using repaint::shape_error;
    namespace ops = repaint::ops;
    TestType b;
    const auto weights = [&](shape4 s) {
        return b.pack_conv2d(oracle::weights(host_tensor(s)), oracle::weights(host_tensor({s.n, 1, 1, 1})));
    };
    const auto norm =
        b.pack_norm(oracle::weights(host_tensor({32, 1, 1, 1})), oracle::weights(host_tensor({32, 1, 1, 1})));
    const auto x = b.upload(host_tensor({2, 32, 5, 5}));
    const auto small = b.upload(host_tensor({2, 32, 2, 2}));
    const auto w = weights({8, 32, 3, 3});
    REQUIRE_THROWS_WITH(ops::conv2d(b, x, weights({8, 4, 3, 3})),
                        contains("has 32 channels, the weights (8, 4, 3, 3) expect 4"));
    REQUIRE_THROWS_AS(ops::conv2d(b, small, w), shape_error);
    REQUIRE_THROWS_AS(ops::conv2d(b, x, w, {.stride = 0}), shape_error);
    REQUIRE_THROWS_WITH(ops::conv2d(b, x, w, {}, &small), contains("the residual (2, 32, 2, 2)"));
    REQUIRE_THROWS_AS(ops::group_norm(b, x, norm, {.groups = 5}), shape_error);
    REQUIRE_THROWS_AS(ops::group_norm(b, x, norm, {}, &small), shape_error);
    REQUIRE_THROWS_AS(ops::attention(b, x, 4), shape_error);
    REQUIRE_THROWS_WITH(ops::resize(b, x, repaint::resampling::average_down), contains("cannot be halved"));
    REQUIRE_THROWS_AS(ops::concat(b, b.upload(host_tensor({1, 32, 5, 5})), b.upload(host_tensor({2, 32, 5, 5}))),
                      shape_error);
    auto image = b.upload(host_tensor({2, 3, 4, 4}));
    const auto z = b.upload(host_tensor({2, 3, 4, 4}));
    const auto wrong = b.upload(host_tensor({2, 3, 4, 5}));
    REQUIRE_THROWS_WITH(ops::reverse_step(b, image, z, z, {}), contains("a learned variance needs (2, 6, 4, 4)"));
    REQUIRE_THROWS_AS(ops::forward_step(b, image, wrong, {}), shape_error);
    REQUIRE_THROWS_AS(ops::merge(b, image, z, wrong, z, {}), shape_error);
    const std::array<std::uint64_t, 1> seed{1};
    REQUIRE_THROWS_AS(ops::normal(b, std::span<const std::uint64_t>(seed), 0, {2, 1, 1, 1}), shape_error);
}
