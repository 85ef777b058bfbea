#pragma once

#include "backend_suite.hpp"
#include "support/gradients_in_double.hpp"

/// What a differentiable_backend has besides: the primitives of encoders, and the vector-Jacobian product of each
/// primitive against the same product in double. Over `backends_under_test`, as backend_suite.hpp.

namespace suite {

/// What the rest of a network would hand back: N(0, 1), another seed than the input's.
inline host_tensor cotangent(shape4 s) { return random_tensor(s, 1000); }

} // namespace suite

TEMPLATE_LIST_TEST_CASE("mean and prepend_mean", "[backend]", backends_under_test) {
    const auto s = GENERATE(values<shape4>({{1, 1, 1, 1},  // the mean is the pixel
                                            {2, 33, 5, 7}, // channels not a multiple of 8, odd sizes
                                            {3, 16, 1, 1}, // one pixel in each of several images
                                            {1, 64, 8, 8}, // the last level of a classifier
                                            {1, 8, 40, 33}}));
    TestType b;
    const auto x = random_tensor(s, 1);
    CAPTURE(to_string(s));
    CHECK(difference(b.download(repaint::ops::mean(b, b.upload(x))), oracle::mean(x), tolerances<TestType>::mean) ==
          "");
    const auto tokens = b.download(repaint::ops::prepend_mean(b, b.upload(x)));
    CHECK(difference(tokens, oracle::prepend_mean(x), tolerances<TestType>::mean) == "");
}

TEMPLATE_LIST_TEST_CASE("what mean and prepend_mean make goes through a linear layer and attention", "[backend]",
                        backends_under_test) {
    TestType b;
    const auto x = random_tensor({2, 24, 3, 5}, 1);
    const auto w = suite::conv_weights({3 * 24, 24, 1, 1}, 2);
    const auto bias = random_tensor({3 * 24, 1, 1, 1}, 3);
    const auto packed = b.pack_conv2d(oracle::weights(w), oracle::weights(bias));
    const auto on_device = b.upload(x);
    CHECK(difference(b.download(repaint::ops::linear(b, repaint::ops::mean(b, on_device), packed, activation::relu)),
                     oracle::conv2d(oracle::mean(x), w, bias, nullptr, {.then = activation::relu}),
                     tolerances<TestType>::conv2d) == "");
    const auto tokens = repaint::ops::prepend_mean(b, on_device);
    const auto pooled = b.download(repaint::ops::attention(b, repaint::ops::conv2d(b, tokens, packed), 3));
    CHECK(difference(pooled, oracle::attention(oracle::conv2d(oracle::prepend_mean(x), w, bias, nullptr, {}), 3),
                     tolerances<TestType>::attention) == "");
}

TEMPLATE_LIST_TEST_CASE("conv2d_vjp", "[backend]", backends_under_test) {
    struct conv_case {
        shape4 x;
        int out;
        int kernel;
        repaint::conv2d_options options;
    };
    const auto c =
        GENERATE(values<conv_case>({{{1, 1, 1, 1}, 1, 1, {}},                            // one number
                                    {{1, 3, 8, 8}, 32, 3, {.padding = 1}},               // down to an image
                                    {{1, 32, 8, 8}, 6, 3, {.padding = 1}},               // and up from one
                                    {{2, 5, 7, 5}, 4, 3, {.padding = 1}},                // odd sizes, odd channels
                                    {{2, 32, 9, 7}, 48, 3, {.stride = 2, .padding = 1}}, // stride 2 on odd rows
                                    {{1, 32, 8, 8}, 32, 3, {.stride = 2, .padding = 1}}, // and on even ones
                                    {{2, 16, 8, 6}, 24, 3, {.stride = 2}}, // the last row and column: read by none
                                    {{1, 8, 7, 6}, 8, 1, {.stride = 2}},   // three pixels of four: read by none
                                    {{1, 16, 8, 8}, 8, 4, {.stride = 2, .padding = 1}}, // an even kernel
                                    {{1, 16, 1, 1}, 16, 3, {.padding = 1}},             // one pixel under a 3x3 kernel
                                    {{2, 64, 3, 2}, 96, 3, {.padding = 1}},             // smaller than a tile
                                    {{1, 64, 17, 33}, 64, 3, {.padding = 1}},           // one more than a tile
                                    {{1, 128, 16, 16}, 128, 3, {.padding = 1}},         // many channels
                                    {{3, 33, 4, 4}, 17, 1, {}},   // pointwise, channels not a multiple of 8
                                    {{2, 128, 1, 1}, 256, 1, {}}, // a linear layer
                                    {{1, 24, 5, 5}, 8, 3, {}}})); // no padding
    TestType b;
    const auto w = suite::conv_weights(shape4{c.out, c.x.c, c.kernel, c.kernel}, 2);
    const auto dy = suite::cotangent(repaint::ops::conv2d_shape(c.x, w.shape(), c.options));
    CAPTURE(to_string(c.x), c.out, c.kernel, c.options.stride, c.options.padding);
    const auto expected = in_double::conv2d_vjp(dy, w, c.options, c.x);
    // A bias and an activation make no difference: the gradient of the activation is taken before.
    const auto bias = random_tensor({c.out, 1, 1, 1}, 3);
    const auto packed = b.pack_conv2d(oracle::weights(w), oracle::weights(bias));
    auto options = c.options;
    for (const auto then : {activation::none, activation::silu}) {
        options.then = then;
        CHECK(difference(b.download(repaint::ops::conv2d_vjp(b, b.upload(dy), packed, options, c.x)), expected,
                         tolerances<TestType>::conv2d_vjp) == "");
    }
}

TEMPLATE_LIST_TEST_CASE("activation_vjp", "[backend]", backends_under_test) {
    const auto f = GENERATE(values({activation::none, activation::silu, activation::relu}));
    const auto s = GENERATE(values<shape4>({{1, 1, 1, 1}, {2, 33, 5, 7}, {1, 16, 8, 8}, {2, 128, 1, 1}}));
    TestType b;
    auto x = random_tensor(s, 1);
    for (float& value : x.values()) {
        value *= 5.0F;
    }
    const auto dy = suite::cotangent(s);
    CAPTURE(to_string(s), static_cast<int>(f));
    CHECK(difference(b.download(repaint::ops::activation_vjp(b, b.upload(x), f, b.upload(dy))),
                     in_double::activation_vjp(x, f, dy), tolerances<TestType>::activation_vjp) == "");
}

TEMPLATE_LIST_TEST_CASE("activation_vjp far out is 0 or the cotangent", "[backend]", backends_under_test) {
    TestType b;
    const host_tensor x({1, 1, 1, 6}, {-1e30F, -200.0F, -90.0F, 90.0F, 200.0F, 1e30F});
    const host_tensor dy({1, 1, 1, 6}, std::vector<float>(6, 0.5F));
    const host_tensor expected({1, 1, 1, 6}, {0.0F, 0.0F, 0.0F, 0.5F, 0.5F, 0.5F});
    for (const auto f : {activation::silu, activation::relu}) {
        CHECK(difference(b.download(repaint::ops::activation_vjp(b, b.upload(x), f, b.upload(dy))), expected,
                         tolerances<TestType>::activation_vjp) == "");
    }
}

TEMPLATE_LIST_TEST_CASE("the gradient of relu at 0 is 0", "[backend]", backends_under_test) {
    TestType b;
    const host_tensor x({1, 1, 1, 3}, {-0.0F, 0.0F, 1e-30F});
    const host_tensor dy({1, 1, 1, 3}, {2.0F, 3.0F, 4.0F});
    const auto dx = b.download(repaint::ops::activation_vjp(b, b.upload(x), activation::relu, b.upload(dy)));
    CHECK(dx(0, 0, 0, 0) == 0.0F);
    CHECK(dx(0, 0, 0, 1) == 0.0F);
    CHECK(dx(0, 0, 0, 2) == 4.0F);
}

TEMPLATE_LIST_TEST_CASE("group_norm_vjp", "[backend]", backends_under_test) {
    struct norm_case {
        shape4 x;
        int groups;
        activation then;
    };
    const auto c = GENERATE(values<norm_case>({{{1, 32, 8, 8}, 32, activation::silu},  // one channel per group
                                               {{2, 96, 5, 7}, 32, activation::none},  // odd sizes
                                               {{2, 128, 1, 1}, 32, activation::silu}, // four numbers per group
                                               {{1, 8, 3, 3}, 1, activation::relu},    // one group
                                               {{2, 33, 4, 3}, 3, activation::relu},   // groups that end inside a block
                                               {{3, 128, 16, 16}, 32, activation::silu}}));
    TestType b;
    const auto x = random_tensor(c.x, 1);
    const auto gamma = random_tensor({c.x.c, 1, 1, 1}, 2);
    const auto beta = random_tensor({c.x.c, 1, 1, 1}, 3);
    const auto dy = suite::cotangent(c.x);
    const repaint::group_norm_options options{.groups = c.groups, .then = c.then};
    const auto packed = b.pack_norm(oracle::weights(gamma), oracle::weights(beta));
    const auto on_device = b.upload(x);
    const auto dy_on_device = b.upload(dy);
    CAPTURE(to_string(c.x), c.groups);
    CHECK(difference(b.download(repaint::ops::group_norm_vjp(b, on_device, packed, nullptr, options, dy_on_device)),
                     in_double::group_norm_vjp(x, gamma, beta, nullptr, options, dy),
                     tolerances<TestType>::group_norm_vjp) == "");
    for (const int images : std::array<int, 2>{1, c.x.n}) {
        const auto scale_shift = random_tensor({images, 2 * c.x.c, 1, 1}, 4);
        const auto s = b.upload(scale_shift);
        CHECK(difference(b.download(repaint::ops::group_norm_vjp(b, on_device, packed, &s, options, dy_on_device)),
                         in_double::group_norm_vjp(x, gamma, beta, &scale_shift, options, dy),
                         tolerances<TestType>::group_norm_vjp) == "");
    }
}

TEMPLATE_LIST_TEST_CASE("group_norm_vjp far from zero keeps its digits", "[backend]", backends_under_test) {
    TestType b;
    auto x = random_tensor({1, 64, 8, 8}, 1);
    for (float& value : x.values()) {
        value = 1000.0F + value;
    }
    const host_tensor gamma({64, 1, 1, 1}, std::vector<float>(64, 1.0F));
    const host_tensor beta({64, 1, 1, 1});
    const auto dy = suite::cotangent(x.shape());
    const repaint::group_norm_options options{.then = activation::silu};
    const auto packed = b.pack_norm(oracle::weights(gamma), oracle::weights(beta));
    CHECK(difference(b.download(repaint::ops::group_norm_vjp(b, b.upload(x), packed, nullptr, options, b.upload(dy))),
                     in_double::group_norm_vjp(x, gamma, beta, nullptr, options, dy),
                     tolerances<TestType>::group_norm_far) == "");
}

TEMPLATE_LIST_TEST_CASE("attention_vjp", "[backend]", backends_under_test) {
    struct attention_case {
        shape4 qkv;
        int heads;
    };
    const auto c = GENERATE(values<attention_case>({{{1, 3, 1, 1}, 1},        // one token of one channel
                                                    {{2, 96, 1, 1}, 4},       // one token: to the value alone
                                                    {{2, 3 * 48, 4, 4}, 3},   // three heads
                                                    {{1, 3 * 64, 5, 7}, 1},   // not square, odd
                                                    {{2, 3 * 24, 1, 17}, 2},  // the tokens of attention pooling
                                                    {{1, 3 * 32, 17, 16}, 4}, // one strip of queries and a bit
                                                    {{3, 3 * 64, 8, 8}, 2}}));
    TestType b;
    const auto qkv = random_tensor(c.qkv, 1);
    const auto dy = suite::cotangent(shape4{c.qkv.n, c.qkv.c / 3, c.qkv.h, c.qkv.w});
    CAPTURE(to_string(c.qkv), c.heads);
    CHECK(difference(b.download(repaint::ops::attention_vjp(b, b.upload(qkv), c.heads, b.upload(dy))),
                     in_double::attention_vjp(qkv, c.heads, dy), tolerances<TestType>::attention_vjp) == "");
}

TEMPLATE_LIST_TEST_CASE("attention_vjp survives large scores", "[backend]", backends_under_test) {
    TestType b;
    auto qkv = random_tensor({1, 3 * 32, 4, 4}, 1);
    for (float& value : qkv.values()) {
        value *= 30.0F;
    }
    const auto dy = suite::cotangent({1, 32, 4, 4});
    CHECK(difference(b.download(repaint::ops::attention_vjp(b, b.upload(qkv), 1, b.upload(dy))),
                     in_double::attention_vjp(qkv, 1, dy), tolerances<TestType>::attention_vjp_large) == "");
}

TEMPLATE_LIST_TEST_CASE("resize_vjp", "[backend]", backends_under_test) {
    const auto mode = GENERATE(values({repaint::resampling::nearest_up, repaint::resampling::average_down}));
    const auto s = GENERATE(values<shape4>({{2, 5, 4, 6}, {1, 32, 2, 2}, {1, 16, 8, 10}}));
    TestType b;
    const auto dy = suite::cotangent(s);
    const auto dx = b.download(repaint::ops::resize_vjp(b, b.upload(dy), mode));
    CAPTURE(to_string(s));
    CHECK(difference(dx, in_double::resize_vjp(dy, mode), tolerances<TestType>::exact_but_order) == "");
}

TEMPLATE_LIST_TEST_CASE("resize_vjp of half of an odd size", "[backend]", backends_under_test) {
    TestType b;
    const auto dy = suite::cotangent({2, 3, 1, 3}); // of an image of 2 x 6
    const auto dx = b.download(repaint::ops::resize_vjp(b, b.upload(dy), repaint::resampling::average_down));
    REQUIRE(dx.shape() == shape4{2, 3, 2, 6});
    CHECK(difference(dx, in_double::resize_vjp(dy, repaint::resampling::average_down),
                     tolerances<TestType>::exact_but_order) == "");
}

TEMPLATE_LIST_TEST_CASE("split undoes concat", "[backend]", backends_under_test) {
    TestType b;
    for (const int channels : {1, 3, 16, 40, 42}) {
        const auto x = random_tensor({2, 43, 4, 5}, 1);
        const auto [first, rest] = repaint::ops::split(b, b.upload(x), channels);
        const auto a = b.download(first);
        const auto z = b.download(rest);
        CAPTURE(channels);
        REQUIRE(a.shape() == shape4{2, channels, 4, 5});
        REQUIRE(z.shape() == shape4{2, 43 - channels, 4, 5});
        for (int n = 0; n < 2; ++n) {
            CHECK(std::equal(a.image(n).begin(), a.image(n).end(), x.image(n).begin()));
            CHECK(std::equal(z.image(n).begin(), z.image(n).end(), x.image(n).begin() + channels * 20));
        }
    }
}

TEMPLATE_LIST_TEST_CASE("mean_vjp and prepend_mean_vjp", "[backend]", backends_under_test) {
    const auto s = GENERATE(values<shape4>({{1, 1, 1, 1}, {2, 33, 5, 7}, {3, 16, 1, 1}, {1, 64, 8, 8}}));
    TestType b;
    CAPTURE(to_string(s));
    const auto of_mean = suite::cotangent(shape4{s.n, s.c, 1, 1});
    CHECK(difference(b.download(repaint::ops::mean_vjp(b, b.upload(of_mean), s)), in_double::mean_vjp(of_mean, s),
                     tolerances<TestType>::exact_but_order) == "");
    const auto of_tokens = suite::cotangent(shape4{s.n, s.c, 1, 1 + s.h * s.w});
    CHECK(difference(b.download(repaint::ops::prepend_mean_vjp(b, b.upload(of_tokens), s)),
                     in_double::prepend_mean_vjp(of_tokens, s), tolerances<TestType>::exact_but_order) == "");
}

TEMPLATE_LIST_TEST_CASE("accumulate adds, and what was duplicated stays as it was", "[backend]", backends_under_test) {
    TestType b;
    for (const shape4 s : {shape4{1, 1, 1, 1}, {2, 33, 5, 7}, {2, 16, 1, 1}}) {
        const auto x = random_tensor(s, 1);
        const auto y = random_tensor(s, 2);
        host_tensor expected(s);
        for (std::size_t i = 0; i < x.size(); ++i) {
            expected.values()[i] = x.values()[i] + y.values()[i];
        }
        auto sum = b.upload(x);
        auto before = b.duplicate(sum);
        repaint::ops::accumulate(b, sum, b.upload(y));
        CHECK(difference(b.download(sum), expected, tolerances<TestType>::exact_but_order) == "");
        CHECK(same_bits(b.download(before), x));
        // The other way round: the second tensor is written to.
        const auto again = b.duplicate(sum);
        repaint::ops::accumulate(b, before, sum);
        CHECK(same_bits(b.download(again), b.download(sum)));
    }
}

TEMPLATE_LIST_TEST_CASE("gradients of what is joined, resized or split", "[backend]", backends_under_test) {
    // A backend may keep such a tensor in pieces or small; every product has to read it.
    TestType b;
    const shape4 s{2, 64, 6, 4};
    const auto x = random_tensor(s, 1);
    const auto gamma = random_tensor({64, 1, 1, 1}, 3);
    const auto beta = random_tensor({64, 1, 1, 1}, 4);
    const auto norm = b.pack_norm(oracle::weights(gamma), oracle::weights(beta));
    const repaint::group_norm_options silu{.then = activation::silu};
    const auto joined = [&](const host_tensor& both) { // 48 and 16 channels
        auto [first, rest] = repaint::ops::split(b, b.upload(both), 48);
        return repaint::ops::concat(b, std::move(first), std::move(rest));
    };
    const auto dy = suite::cotangent(s);
    const auto expected = in_double::group_norm_vjp(x, gamma, beta, nullptr, silu, dy);
    SECTION("joined inputs and cotangents") {
        const auto dx = repaint::ops::group_norm_vjp(b, joined(x), norm, nullptr, silu, joined(dy));
        CHECK(difference(b.download(dx), expected, tolerances<TestType>::group_norm_vjp) == "");
        const auto da = repaint::ops::activation_vjp(b, joined(x), activation::silu, joined(dy));
        CHECK(difference(b.download(da), in_double::activation_vjp(x, activation::silu, dy),
                         tolerances<TestType>::activation_vjp) == "");
        auto sum = joined(x);
        const auto saved = b.duplicate(sum);
        repaint::ops::accumulate(b, sum, joined(dy));
        CHECK(same_bits(b.download(saved), x));
        CHECK(b.download(sum)(1, 50, 5, 3) ==
              approx(static_cast<double>(x(1, 50, 5, 3) + dy(1, 50, 5, 3))).margin(1e-6));
    }
    SECTION("joined cotangents of a convolution, of attention and of a resize") {
        const auto w = suite::conv_weights({64, 32, 3, 3}, 5);
        const auto bias = random_tensor({64, 1, 1, 1}, 6);
        const auto conv = b.pack_conv2d(oracle::weights(w), oracle::weights(bias));
        CHECK(difference(b.download(repaint::ops::conv2d_vjp(b, joined(dy), conv, {.padding = 1}, {2, 32, 6, 4})),
                         in_double::conv2d_vjp(dy, w, {.padding = 1}, {2, 32, 6, 4}),
                         tolerances<TestType>::conv2d_vjp) == "");
        const auto qkv = random_tensor({2, 192, 6, 4}, 7);
        CHECK(difference(b.download(repaint::ops::attention_vjp(b, b.upload(qkv), 4, joined(dy))),
                         in_double::attention_vjp(qkv, 4, dy), tolerances<TestType>::attention_vjp) == "");
        for (const auto mode : {repaint::resampling::nearest_up, repaint::resampling::average_down}) {
            CHECK(difference(b.download(repaint::ops::resize_vjp(b, joined(dy), mode)), in_double::resize_vjp(dy, mode),
                             tolerances<TestType>::exact_but_order) == "");
        }
    }
    SECTION("resized inputs and cotangents") {
        const auto small = random_tensor({2, 64, 3, 2}, 8);
        host_tensor large(s);
        for (int n = 0; n < s.n; ++n) {
            for (int c = 0; c < s.c; ++c) {
                for (int i = 0; i < s.h; ++i) {
                    for (int j = 0; j < s.w; ++j) {
                        large(n, c, i, j) = small(n, c, i / 2, j / 2);
                    }
                }
            }
        }
        const auto doubled = [&] { return repaint::ops::resize(b, b.upload(small), repaint::resampling::nearest_up); };
        CHECK(difference(b.download(repaint::ops::group_norm_vjp(b, doubled(), norm, nullptr, silu, b.upload(dy))),
                         in_double::group_norm_vjp(large, gamma, beta, nullptr, silu, dy),
                         tolerances<TestType>::group_norm_vjp) == "");
        CHECK(difference(b.download(repaint::ops::group_norm_vjp(b, b.upload(x), norm, nullptr, silu, doubled())),
                         in_double::group_norm_vjp(x, gamma, beta, nullptr, silu, large),
                         tolerances<TestType>::group_norm_vjp) == "");
        const auto [first, rest] = repaint::ops::split(b, doubled(), 40);
        CHECK(b.download(rest)(1, 10, 5, 3) == large(1, 50, 5, 3));
        auto sum = b.upload(x);
        repaint::ops::accumulate(b, sum, doubled());
        CHECK(b.download(sum)(1, 50, 5, 3) ==
              approx(static_cast<double>(x(1, 50, 5, 3) + large(1, 50, 5, 3))).margin(1e-6));
        CHECK(same_bits(b.download(b.duplicate(doubled())), large));
    }
    SECTION("a cotangent on its way back through a join") {
        const auto [first, rest] =
            repaint::ops::split(b, repaint::ops::group_norm_vjp(b, b.upload(x), norm, nullptr, silu, b.upload(dy)), 24);
        const auto [expected_first, expected_rest] = [&] {
            host_tensor head({2, 24, 6, 4});
            host_tensor tail({2, 40, 6, 4});
            for (int n = 0; n < 2; ++n) {
                const auto at = expected.image(n).begin() + 24 * 24;
                std::copy(expected.image(n).begin(), at, head.image(n).begin());
                std::copy(at, expected.image(n).end(), tail.image(n).begin());
            }
            return std::pair(head, tail);
        }();
        CHECK(difference(b.download(first), expected_first, tolerances<TestType>::group_norm_vjp) == "");
        CHECK(difference(b.download(rest), expected_rest, tolerances<TestType>::group_norm_vjp) == "");
    }
}
