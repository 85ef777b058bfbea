#include "support/cuda_on_host.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <type_traits>
#include <vector>

#include <repaint/backend/cuda/elementwise.cuh>
#include <repaint/backend/cuda/epilogue.cuh>
#include <repaint/backend/cuda/layout.cuh>
#include <repaint/backend/cuda/resize.cuh>

#include "support/catch.hpp"
#include "support/device_values.hpp"
#include "support/oracle.hpp"

/// Conversions, copies, resizing and elementwise kernels of the CUDA backend, on the host.

namespace {

using namespace repaint::detail::cuda;
using repaint::activation;
using repaint::shape4;

/// Half a unit in the last place, relative to the value.
template <class T> constexpr double rounding = 0x1p-24;
template <> constexpr double rounding<__half> = 0x1p-11;
template <> constexpr double rounding<__nv_bfloat16> = 0x1p-8;

/// What T makes of a value.
template <class T> float rounded(double value) { return to_float(from_float<T>(static_cast<float>(value))); }

std::size_t size(int extent) { return static_cast<std::size_t>(extent); }

/// `pixels` pixels of `channels` channels that begin `stride` elements apart, NaN between.
template <class T> device_values<T> with_gaps(const std::vector<float>& values, int channels, int stride, int offset) {
    const std::size_t pixels = values.size() / size(channels);
    std::vector<float> spread(pixels * size(stride), std::nanf(""));
    for (std::size_t i = 0; i < values.size(); ++i) {
        spread[i / size(channels) * size(stride) + i % size(channels)] = values[i];
    }
    return device_values<T>(spread, size(offset));
}

/// Element (n, c, i, j) of a tensor of shape s, planar or with its channels last.
std::size_t at(const shape4& s, bool planar, int n, int c, int i, int j) {
    return planar ? ((size(n) * size(s.c) + size(c)) * size(s.h) + size(i)) * size(s.w) + size(j)
                  : ((size(n) * size(s.h) + size(i)) * size(s.w) + size(j)) * size(s.c) + size(c);
}

/// nearest_up (times `factor`) or the sum of 2x2 (times `factor`), in double.
template <class T>
std::vector<float> resized(const std::vector<float>& x, const shape4& s, bool planar, bool up, double factor) {
    const shape4 small = up ? s : shape4{s.n, s.c, s.h / 2, s.w / 2};
    const shape4 large = {small.n, small.c, 2 * small.h, 2 * small.w};
    std::vector<double> y(up ? large.size() : small.size());
    for (int n = 0; n < large.n; ++n) {
        for (int c = 0; c < large.c; ++c) {
            for (int i = 0; i < large.h; ++i) {
                for (int j = 0; j < large.w; ++j) {
                    const std::size_t of_small = at(small, planar, n, c, i / 2, j / 2);
                    const std::size_t of_large = at(large, planar, n, c, i, j);
                    if (up) {
                        y[of_large] = factor * static_cast<double>(x[of_small]);
                    } else {
                        y[of_small] += factor * static_cast<double>(x[of_large]);
                    }
                }
            }
        }
    }
    std::vector<float> result(y.size());
    std::transform(y.begin(), y.end(), result.begin(), [](double value) { return rounded<T>(value); });
    return result;
}

/// The last place of T may be one off: sums of four are made in float, of terms up to 4, before they are rounded to T.
template <class T> void check_close(const device_values<T>& actual, const std::vector<float>& expected) {
    REQUIRE(actual.size() == expected.size());
    for (std::size_t i = 0; i < expected.size(); ++i) {
        CAPTURE(i);
        const double limit = 2.0 * rounding<T> * std::abs(static_cast<double>(expected[i])) + 1e-6;
        REQUIRE(std::abs(static_cast<double>(actual[i]) - static_cast<double>(expected[i])) <= limit);
    }
    CHECK(actual.guards_hold());
}

template <class T> void check_equal(const device_values<T>& actual, const std::vector<float>& expected) {
    CHECK(actual.floats() == expected);
    CHECK(actual.guards_hold());
}

template <class T> void check_resize(const shape4& s, std::size_t offset) {
    CAPTURE(to_string(s), offset);
    const device_values<T> x(random_values(s.size(), 1), offset);
    const auto check = [&](auto&& launcher, bool planar, bool up, double factor) {
        const std::vector<float> expected = resized<T>(x.floats(), s, planar, up, factor);
        device_values<T> y(expected.size(), offset);
        launcher(x.data(), s, y.data(), nullptr);
        check_close(y, expected);
        // The last image alone.
        const shape4 one = {1, s.c, s.h, s.w};
        device_values<T> alone(expected.size() / size(s.n), offset);
        const std::vector<float> all = x.floats();
        const device_values<T> last(std::vector<float>(all.end() - static_cast<std::ptrdiff_t>(one.size()), all.end()),
                                    offset);
        launcher(last.data(), one, alone.data(), nullptr);
        CHECK(alone.same_bits(0, y, y.size() - alone.size(), alone.size()));
    };
    const bool even = s.h % 2 == 0 && s.w % 2 == 0;
    check(nearest_up<T>, false, true, 1.0);
    check(average_down_vjp<T>, false, true, 0.25);
    if (even) {
        check(average_down<T>, false, false, 0.25);
        check(nearest_up_vjp<T>, false, false, 1.0);
    }
    if constexpr (std::is_same_v<T, float>) {
        check(nearest_up_planar, true, true, 1.0);
        check(average_down_vjp_planar, true, true, 0.25);
        if (even) {
            check(average_down_planar, true, false, 0.25);
            check(nearest_up_vjp_planar, true, false, 1.0);
        }
    }
}

} // namespace

TEMPLATE_TEST_CASE("CUDA: planar images become activations and come back", "", float, __half, __nv_bfloat16) {
    using T = TestType;
    for (const auto& [images, channels, pixels] :
         {std::array{1, 1, 1}, std::array{2, 8, 31}, std::array{3, 33, 32}, std::array{1, 64, 65}, std::array{2, 40, 1},
          std::array{1, 3, 100}}) {
        CAPTURE(images, channels, pixels);
        const std::size_t total = size(images) * size(channels) * size(pixels);
        const device_values<float> x(random_values(total, 1));
        device_values<T> y(total);
        to_channels_last(x.data(), images, channels, pixels, y.data(), nullptr);
        std::vector<float> expected(total);
        std::vector<float> planar(total);
        const shape4 s = {images, channels, 1, pixels};
        for (int n = 0; n < images; ++n) {
            for (int c = 0; c < channels; ++c) {
                for (int p = 0; p < pixels; ++p) {
                    const float value = rounded<T>(static_cast<double>(x[at(s, true, n, c, 0, p)]));
                    expected[at(s, false, n, c, 0, p)] = value;
                    planar[at(s, true, n, c, 0, p)] = value;
                }
            }
        }
        check_equal(y, expected);
        device_values<float> back(total);
        to_planar(part<T>{y.data(), channels, channels}, part<T>{nullptr, 0, 0}, images, pixels, back.data(), nullptr);
        check_equal(back, planar);
    }
}

TEMPLATE_TEST_CASE("CUDA: parts of an activation become one", "", float, __half, __nv_bfloat16) {
    using T = TestType;
    struct example {
        int first;
        int second;
        int first_gap;
        int second_gap;
        int offset;
    };
    for (const example& e :
         {example{8, 16, 0, 0, 0}, example{8, 8, 8, 16, 0}, example{24, 8, 0, 0, 1}, example{9, 7, 0, 0, 0},
          example{8, 8, 1, 0, 0}, example{40, 3, 5, 2, 3}, example{16, 0, 0, 0, 0}}) {
        CAPTURE(e.first, e.second, e.first_gap, e.second_gap, e.offset);
        const int images = 2;
        const int pixels = 37;
        const int both = e.first + e.second;
        std::vector<float> a = random_values(size(images * pixels * e.first), 1);
        std::vector<float> b = random_values(size(images * pixels * e.second), 2);
        for (auto* values : {&a, &b}) {
            for (float& value : *values) {
                value = rounded<T>(static_cast<double>(value));
            }
        }
        const auto first = with_gaps<T>(a, e.first, e.first + e.first_gap, e.offset);
        const auto second =
            e.second == 0 ? device_values<T>(0) : with_gaps<T>(b, e.second, e.second + e.second_gap, e.offset);
        const part<T> first_part = {first.data(), e.first, e.first + e.first_gap};
        const part<T> second_part = {e.second == 0 ? nullptr : second.data(), e.second,
                                     e.second == 0 ? 0 : e.second + e.second_gap};
        std::vector<float> expected(size(images * pixels * both));
        std::vector<float> planar(expected.size());
        for (std::size_t p = 0; p < size(images * pixels); ++p) {
            for (std::size_t c = 0; c < size(both); ++c) {
                const float value =
                    c < size(e.first) ? a[p * size(e.first) + c] : b[p * size(e.second) + c - size(e.first)];
                expected[p * size(both) + c] = value;
                planar[(p / size(pixels) * size(both) + c) * size(pixels) + p % size(pixels)] = value;
            }
        }
        device_values<T> y(expected.size(), size(e.offset));
        join(first_part, second_part, size(images * pixels), y.data(), nullptr);
        check_equal(y, expected);

        device_values<float> image(planar.size());
        to_planar(first_part, second_part, images, pixels, image.data(), nullptr);
        check_equal(image, planar);

        if (e.second > 0) {
            device_values<T> left(a.size(), size(e.offset));
            device_values<T> right(b.size(), size(e.offset));
            split(y.data(), size(images * pixels), size(both), size(e.first), left.data(), right.data(), nullptr);
            check_equal(left, a);
            check_equal(right, b);
        }
    }
}

TEST_CASE("CUDA: planar images are split like activations, a row for each image") {
    // Two images of 3 + 1 planes of 5 pixels, and of 2 + 2 planes of 4.
    for (const auto& [first, second, pixels] : {std::array{3, 1, 5}, std::array{2, 2, 4}}) {
        const std::size_t length = size((first + second) * pixels);
        const device_values<float> x(random_values(2 * length, 1));
        device_values<float> left(2 * size(first * pixels));
        device_values<float> right(2 * size(second * pixels));
        split(x.data(), 2, length, size(first * pixels), left.data(), right.data(), nullptr);
        for (std::size_t n = 0; n < 2; ++n) {
            CHECK(left.same_bits(n * size(first * pixels), x, n * length, size(first * pixels)));
            CHECK(right.same_bits(n * size(second * pixels), x, n * length + size(first * pixels),
                                  size(second * pixels)));
        }
        CHECK(left.guards_hold());
        CHECK(right.guards_hold());
    }
}

TEMPLATE_TEST_CASE("CUDA: doubling, halving and their products with a cotangent", "", float, __half, __nv_bfloat16) {
    for (const shape4 s : {shape4{2, 8, 4, 6}, shape4{1, 24, 2, 2}, shape4{3, 3, 6, 4}, shape4{2, 9, 2, 10},
                           shape4{2, 8, 3, 5}, shape4{1, 1, 1, 1}, shape4{2, 3, 5, 8}, shape4{1, 40, 8, 8}}) {
        check_resize<TestType>(s, 0);
        check_resize<TestType>(s, 1);
    }
}

TEMPLATE_TEST_CASE("CUDA: elementwise kernels go over every element once", "", float, __half, __nv_bfloat16) {
    using T = TestType;
    for (const std::size_t count : {1U, 3U, 7U, 8U, 9U, 31U, 256U, 2051U}) {
        for (const std::size_t offset : {0U, 1U}) {
            CAPTURE(count, offset);
            const device_values<T> a(random_values(count, 1), offset);
            const device_values<T> b(random_values(count, 2), offset);
            std::vector<float> sums(count);
            for (std::size_t i = 0; i < count; ++i) {
                sums[i] = rounded<T>(static_cast<double>(a[i] + b[i]));
            }
            device_values<T> sum = a;
            accumulate(sum.data(), b.data(), count, nullptr);
            check_equal(sum, sums);

            for (const activation f : {activation::none, activation::silu, activation::relu}) {
                std::vector<float> expected(count);
                for (std::size_t i = 0; i < count; ++i) {
                    const auto x = static_cast<double>(a[i]);
                    const double s = 1.0 / (1.0 + std::exp(-x));
                    const double slope = f == activation::silu   ? s * (1.0 + x * (1.0 - s))
                                         : f == activation::relu ? (x > 0.0 ? 1.0 : 0.0)
                                                                 : 1.0;
                    expected[i] = static_cast<float>(slope * static_cast<double>(b[i]));
                }
                device_values<T> dx(count, offset);
                activation_vjp(a.data(), f, b.data(), count, dx.data(), nullptr);
                for (std::size_t i = 0; i < count; ++i) {
                    CAPTURE(i);
                    // The slope of silu loses a few bits where it crosses 0.
                    const double limit = rounding<T> * std::abs(static_cast<double>(expected[i])) + 1e-6;
                    REQUIRE(std::abs(static_cast<double>(dx[i]) - static_cast<double>(expected[i])) <= limit);
                }
                CHECK(dx.guards_hold());
            }
        }
    }
    accumulate<T>(nullptr, nullptr, 0, nullptr);
}

TEMPLATE_TEST_CASE("CUDA: what the libraries' convolutions leave to be done", "", float, __half, __nv_bfloat16) {
    using T = TestType;
    constexpr int images = 3;
    for (const int channels : {1, 8, 12, 40}) {
        for (const int pixels : {1, 35, 300}) {
            for (const std::size_t offset : {0U, 1U}) {
                const auto size = static_cast<std::size_t>(images * pixels * channels);
                const device_values<T> x(random_values(size, 1), offset);
                const auto vectors = random_values(static_cast<std::size_t>(images * channels), 2);
                for (const bool added : {false, true}) {
                    for (const activation f : {activation::none, activation::silu, activation::relu}) {
                        CAPTURE(channels, pixels, offset, added, static_cast<int>(f));
                        device_values<T> y = x;
                        finish_conv2d(y.data(), images, pixels, channels, added ? vectors.data() : nullptr, f, nullptr);
                        CHECK(y.guards_hold());
                        bool right = true;
                        for (std::size_t i = 0; i < size; ++i) {
                            const auto c = static_cast<std::size_t>(channels);
                            const std::size_t image = i / (c * static_cast<std::size_t>(pixels));
                            const double u = static_cast<double>(x[i]) +
                                             (added ? static_cast<double>(vectors[image * c + i % c]) : 0.0);
                            const double expected = f == activation::silu   ? u / (1.0 + std::exp(-u))
                                                    : f == activation::relu ? std::max(u, 0.0)
                                                                            : u;
                            right = right && std::abs(static_cast<double>(y[i]) - expected) <=
                                                 rounding<T> * std::abs(expected) + 1e-6;
                        }
                        CHECK(right);
                    }
                }
            }
        }
        const auto bias = random_values(static_cast<std::size_t>(channels), 3);
        const auto vector = random_values(static_cast<std::size_t>(channels), 4);
        for (const bool biased : {false, true}) {
            device_values<T> sum(static_cast<std::size_t>(channels));
            summed_bias(biased ? bias.data() : nullptr, vector.data(), channels, sum.data(), nullptr);
            std::vector<float> expected;
            for (std::size_t c = 0; c < vector.size(); ++c) {
                expected.push_back(rounded<T>(static_cast<double>((biased ? bias[c] : 0.0F) + vector[c])));
            }
            check_equal(sum, expected);
        }
    }
}
