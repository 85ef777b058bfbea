// The vector-Jacobian products of the reference backend in double against central finite differences, which makes
// them the measure of every other backend's (gradient_suite.hpp); and what ops refuses.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <numeric>
#include <optional>
#include <utility>
#include <vector>

#include <repaint/backend/dry.hpp>
#include <repaint/backend/reference.hpp>
#include <repaint/ops.hpp>

#include "support/catch.hpp"
#include "support/compare.hpp"
#include "support/oracle.hpp"

using repaint::activation;
using repaint::host_tensor;
using repaint::shape4;
namespace ops = repaint::ops;

namespace {

using backend = repaint::basic_reference_backend<double>;
using tensor = backend::tensor;

/// Central differences are off by step^2 / 6 of the third derivative, 1e-11 here, and by the rounding of the two sums
/// over the step, some 1e-16 * 30 / step = 4e-10.
constexpr double step = 1.0 / (1 << 17);
constexpr double allowed = 1e-8;

double dot(const tensor& a, const tensor& b) {
    const auto x = backend::values(a);
    const auto y = backend::values(b);
    return std::inner_product(x.begin(), x.end(), y.begin(), 0.0);
}

/// The largest difference between dx and the derivative of <dy, f(x)> by each element of x, or by some 200 elements
/// spread over all of x when it has more; relative to the largest element of dx when that exceeds 1.
template <class F> double gradient_error(tensor& x, const tensor& dy, const tensor& dx, F&& f) {
    REQUIRE(dx.shape() == x.shape());
    REQUIRE(dy.shape() == f(x).shape());
    const auto claimed = backend::values(std::as_const(dx));
    const auto at = backend::values(x);
    const std::size_t stride = at.size() <= 400 ? 1 : at.size() / 200 | 1U;
    double largest = 1.0;
    double worst = 0.0;
    for (std::size_t i = 0; i < at.size(); i += stride) {
        const double here = at[i];
        at[i] = here + step;
        const double above = dot(dy, f(x));
        at[i] = here - step;
        const double below = dot(dy, f(x));
        at[i] = here;
        const double error = std::fabs(claimed[i] - (above - below) / (2.0 * step));
        if (!(error <= worst)) { // a NaN is the worst there is
            worst = std::isnan(error) ? std::numeric_limits<double>::infinity() : error;
        }
        largest = std::max(largest, std::fabs(claimed[i]));
    }
    return worst / largest;
}

/// Every value at least 0.001 away from 0, where relu has its kink: 100 steps.
bool clear_of_zero(const tensor& x) {
    const auto values = backend::values(x);
    return std::all_of(values.begin(), values.end(), [](double value) { return std::fabs(value) > 0.001; });
}

host_tensor pushed_off_zero(host_tensor x) {
    for (float& value : x.values()) {
        value += value < 0.0F ? -0.05F : 0.05F;
    }
    return x;
}

backend::conv2d_weights conv_weights(backend& b, shape4 s) {
    host_tensor w = random_tensor(s, 2);
    for (float& value : w.values()) {
        value /= std::sqrt(static_cast<float>(s.c) * static_cast<float>(s.plane()));
    }
    return b.pack_conv2d(oracle::weights(w), oracle::weights(random_tensor({s.n, 1, 1, 1}, 3)));
}

} // namespace

TEST_CASE("conv2d_vjp is the gradient of conv2d", "[gradients]") {
    struct conv_case {
        shape4 x;
        int out;
        int kernel;
        repaint::conv2d_options options;
    };
    const auto c =
        GENERATE(values<conv_case>({{{1, 1, 1, 1}, 1, 1, {}},                          // one number
                                    {{2, 3, 1, 1}, 5, 3, {.padding = 1}},              // all but one padding
                                    {{2, 8, 1, 1}, 4, 1, {}},                          // a linear layer
                                    {{2, 3, 4, 5}, 2, 1, {}},                          // pointwise
                                    {{2, 3, 4, 5}, 2, 1, {.padding = 1}},              // a frame of bias
                                    {{1, 2, 5, 6}, 3, 1, {.stride = 2}},               // pixels read by none
                                    {{1, 1, 9, 7}, 2, 1, {.stride = 3}},               // more of them
                                    {{2, 3, 5, 7}, 4, 3, {.padding = 1}},              // odd sizes
                                    {{1, 2, 5, 5}, 3, 3, {}},                          // no padding
                                    {{2, 3, 7, 5}, 4, 3, {.stride = 2, .padding = 1}}, // stride 2, odd
                                    {{1, 3, 6, 8}, 4, 3, {.stride = 2, .padding = 1}}, // and even
                                    {{1, 2, 8, 6}, 3, 3, {.stride = 2}}, // last row and column read by none
                                    {{2, 2, 8, 6}, 3, 4, {.stride = 2, .padding = 1}}, // an even kernel
                                    {{1, 3, 8, 4}, 2, 4, {.stride = 4}},               // patches side by side
                                    {{1, 2, 3, 3}, 2, 4, {.padding = 1}},              // a kernel larger than the image
                                    {{1, 2, 2, 3}, 2, 3, {.padding = 2}},              // more padding than usual
                                    {{1, 64, 32, 32}, 3, 3, {.padding = 1}}}));        // more than one strip of rows
    backend b;
    CAPTURE(to_string(c.x), c.out, c.kernel, c.options.stride, c.options.padding);
    const auto w = conv_weights(b, {c.out, c.x.c, c.kernel, c.kernel});
    tensor x = b.upload(random_tensor(c.x, 1));
    const tensor dy = b.upload(random_tensor(ops::conv2d_shape(c.x, w.shape(), c.options), 4));
    const tensor dx = ops::conv2d_vjp(b, dy, w, c.options, c.x);
    CHECK(gradient_error(x, dy, dx, [&](const tensor& at) { return ops::conv2d(b, at, w, c.options); }) < allowed);

    SECTION("after activation_vjp, also with an activation and a residual, whose gradient is that of the sum") {
        const auto then = GENERATE(values({activation::silu, activation::relu}));
        auto options = c.options;
        tensor residual = b.upload(random_tensor(dy.shape(), 5));
        const tensor sum = ops::conv2d(b, x, w, options, &residual);
        // Where the sum is close to 0, move it away: the residual is free.
        for (std::size_t i = 0; i < backend::values(sum).size(); ++i) {
            backend::values(residual)[i] += backend::values(sum)[i] < 0.0 ? -0.05 : 0.05;
        }
        const tensor before = ops::conv2d(b, x, w, options, &residual);
        REQUIRE(clear_of_zero(before));
        options.then = then;
        const tensor d_sum = ops::activation_vjp(b, before, then, dy);
        CHECK(gradient_error(x, dy, ops::conv2d_vjp(b, d_sum, w, options, c.x),
                             [&](const tensor& at) { return ops::conv2d(b, at, w, options, &residual); }) < allowed);
        CHECK(gradient_error(residual, dy, d_sum,
                             [&](const tensor& at) { return ops::conv2d(b, x, w, options, &at); }) < allowed);
    }
}

TEST_CASE("conv2d_vjp of more than one strip of rows", "[gradients]") {
    backend b;
    const shape4 shape{1, 64, 32, 32};
    const repaint::conv2d_options options{.padding = 1};
    const auto w = conv_weights(b, {3, 64, 3, 3});
    tensor x = b.upload(random_tensor(shape, 1));
    const tensor dy = b.upload(random_tensor({1, 3, 32, 32}, 4));
    CHECK(gradient_error(x, dy, ops::conv2d_vjp(b, dy, w, options, shape),
                         [&](const tensor& at) { return ops::conv2d(b, at, w, options); }) < allowed);
}

TEST_CASE("activation_vjp is the gradient of what conv2d and group_norm apply", "[gradients]") {
    const auto f = GENERATE(values({activation::none, activation::silu, activation::relu}));
    backend b;
    auto values = pushed_off_zero(random_tensor({2, 3, 3, 5}, 1));
    for (float& value : values.values()) {
        value *= 6.0F; // both tails of silu
    }
    tensor x = b.upload(values);
    REQUIRE(clear_of_zero(x));
    const tensor dy = b.upload(random_tensor(x.shape(), 4));
    // A convolution with the unit matrix leaves nothing but the activation.
    host_tensor unit({3, 3, 1, 1});
    for (int c = 0; c < 3; ++c) {
        unit(c, c, 0, 0) = 1.0F;
    }
    const auto identity = b.pack_conv2d(oracle::weights(unit), {});
    CHECK(gradient_error(x, dy, ops::activation_vjp(b, x, f, dy),
                         [&](const tensor& at) { return ops::conv2d(b, at, identity, {.then = f}); }) < allowed);
}

TEST_CASE("group_norm_vjp is the gradient of group_norm", "[gradients]") {
    struct norm_case {
        shape4 x;
        int groups;
        float epsilon = 1e-5F;
    };
    const auto c = GENERATE(values<norm_case>({{{1, 1, 1, 1}, 1},        // one number: its gradient is 0
                                               {{2, 6, 1, 1}, 2, 0.01F}, // three numbers per group
                                               {{1, 6, 1, 1}, 6, 0.1F},  // groups of one number
                                               {{2, 4, 3, 3}, 1},        // one group
                                               {{2, 6, 3, 5}, 6},        // one channel per group
                                               {{3, 6, 5, 3}, 3, 0.5F},  // an epsilon that counts
                                               {{1, 8, 4, 4}, 2}}));
    const auto then = GENERATE(values({activation::none, activation::silu, activation::relu}));
    const int scale_images = GENERATE(0, 1, 2);
    if (scale_images == 2 && c.x.n == 1) {
        return;
    }
    backend b;
    CAPTURE(to_string(c.x), c.groups, static_cast<int>(then), scale_images);
    repaint::group_norm_options options{.groups = c.groups, .epsilon = c.epsilon};
    const auto w = b.pack_norm(oracle::weights(random_tensor({c.x.c, 1, 1, 1}, 2)),
                               oracle::weights(random_tensor({c.x.c, 1, 1, 1}, 3)));
    std::optional<tensor> scale_shift;
    if (scale_images > 0) {
        scale_shift.emplace(b.upload(random_tensor({scale_images == 1 ? 1 : c.x.n, 2 * c.x.c, 1, 1}, 5)));
    }
    const tensor* s = scale_shift ? &*scale_shift : nullptr;
    // The first input that keeps off the kink of relu.
    std::uint64_t seed = 10;
    tensor x = b.upload(random_tensor(c.x, seed));
    while (!clear_of_zero(ops::group_norm(b, x, w, options, s))) {
        REQUIRE(++seed < 1000);
        x = b.upload(random_tensor(c.x, seed));
    }
    options.then = then;
    const tensor dy = b.upload(random_tensor(c.x, 4));
    CHECK(gradient_error(x, dy, ops::group_norm_vjp(b, x, w, s, options, dy),
                         [&](const tensor& at) { return ops::group_norm(b, at, w, options, s); }) < allowed);
}

TEST_CASE("group_norm_vjp where all values of a group are the same", "[gradients]") {
    backend b;
    tensor x = b.upload(host_tensor({1, 4, 2, 2}, std::vector<float>(16, 3.0F)));
    const tensor dy = b.upload(random_tensor({1, 4, 2, 2}, 4));
    const auto w =
        b.pack_norm(oracle::weights(random_tensor({4, 1, 1, 1}, 2)), oracle::weights(random_tensor({4, 1, 1, 1}, 3)));
    // Divides by sqrt(epsilon): the third derivative is 1e6 times larger with the usual one.
    const repaint::group_norm_options options{.groups = 2, .epsilon = 0.1F, .then = activation::silu};
    CHECK(gradient_error(x, dy, ops::group_norm_vjp(b, x, w, nullptr, options, dy),
                         [&](const tensor& at) { return ops::group_norm(b, at, w, options); }) < allowed);
}

TEST_CASE("attention_vjp is the gradient of attention", "[gradients]") {
    struct attention_case {
        shape4 qkv;
        int heads;
    };
    const auto c = GENERATE(values<attention_case>({{{1, 3, 1, 1}, 1},       // one token of one channel
                                                    {{2, 3 * 4, 1, 1}, 2},   // one token: the weights are 1
                                                    {{2, 3 * 6, 3, 3}, 3},   // several heads
                                                    {{1, 3 * 5, 2, 5}, 1},   // one head, not square
                                                    {{1, 3 * 4, 1, 7}, 4},   // heads of one channel
                                                    {{1, 3 * 4, 19, 15}, 2}, // one strip of queries and a bit
                                                    {{3, 3 * 2, 2, 2}, 2}}));
    backend b;
    CAPTURE(to_string(c.qkv), c.heads);
    tensor qkv = b.upload(random_tensor(c.qkv, 1));
    const tensor dy = b.upload(random_tensor(ops::attention_shape(c.qkv, c.heads), 4));
    CHECK(gradient_error(qkv, dy, ops::attention_vjp(b, qkv, c.heads, dy),
                         [&](const tensor& at) { return ops::attention(b, at, c.heads); }) < allowed);
}

TEST_CASE("resize_vjp is the gradient of resize", "[gradients]") {
    const auto [mode, shape] =
        GENERATE(table<repaint::resampling, shape4>({{repaint::resampling::nearest_up, {2, 3, 1, 1}},
                                                     {repaint::resampling::nearest_up, {1, 2, 3, 5}},
                                                     {repaint::resampling::average_down, {2, 3, 2, 2}},
                                                     {repaint::resampling::average_down, {1, 2, 6, 10}}}));
    const auto way = mode;
    backend b;
    CAPTURE(to_string(shape));
    tensor x = b.upload(random_tensor(shape, 1));
    const tensor dy = b.upload(random_tensor(ops::resize(b, x, way).shape(), 4));
    CHECK(gradient_error(x, dy, ops::resize_vjp(b, dy, way),
                         [&](const tensor& at) { return ops::resize(b, at, way); }) < allowed);
}

TEST_CASE("mean_vjp and prepend_mean_vjp are the gradients of mean and prepend_mean", "[gradients]") {
    const auto shape = GENERATE(values<shape4>({{1, 1, 1, 1}, {2, 3, 1, 1}, {2, 3, 3, 5}, {1, 2, 4, 4}}));
    backend b;
    CAPTURE(to_string(shape));
    tensor x = b.upload(random_tensor(shape, 1));
    const tensor of_mean = b.upload(random_tensor({shape.n, shape.c, 1, 1}, 4));
    CHECK(gradient_error(x, of_mean, ops::mean_vjp(b, of_mean, shape),
                         [&](const tensor& at) { return ops::mean(b, at); }) < allowed);
    const tensor of_tokens = b.upload(random_tensor({shape.n, shape.c, 1, 1 + shape.h * shape.w}, 5));
    CHECK(gradient_error(x, of_tokens, ops::prepend_mean_vjp(b, of_tokens, shape),
                         [&](const tensor& at) { return ops::prepend_mean(b, at); }) < allowed);
}

TEST_CASE("split is the gradient of concat", "[gradients]") {
    backend b;
    tensor first = b.upload(random_tensor({2, 3, 2, 3}, 1));
    tensor second = b.upload(random_tensor({2, 1, 2, 3}, 2));
    const tensor dy = b.upload(random_tensor({2, 4, 2, 3}, 4));
    const auto [d_first, d_second] = ops::split(b, dy, 3);
    CHECK(gradient_error(first, dy, d_first, [&](const tensor& at) {
              return ops::concat(b, b.duplicate(at), b.duplicate(second));
          }) < allowed);
    CHECK(gradient_error(second, dy, d_second, [&](const tensor& at) {
              return ops::concat(b, b.duplicate(first), b.duplicate(at));
          }) < allowed);
}

TEST_CASE("accumulate and duplicate give the gradient of what is used twice", "[gradients]") {
    backend b;
    const auto w = conv_weights(b, {3, 3, 3, 3});
    const repaint::conv2d_options options{.padding = 1};
    tensor x = b.upload(random_tensor({2, 3, 3, 4}, 1));
    const tensor dy = b.upload(random_tensor({2, 3, 3, 4}, 4));
    tensor dx = b.duplicate(dy); // by way of the residual
    ops::accumulate(b, dx, ops::conv2d_vjp(b, dy, w, options, x.shape()));
    CHECK(gradient_error(x, dy, dx, [&](const tensor& at) { return ops::conv2d(b, at, w, options, &at); }) < allowed);
}

TEST_CASE("the double backend has more digits than float32 can hold", "[gradients]") {
    backend b;
    repaint::reference_backend single;
    const host_tensor x = random_tensor({1, 3, 4, 4}, 1);
    const host_tensor third({1, 3, 1, 1}, std::vector<float>(3, 1.0F / 3.0F));
    const tensor y = ops::conv2d(b, b.upload(x), b.pack_conv2d(oracle::weights(third), {}));
    const host_tensor rounded = b.download(y);
    CHECK(same_bits(rounded, single.download(ops::conv2d(single, single.upload(x),
                                                         single.pack_conv2d(oracle::weights(third), {})))));
    const auto exact = backend::values(y);
    double lost = 0.0;
    for (std::size_t i = 0; i < exact.size(); ++i) {
        lost = std::max(lost, std::fabs(exact[i] - static_cast<double>(rounded.values()[i])));
    }
    CHECK(lost > 1e-9);
}

TEST_CASE("ops refuses cotangents that do not fit, with the numbers", "[gradients]") {
    using repaint::shape_error;
    repaint::dry_backend b;
    const auto weights = [&](shape4 s) { return b.pack_conv2d({s, {}}, {{s.n, 1, 1, 1}, {}}); };
    const auto of = [&](shape4 s) { return b.allocate(s); };
    const auto norm = b.pack_norm({{32, 1, 1, 1}, {}}, {{32, 1, 1, 1}, {}});
    const auto x = of({2, 32, 6, 6});
    const auto other = of({2, 32, 6, 5});

    SECTION("conv2d_vjp") {
        const auto w = weights({8, 32, 3, 3});
        CHECK(ops::conv2d_vjp(b, of({2, 8, 6, 6}), w, {.padding = 1}, {2, 32, 6, 6}).shape() == shape4{2, 32, 6, 6});
        // Stride 2 makes 3 rows of 5 and of 6: only the caller knows which.
        CHECK(ops::conv2d_vjp(b, of({1, 8, 3, 3}), w, {.stride = 2, .padding = 1}, {1, 32, 5, 6}).shape() ==
              shape4{1, 32, 5, 6});
        REQUIRE_THROWS_AS(ops::conv2d_vjp(b, x, w, {.padding = 1}, {2, 32, 6, 6}), shape_error);
        REQUIRE_THROWS_WITH(ops::conv2d_vjp(b, of({2, 8, 6, 5}), w, {.padding = 1}, {2, 32, 6, 6}),
                            contains("conv2d_vjp: the cotangent (2, 8, 6, 5) does not fit the result (2, 8, 6, 6)"));
        REQUIRE_THROWS_WITH(ops::conv2d_vjp(b, of({2, 8, 6, 6}), w, {.padding = 1}, {2, 16, 6, 6}),
                            contains("has 16 channels, the weights (8, 32, 3, 3) expect 32"));
        REQUIRE_THROWS_WITH(ops::conv2d_vjp(b, of({2, 8, 6, 6}), w, {.stride = 0}, {2, 32, 6, 6}),
                            contains("stride must be at least 1"));
        REQUIRE_THROWS_WITH(ops::conv2d_vjp(b, of({2, 8, 1, 1}), w, {}, {2, 32, 2, 2}),
                            contains("is smaller than the kernel"));
    }
    SECTION("activation_vjp") {
        REQUIRE_THROWS_AS(ops::activation_vjp(b, x, activation::silu, other), shape_error);
        REQUIRE_THROWS_WITH(
            ops::activation_vjp(b, x, activation::silu, other),
            contains("activation_vjp: the cotangent (2, 32, 6, 5) does not fit the result (2, 32, 6, 6)"));
    }
    SECTION("group_norm_vjp") {
        const auto scale_shift = of({3, 64, 1, 1});
        REQUIRE_THROWS_AS(ops::group_norm_vjp(b, x, norm, nullptr, {}, other), shape_error);
        REQUIRE_THROWS_WITH(
            ops::group_norm_vjp(b, x, norm, nullptr, {}, other),
            contains("group_norm_vjp: the cotangent (2, 32, 6, 5) does not fit the result (2, 32, 6, 6)"));
        REQUIRE_THROWS_WITH(ops::group_norm_vjp(b, x, norm, &scale_shift, {}, x),
                            contains("scale_shift (3, 64, 1, 1) does not fit input (2, 32, 6, 6)"));
        REQUIRE_THROWS_WITH(ops::group_norm_vjp(b, x, norm, nullptr, {.groups = 5}, x),
                            contains("32 channels do not divide into 5 groups"));
        REQUIRE_THROWS_WITH(ops::group_norm_vjp(b, of({2, 16, 6, 6}), norm, nullptr, {}, x),
                            contains("the weights expect 32"));
    }
    SECTION("attention_vjp") {
        const auto qkv = of({2, 24, 3, 5});
        REQUIRE_THROWS_AS(ops::attention_vjp(b, qkv, 2, qkv), shape_error);
        REQUIRE_THROWS_WITH(ops::attention_vjp(b, qkv, 2, of({2, 8, 5, 3})),
                            contains("attention_vjp: the cotangent (2, 8, 5, 3) does not fit the result (2, 8, 3, 5)"));
        REQUIRE_THROWS_WITH(ops::attention_vjp(b, qkv, 3, of({2, 8, 3, 5})),
                            contains("does not divide into queries, keys and values of 3 heads"));
    }
    SECTION("resize_vjp") {
        REQUIRE_THROWS_AS(ops::resize_vjp(b, other, repaint::resampling::nearest_up), shape_error);
        REQUIRE_THROWS_WITH(ops::resize_vjp(b, other, repaint::resampling::nearest_up),
                            contains("resize_vjp: (2, 32, 6, 5) is not the shape of a doubled image"));
        CHECK(ops::resize_vjp(b, other, repaint::resampling::average_down).shape() == shape4{2, 32, 12, 10});
    }
    SECTION("split") {
        for (const int channels : {-1, 0, 32, 33}) {
            CAPTURE(channels);
            REQUIRE_THROWS_AS(ops::split(b, x, channels), shape_error);
        }
        REQUIRE_THROWS_WITH(ops::split(b, x, 32), contains("split: (2, 32, 6, 6) cannot be split after 32 channels"));
    }
    SECTION("mean_vjp and prepend_mean_vjp") {
        REQUIRE_THROWS_AS(ops::mean_vjp(b, x, x.shape()), shape_error);
        REQUIRE_THROWS_WITH(ops::mean_vjp(b, of({1, 32, 1, 1}), x.shape()),
                            contains("mean_vjp: the cotangent (1, 32, 1, 1) does not fit the result (2, 32, 1, 1)"));
        REQUIRE_THROWS_WITH(
            ops::prepend_mean_vjp(b, of({2, 32, 1, 36}), x.shape()),
            contains("prepend_mean_vjp: the cotangent (2, 32, 1, 36) does not fit the result (2, 32, 1, 37)"));
    }
    SECTION("accumulate") {
        auto sum = of({2, 32, 6, 6});
        REQUIRE_THROWS_AS(ops::accumulate(b, sum, other), shape_error);
        REQUIRE_THROWS_WITH(ops::accumulate(b, sum, other), contains("(2, 32, 6, 5)") && contains("(2, 32, 6, 6)"));
    }
}
