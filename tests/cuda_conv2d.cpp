#include "support/cuda_on_host.hpp"

#include <cmath>
#include <cstddef>
#include <cstring>
#include <limits>
#include <optional>
#include <type_traits>
#include <vector>

#include <repaint/backend/cuda/conv2d_direct.cuh>
#include <repaint/backend/cuda/fold_doubled.cuh>
#include <repaint/backend/cuda/image_conv2d.cuh>
#include <repaint/backend/cuda/linear.cuh>
#include <repaint/backend/cuda/pack.cuh>

#include "support/catch.hpp"
#include "support/compare.hpp"
#include "support/device_values.hpp"
#include "support/oracle.hpp"

/// The convolutions of the CUDA backend that no library does, on the host, against loops in double.

namespace {

using namespace repaint::detail::cuda;
using repaint::activation;
using repaint::conv2d_options;
using repaint::host_tensor;
using repaint::shape4;

constexpr float not_a_number = std::numeric_limits<float>::quiet_NaN();

/// What a result in T owes the exact one for the same (rounded) input: half a unit in its last place, 2^-11 of the
/// value in half and 2^-8 in bfloat16, and the squares of these; in float what its sums lose.
template <class T> constexpr tolerance allowed = {2e-6, 1e-12};
template <> constexpr tolerance allowed<__half> = {5e-4, 2.5e-7};
template <> constexpr tolerance allowed<__nv_bfloat16> = {4e-3, 1.6e-5};

/// Each value as T has it.
template <class T> host_tensor rounded(host_tensor x) {
    for (float& value : x.values()) {
        value = host_float(host_element<T>(value));
    }
    return x;
}

host_tensor conv_weights(shape4 s, std::uint64_t seed) {
    host_tensor w = random_tensor(s, seed);
    for (float& value : w.values()) {
        value /= std::sqrt(static_cast<float>(s.c) * static_cast<float>(s.plane()));
    }
    return w;
}

/// NHWC memory, NaN wherever nothing was written: before it, behind it and between its pixels.
template <class T> class activation_memory {
public:
    /// offset: elements by which it misses an address of sixteen bytes.
    explicit activation_memory(shape4 shape, int gap = 0, int offset = 0)
        : shape_(shape), stride_(shape.c + gap), begin_(static_cast<std::size_t>(16 + offset)),
          values_(begin_ + shape.plane() * static_cast<std::size_t>(shape.n * stride_) + 16,
                  host_element<T>(not_a_number)) {}

    explicit activation_memory(const host_tensor& x, int gap = 0, int offset = 0)
        : activation_memory(x.shape(), gap, offset) {
        for_each([&](std::size_t at, int n, int c, int i, int j) { values_[at] = host_element<T>(x(n, c, i, j)); });
    }

    [[nodiscard]] T* data() { return values_.data() + begin_; }
    [[nodiscard]] part<T> as_part() const { return {values_.data() + begin_, shape_.c, stride_}; }

    /// The content; NaN when anything but the content was written.
    [[nodiscard]] host_tensor content() const {
        host_tensor x(shape_);
        std::vector<bool> own(values_.size(), false);
        for_each([&](std::size_t at, int n, int c, int i, int j) {
            x(n, c, i, j) = host_float(values_[at]);
            own[at] = true;
        });
        for (std::size_t i = 0; i < values_.size(); ++i) {
            if (!own[i] && !std::isnan(host_float(values_[i]))) {
                x.values()[0] = not_a_number;
            }
        }
        return x;
    }

private:
    template <class Visit> void for_each(Visit&& visit) const {
        std::size_t pixel = begin_;
        for (int n = 0; n < shape_.n; ++n) {
            for (int i = 0; i < shape_.h; ++i) {
                for (int j = 0; j < shape_.w; ++j, pixel += static_cast<std::size_t>(stride_)) {
                    for (int c = 0; c < shape_.c; ++c) {
                        visit(pixel + static_cast<std::size_t>(c), n, c, i, j);
                    }
                }
            }
        }
    }

    shape4 shape_;
    int stride_;
    std::size_t begin_;
    std::vector<T> values_;
};

host_tensor poisoned(shape4 s) { return {s, std::vector<float>(s.size(), not_a_number)}; }

host_tensor image_of(const host_tensor& x, int n) {
    const shape4 s = x.shape();
    return {{1, s.c, s.h, s.w}, std::vector<float>(x.image(n).begin(), x.image(n).end())};
}

shape4 result_shape(shape4 x, shape4 w, const conv2d_options& o) {
    return {x.n, w.n, (x.h + 2 * o.padding - w.h) / o.stride + 1, (x.w + 2 * o.padding - w.w) / o.stride + 1};
}

/// dx of a convolution, scattered as the definition reads.
host_tensor conv2d_vjp(const host_tensor& dy, const host_tensor& w, const conv2d_options& o, shape4 in) {
    std::vector<double> sums(in.size(), 0.0);
    const shape4 out = dy.shape();
    const shape4 k = w.shape();
    for (int n = 0; n < out.n; ++n) {
        for (int c = 0; c < out.c; ++c) {
            for (int i = 0; i < out.h; ++i) {
                for (int j = 0; j < out.w; ++j) {
                    for (int d = 0; d < k.c; ++d) {
                        for (int a = 0; a < k.h; ++a) {
                            for (int b = 0; b < k.w; ++b) {
                                const int row = i * o.stride + a - o.padding;
                                const int column = j * o.stride + b - o.padding;
                                if (row >= 0 && row < in.h && column >= 0 && column < in.w) {
                                    sums[static_cast<std::size_t>(((n * in.c + d) * in.h + row) * in.w + column)] +=
                                        static_cast<double>(dy(n, c, i, j)) * static_cast<double>(w(c, d, a, b));
                                }
                            }
                        }
                    }
                }
            }
        }
    }
    return {in, std::vector<float>(sums.begin(), sums.end())};
}

struct conv_case {
    shape4 x;
    int out;
    int kernel;
    conv2d_options options;
    int gap = 0;    ///< channels of something else between the pixels
    int offset = 0; ///< elements beside an aligned address
};

template <class T, class W = T> struct conv_run {
    host_tensor x, w, bias;
    std::vector<W> packed;
    conv2d_options options;

    host_tensor operator()(const host_tensor& input, const conv2d_residual<T>& residual, int gap = 0,
                           int offset = 0) const {
        const activation_memory<T> from(input, gap, offset);
        activation_memory<T> to(result_shape(input.shape(), w.shape(), options), 0, offset);
        conv2d_direct(from.as_part(), input.shape(), packed.data(), w.shape(), bias.data(), residual, options,
                      to.data(), nullptr);
        return to.content();
    }
};

} // namespace

TEMPLATE_TEST_CASE("conv2d_direct", "[cuda]", float, __half, __nv_bfloat16) {
    const auto c = GENERATE(values<conv_case>({{{1, 1, 1, 1}, 1, 1, {}},                 // one number
                                               {{1, 3, 8, 8}, 32, 3, {.padding = 1}},    // three channels
                                               {{1, 32, 8, 8}, 6, 3, {.padding = 1}},    // and few results
                                               {{2, 5, 7, 5}, 4, 3, {.padding = 1}},     // odd sizes, odd channels
                                               {{2, 32, 9, 7}, 48, 3, {2, 1}},           // stride 2 on odd rows
                                               {{1, 32, 8, 8}, 32, 3, {2, 1}},           // and on even ones
                                               {{1, 16, 1, 1}, 16, 3, {.padding = 1}},   // one pixel under 3x3
                                               {{2, 64, 3, 2}, 96, 3, {.padding = 1}},   // smaller than a tile
                                               {{1, 64, 17, 33}, 64, 3, {.padding = 1}}, // a bit more than some tiles
                                               {{3, 33, 4, 4}, 17, 1, {}},               // pointwise, odd channels
                                               {{2, 128, 1, 1}, 256, 1, {1, 0, activation::silu}},
                                               {{1, 40, 6, 6}, 24, 3, {1, 1, activation::silu}},
                                               {{1, 40, 6, 6}, 24, 3, {1, 1, activation::relu}},
                                               {{1, 16, 8, 8}, 8, 4, {2, 1}},           // an even kernel
                                               {{1, 24, 5, 5}, 8, 3, {}},               // no padding
                                               {{1, 12, 7, 6}, 70, 3, {3, 1}},          // stride 3, more than one tile
                                               {{1, 6, 13, 12}, 5, 11, {4, 2}},         // AlexNet's first
                                               {{1, 8, 5, 4}, 8, 11, {1, 5}},           // larger than what it reads
                                               {{1, 4, 6, 6}, 8, 1, {2, 0}},            // taps that skip pixels
                                               {{2, 16, 5, 5}, 20, 3, {1, 1}, 8},       // pixels apart
                                               {{2, 16, 5, 5}, 20, 3, {1, 1}, 3},       // by an odd distance
                                               {{1, 16, 5, 5}, 20, 3, {1, 1}, 0, 1}})); // an odd address
    const auto x = rounded<TestType>(random_tensor(c.x, 1));
    const auto w = rounded<TestType>(conv_weights({c.out, c.x.c, c.kernel, c.kernel}, 2));
    const auto bias = random_tensor({c.out, 1, 1, 1}, 3);
    const conv_run<TestType> run{x, w, bias, pack_ohwi<TestType>(oracle::weights(w)), c.options};
    CAPTURE(to_string(c.x), c.out, c.kernel, c.options.stride, c.options.padding, c.gap, c.offset);
    const auto y = run(x, {}, c.gap, c.offset);
    CHECK(difference(y, oracle::conv2d(x, w, bias, nullptr, c.options), allowed<TestType>) == "");

    for (int n = 0; c.x.n > 1 && n < c.x.n; ++n) {
        CHECK(same_bits(run(image_of(x, n), {}, c.gap, c.offset), image_of(y, n)));
    }
    SECTION("residual of the result's shape") {
        const auto residual = rounded<TestType>(random_tensor(y.shape(), 4));
        activation_memory<TestType> r(residual, 0, c.offset);
        CHECK(difference(run(x, {.pixels = r.data()}, c.gap, c.offset),
                         oracle::conv2d(x, w, bias, &residual, c.options), allowed<TestType>) == "");
    }
    SECTION("residual for every pixel, one for all images or one each") {
        for (const int images : {1, c.x.n}) {
            const auto residual = random_tensor({images, c.out, 1, 1}, 5);
            CHECK(difference(run(x, {.vector = residual.data(), .vector_per_image = images > 1}, c.gap, c.offset),
                             oracle::conv2d(x, w, bias, &residual, c.options), allowed<TestType>) == "");
        }
    }
    SECTION("the vector-Jacobian product") {
        const auto dy = rounded<TestType>(random_tensor(y.shape(), 6));
        const activation_memory<TestType> from(dy, c.gap, c.offset);
        activation_memory<TestType> dx(c.x, 0, c.offset);
        conv2d_direct_vjp(from.as_part(), dy.shape(), run.packed.data(), w.shape(), c.options, dx.data(), c.x, nullptr);
        CHECK(difference(dx.content(), conv2d_vjp(dy, w, c.options, c.x), allowed<TestType>) == "");
        for (int n = 0; c.x.n > 1 && n < c.x.n; ++n) {
            const activation_memory<TestType> alone(image_of(dy, n), c.gap, c.offset);
            const shape4 one{1, c.x.c, c.x.h, c.x.w};
            activation_memory<TestType> its(one, 0, c.offset);
            shape4 dy_shape = dy.shape();
            dy_shape.n = 1;
            conv2d_direct_vjp(alone.as_part(), dy_shape, run.packed.data(), w.shape(), c.options, its.data(), one,
                              nullptr);
            CHECK(same_bits(its.content(), image_of(dx.content(), n)));
        }
    }
}

TEST_CASE("conv2d_direct takes kernels that are not square, no bias, and weights of another type", "[cuda]") {
    const auto x = rounded<__half>(random_tensor({1, 12, 6, 7}, 1));
    const auto w = conv_weights({10, 12, 1, 5}, 2);
    const host_tensor none({10, 1, 1, 1});
    const conv2d_options options{.padding = 2};
    const activation_memory<__half> from(x);
    const auto packed = pack_ohwi<float>(oracle::weights(w));
    const auto expected = oracle::conv2d(x, w, none, nullptr, options);
    activation_memory<__half> y(expected.shape());
    conv2d_direct(from.as_part(), x.shape(), packed.data(), w.shape(), nullptr, {}, options, y.data(), nullptr);
    CHECK(difference(y.content(), expected, allowed<__half>) == "");
}

TEST_CASE("conv2d_direct loses little in sums of 9216 products", "[cuda]") {
    const auto x = random_tensor({1, 1024, 2, 2}, 1);
    const auto w = conv_weights({64, 1024, 3, 3}, 2);
    const auto bias = random_tensor({64, 1, 1, 1}, 3);
    const conv2d_options options{.padding = 1};
    const conv_run<float> run{x, w, bias, pack_ohwi<float>(oracle::weights(w)), options};
    // About sqrt(128) + sqrt(72) roundings of 3e-8.
    CHECK(difference(run(x, {}), oracle::conv2d(x, w, bias, nullptr, options), {1.5e-6, 5e-13}) == "");
}

TEMPLATE_TEST_CASE("conv2d_direct reads what was joined of two where it lies", "[cuda]", float, __half, __nv_bfloat16) {
    const int second_channels = GENERATE(16, 5, 1);
    const int first_channels = GENERATE(24, 7);
    const int kernel = GENERATE(1, 3);
    const auto first = rounded<TestType>(random_tensor({2, first_channels, 5, 6}, 1));
    const auto second = rounded<TestType>(random_tensor({2, second_channels, 5, 6}, 2));
    host_tensor joined({2, first_channels + second_channels, 5, 6});
    for (int n = 0; n < 2; ++n) {
        std::copy(second.image(n).begin(), second.image(n).end(),
                  std::copy(first.image(n).begin(), first.image(n).end(), joined.image(n).begin()));
    }
    const auto w = rounded<TestType>(conv_weights({36, joined.shape().c, kernel, kernel}, 3));
    const auto bias = random_tensor({36, 1, 1, 1}, 4);
    const conv2d_options options{.padding = kernel / 2, .then = activation::silu};
    const activation_memory<TestType> a(first, 4);
    const activation_memory<TestType> b(second);
    const auto packed = pack_ohwi<TestType>(oracle::weights(w));
    activation_memory<TestType> y({2, 36, 5, 6});
    conv2d_direct(a.as_part(), b.as_part(), joined.shape(), packed.data(), w.shape(), bias.data(), {}, options,
                  y.data(), nullptr);
    CHECK(difference(y.content(), oracle::conv2d(joined, w, bias, nullptr, options), allowed<TestType>) == "");
}

TEMPLATE_TEST_CASE("conv2d_doubled is a 3x3 convolution of the doubled tensor", "[cuda]", float, __half,
                   __nv_bfloat16) {
    struct doubled_case {
        shape4 x;
        int out;
        activation then;
    };
    const auto c = GENERATE(values<doubled_case>({{{1, 1, 1, 1}, 1, activation::none},
                                                  {{2, 16, 1, 3}, 8, activation::none},
                                                  {{2, 33, 5, 4}, 17, activation::relu},
                                                  {{1, 64, 8, 8}, 64, activation::silu},
                                                  {{3, 24, 3, 7}, 72, activation::none}}));
    const auto x = rounded<TestType>(random_tensor(c.x, 1));
    const auto w = conv_weights({c.out, c.x.c, 3, 3}, 2);
    const auto bias = random_tensor({c.out, 1, 1, 1}, 3);
    host_tensor doubled({c.x.n, c.x.c, 2 * c.x.h, 2 * c.x.w});
    for (int n = 0; n < c.x.n; ++n) {
        for (int d = 0; d < c.x.c; ++d) {
            for (int i = 0; i < 2 * c.x.h; ++i) {
                for (int j = 0; j < 2 * c.x.w; ++j) {
                    doubled(n, d, i, j) = x(n, d, i / 2, j / 2);
                }
            }
        }
    }
    const conv2d_options options{.padding = 1, .then = c.then};
    const auto unfolded = pack_ohwi<TestType>(oracle::weights(w));
    device_values<TestType> folded(unfolded.size() / 9 * 16);
    fold_doubled(unfolded.data(), c.out, c.x.c, folded.data(), nullptr);
    CHECK(folded.guards_hold());
    // The folded weights are rounded, too: another error of the size of the result's own, and float32's of a sum of 9.
    const tolerance twice{2 * allowed<TestType>.element, 4 * allowed<TestType>.nmse};
    const auto run = [&](const host_tensor& input, const conv2d_residual<TestType>& residual) {
        const shape4 s = input.shape();
        const activation_memory<TestType> from(input);
        activation_memory<TestType> y({s.n, c.out, 2 * s.h, 2 * s.w});
        conv2d_doubled(from.as_part(), s, folded.data(), c.out, bias.data(), residual, c.then, y.data(), nullptr);
        return y.content();
    };
    CAPTURE(to_string(c.x), c.out);
    const auto y = run(x, {});
    CHECK(difference(y, oracle::conv2d(doubled, w, bias, nullptr, options), twice) == "");
    for (int n = 0; n < c.x.n; ++n) {
        CHECK(same_bits(run(image_of(x, n), {}), image_of(y, n)));
    }
    const auto residual = rounded<TestType>(random_tensor(y.shape(), 4));
    activation_memory<TestType> r(residual);
    CHECK(difference(run(x, {.pixels = r.data()}), oracle::conv2d(doubled, w, bias, &residual, options), twice) == "");
    const auto vector = random_tensor({c.x.n, c.out, 1, 1}, 5);
    CHECK(difference(run(x, {.vector = vector.data(), .vector_per_image = true}),
                     oracle::conv2d(doubled, w, bias, &vector, options), twice) == "");
}

TEMPLATE_TEST_CASE("conv2d between images and activations", "[cuda]", float, __half, __nv_bfloat16) {
    struct image_case {
        int n, image, channels, h, w, kernel, padding;
        activation then = activation::none;
    };
    const auto c = GENERATE(values<image_case>({{1, 3, 32, 8, 8, 3, 1},
                                                {2, 3, 32, 9, 35, 3, 1},                    // a bit more than a tile
                                                {2, 6, 40, 17, 33, 3, 1, activation::silu}, // and two
                                                {2, 1, 8, 5, 4, 3, 1, activation::relu},
                                                {1, 4, 96, 4, 3, 1, 0}, // pointwise, more channels than a tile
                                                {1, 7, 33, 7, 6, 5, 2}, // the largest kernel, odd channels
                                                {1, 2, 13, 6, 9, 2, 0}, // an even kernel
                                                {1, 5, 24, 6, 6, 3, 0}, // no padding
                                                {1, 3, 16, 2, 2, 5, 4}, // more padding than pixels
                                                {1, 3, 16, 1, 1, 3, 1}}));
    const conv2d_options options{.padding = c.padding, .then = c.then};
    CAPTURE(c.n, c.image, c.channels, c.h, c.w, c.kernel, c.padding);

    SECTION("from an image") {
        const auto x = random_tensor({c.n, c.image, c.h, c.w}, 1);
        const auto w = conv_weights({c.channels, c.image, c.kernel, c.kernel}, 2);
        const auto bias = random_tensor({c.channels, 1, 1, 1}, 3);
        REQUIRE(takes_image_conv2d(c.image, w.shape(), options));
        const auto packed = pack_ohwi<float>(oracle::weights(w));
        const auto run = [&](const host_tensor& image, const conv2d_residual<TestType>& residual) {
            activation_memory<TestType> y(result_shape(image.shape(), w.shape(), options));
            conv2d_from_image(image.data(), image.shape(), packed.data(), w.shape(), bias.data(), residual, options,
                              y.data(), nullptr);
            return y.content();
        };
        const auto y = run(x, {});
        CHECK(difference(y, oracle::conv2d(x, w, bias, nullptr, options), allowed<TestType>) == "");
        const auto residual = rounded<TestType>(random_tensor(y.shape(), 4));
        activation_memory<TestType> r(residual);
        CHECK(difference(run(x, {.pixels = r.data()}), oracle::conv2d(x, w, bias, &residual, options),
                         allowed<TestType>) == "");
        const auto vector = random_tensor({c.n, c.channels, 1, 1}, 5);
        CHECK(difference(run(x, {.vector = vector.data(), .vector_per_image = true}),
                         oracle::conv2d(x, w, bias, &vector, options), allowed<TestType>) == "");

        const auto dy = rounded<TestType>(random_tensor(y.shape(), 6));
        const auto run_vjp = [&](const host_tensor& cotangent) {
            const activation_memory<TestType> from(cotangent);
            auto dx = poisoned({cotangent.shape().n, c.image, c.h, c.w});
            conv2d_from_image_vjp(from.as_part(), packed.data(), w.shape(), options, dx.data(), dx.shape(), nullptr);
            return dx;
        };
        const auto dx = run_vjp(dy);
        CHECK(difference(dx, conv2d_vjp(dy, w, options, x.shape()), allowed<float>) == "");
        for (int n = 0; n < c.n; ++n) {
            CHECK(same_bits(run(image_of(x, n), {}), image_of(y, n)));
            CHECK(same_bits(run_vjp(image_of(dy, n)), image_of(dx, n)));
        }
    }
    SECTION("to an image") {
        const auto x = rounded<TestType>(random_tensor({c.n, c.channels, c.h, c.w}, 1));
        const auto w = conv_weights({c.image, c.channels, c.kernel, c.kernel}, 2);
        const auto bias = random_tensor({c.image, 1, 1, 1}, 3);
        REQUIRE(takes_image_conv2d(c.image, w.shape(), options));
        const auto packed = pack_ohwi<float>(oracle::weights(w));
        const auto run = [&](const host_tensor& input, const conv2d_residual<float>& residual, int gap = 0) {
            const activation_memory<TestType> from(input, gap);
            auto y = poisoned(result_shape(input.shape(), w.shape(), options));
            conv2d_to_image(from.as_part(), input.shape(), packed.data(), w.shape(), bias.data(), residual, options,
                            y.data(), nullptr);
            return y;
        };
        const auto y = run(x, {});
        CHECK(difference(y, oracle::conv2d(x, w, bias, nullptr, options), allowed<float>) == "");
        CHECK(same_bits(run(x, {}, 5), y)); // pixels apart, by an odd distance
        const auto residual = random_tensor(y.shape(), 4);
        CHECK(difference(run(x, {.pixels = residual.data()}), oracle::conv2d(x, w, bias, &residual, options),
                         allowed<float>) == "");
        const auto vector = random_tensor({1, c.image, 1, 1}, 5);
        CHECK(difference(run(x, {.vector = vector.data()}), oracle::conv2d(x, w, bias, &vector, options),
                         allowed<float>) == "");

        const auto dy = random_tensor(y.shape(), 6);
        const auto run_vjp = [&](const host_tensor& cotangent) {
            const shape4 s{cotangent.shape().n, c.channels, c.h, c.w};
            activation_memory<TestType> dx(s);
            conv2d_to_image_vjp(cotangent.data(), packed.data(), w.shape(), options, dx.data(), s, nullptr);
            return dx.content();
        };
        const auto dx = run_vjp(dy);
        CHECK(difference(dx, conv2d_vjp(dy, w, options, x.shape()), allowed<TestType>) == "");
        for (int n = 0; n < c.n; ++n) {
            CHECK(same_bits(run(image_of(x, n), {}), image_of(y, n)));
            CHECK(same_bits(run_vjp(image_of(dy, n)), image_of(dx, n)));
        }
    }
}

TEST_CASE("what a convolution between images and activations is not for", "[cuda]") {
    CHECK(takes_image_conv2d(7, {32, 7, 5, 5}, {.padding = 2}));
    CHECK_FALSE(takes_image_conv2d(8, {32, 8, 3, 3}, {.padding = 1}));
    CHECK_FALSE(takes_image_conv2d(3, {32, 3, 7, 7}, {.padding = 3}));
    CHECK_FALSE(takes_image_conv2d(3, {32, 3, 3, 3}, {.stride = 2, .padding = 1}));
}

TEMPLATE_TEST_CASE("linear", "[cuda]", float, __half, __nv_bfloat16) {
    struct linear_case {
        int count, in, out;
        int offset = 0;
        activation then = activation::none;
    };
    const auto c = GENERATE(values<linear_case>({{1, 1, 1},
                                                 {1, 256, 40, 0, activation::silu},
                                                 {2, 128, 256},
                                                 {8, 33, 17, 0, activation::relu},
                                                 {9, 64, 10},
                                                 {20, 72, 5},
                                                 {3, 512, 9, 1}, // an odd address
                                                 {1, 8, 33}}));
    const auto x = random_tensor({c.count, c.in, 1, 1}, 1);
    const auto w = rounded<TestType>(conv_weights({c.out, c.in, 1, 1}, 2));
    const auto bias = random_tensor({c.out, 1, 1, 1}, 3);
    auto packed = pack_ohwi<TestType>(oracle::weights(w));
    packed.insert(packed.begin(), static_cast<std::size_t>(c.offset), host_element<TestType>(not_a_number));
    const TestType* const weights = packed.data() + c.offset;
    const conv2d_options options{.then = c.then};
    const auto run = [&](const host_tensor& input, const float* b, const float* residual, bool each) {
        auto y = poisoned({input.shape().n, c.out, 1, 1});
        linear(input.data(), input.shape().n, c.in, weights, c.out, b, residual, each, c.then, y.data(), nullptr);
        return y;
    };
    CAPTURE(c.count, c.in, c.out);
    // Vectors are float32, whatever the weights are.
    const auto y = run(x, bias.data(), nullptr, false);
    CHECK(difference(y, oracle::conv2d(x, w, bias, nullptr, options), allowed<float>) == "");
    CHECK(difference(run(x, nullptr, nullptr, false), oracle::conv2d(x, w, host_tensor(bias.shape()), nullptr, options),
                     allowed<float>) == "");
    for (const int images : {1, c.count}) {
        const auto residual = random_tensor({images, c.out, 1, 1}, 4);
        CHECK(difference(run(x, bias.data(), residual.data(), images > 1),
                         oracle::conv2d(x, w, bias, &residual, options), allowed<float>) == "");
    }
    const auto dy = random_tensor(y.shape(), 5);
    const auto run_vjp = [&](const host_tensor& cotangent) {
        auto dx = poisoned({cotangent.shape().n, c.in, 1, 1});
        linear_vjp(cotangent.data(), cotangent.shape().n, c.out, weights, c.in, dx.data(), nullptr);
        return dx;
    };
    const auto dx = run_vjp(dy);
    CHECK(difference(dx, conv2d_vjp(dy, w, {}, x.shape()), allowed<float>) == "");
    for (int n = 0; n < c.count; ++n) {
        CHECK(same_bits(run(image_of(x, n), bias.data(), nullptr, false), image_of(y, n)));
        CHECK(same_bits(run_vjp(image_of(dy, n)), image_of(dx, n)));
    }
}

TEST_CASE("weights are packed with the input channel last", "[cuda]") {
    const host_tensor w({2, 2, 1, 3}, {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12});
    CHECK(pack_ohwi<float>(oracle::weights(w)) == std::vector<float>{1, 4, 2, 5, 3, 6, 7, 10, 8, 11, 9, 12});
    const auto halves = pack_ohwi<__half>(oracle::weights(w));
    REQUIRE(halves.size() == 12);
    CHECK(host_float(halves[7]) == 10.0F);
    CHECK(pack_ohwi<float>({{0, 3, 3, 3}, nullptr}).empty());
}

TEST_CASE("weights are rounded to nearest, ties to even", "[cuda]") {
    const std::vector<float> values{1.0F + 0x1p-11F, 1.0F + 0x1.8p-10F, 1.0F + 0x1.002p-11F,
                                    0x1p-25F,        0x1.8p-25F,        -0.0F};
    const auto halves = pack_vector<__half>(values);
    CHECK(host_float(halves[0]) == 1.0F);
    CHECK(host_float(halves[1]) == 1.0F + 0x1p-9F);
    CHECK(host_float(halves[2]) == 1.0F + 0x1p-10F);
    CHECK(host_float(halves[3]) == 0.0F);
    CHECK(host_float(halves[4]) == 0x1p-24F);
    CHECK(std::signbit(host_float(halves[5])));
    const auto short_ones = pack_vector<__nv_bfloat16>(std::vector<float>{1.0F + 0x1p-8F, 1.0F + 0x1.8p-7F});
    CHECK(host_float(short_ones[0]) == 1.0F);
    CHECK(host_float(short_ones[1]) == 1.0F + 0x1p-6F);
}

TEST_CASE("weights beyond the range of their type are refused, with the place", "[cuda]") {
    host_tensor w({2, 3, 3, 3});
    w(1, 2, 0, 1) = -65519.0F; // the last one that rounds to 65504
    CHECK(host_float(pack_ohwi<__half>(oracle::weights(w))[(1 * 9 + 1) * 3 + 2]) == -65504.0F);
    w(1, 2, 0, 1) = -65520.0F;
    REQUIRE_THROWS_AS(pack_ohwi<__half>(oracle::weights(w)), repaint::format_error);
    REQUIRE_THROWS_WITH(
        pack_ohwi<__half>(oracle::weights(w)),
        "the value -65520 at (1, 2, 0, 1) of the weights (2, 3, 3, 3) is beyond the range of half: load "
        "this model in bfloat16 or float");
    CHECK(pack_ohwi<__nv_bfloat16>(oracle::weights(w)).size() == 54);
    w(1, 2, 0, 1) = std::numeric_limits<float>::max();
    REQUIRE_THROWS_WITH(pack_ohwi<__nv_bfloat16>(oracle::weights(w)),
                        contains("is beyond the range of bfloat16: load this model in float"));
    CHECK(pack_ohwi<float>(oracle::weights(w)).size() == 54);
    REQUIRE_THROWS_WITH(pack_vector<__half>(std::vector<float>{0.0F, 1e6F}),
                        contains("the value 1e+06 at 1 of a vector of 2"));
    // What a checkpoint has that is not finite stays what it is.
    w(1, 2, 0, 1) = std::numeric_limits<float>::infinity();
    CHECK(std::isinf(host_float(pack_ohwi<__half>(oracle::weights(w))[(1 * 9 + 1) * 3 + 2])));
}

TEST_CASE("folded weights", "[cuda]") {
    device_values<float> from(std::vector<float>{1, 2, 3, 4, 5, 6, 7, 8, 9});
    device_values<float> folded(16);
    fold_doubled(from.data(), 1, 1, folded.data(), nullptr);
    CHECK(folded.guards_hold());
    CHECK(folded.floats() == std::vector<float>{1, 5, 11, 28, 3, 3, 24, 15, 5, 16, 7, 17, 12, 9, 15, 9});
}
