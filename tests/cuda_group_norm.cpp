#include "support/cuda_on_host.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <optional>
#include <string>
#include <vector>

#include <repaint/backend/cuda/group_norm.cuh>
#include <repaint/backend/cuda/group_norm_resident.cuh>
#include <repaint/backend/cuda/group_norm_vjp.cuh>
#include <repaint/backend/cuda/mean.cuh>

#include "support/catch.hpp"
#include "support/compare.hpp"
#include "support/device_values.hpp"
#include "support/gradients_in_double.hpp"
#include "support/oracle.hpp"

/// Normalisation and means of the CUDA backend, on the host, against definitions in double.

namespace {

using namespace repaint::detail::cuda;
using repaint::activation;
using repaint::group_norm_options;
using repaint::host_tensor;
using repaint::shape4;

/// Half a unit in the last place is 2^-11 of a value in half and 2^-8 in bfloat16, and that is nearly all of the error;
/// in float it is what the sums lose.
template <class T> constexpr tolerance allowed = {3e-6, 1e-12};
template <> constexpr tolerance allowed<__half> = {5.5e-4, 2.5e-7};
template <> constexpr tolerance allowed<__nv_bfloat16> = {4.2e-3, 1.6e-5};

/// With a mean of 1000 and a deviation of 1 the rounding of means, 3e-5, comes to that, several times.
template <class T> constexpr tolerance allowed_far = {2e-4, 1e-8};
template <> constexpr tolerance allowed_far<__half> = {7e-4, 3e-7};
template <> constexpr tolerance allowed_far<__nv_bfloat16> = {4.4e-3, 1.7e-5};

/// Sums of cotangents besides; the smallest standard deviation here divides by 0.1.
template <class T> constexpr tolerance allowed_vjp = {5e-6, 1e-11};
template <> constexpr tolerance allowed_vjp<__half> = {5.5e-4, 2.5e-7};
template <> constexpr tolerance allowed_vjp<__nv_bfloat16> = {4.2e-3, 1.6e-5};

template <class T> host_tensor rounded(host_tensor x) {
    for (float& value : x.values()) {
        value = to_float(from_float<T>(value));
    }
    return x;
}

std::size_t size(int extent) { return static_cast<std::size_t>(extent); }

/// NHWC memory whose pixels begin `gap` elements after the last ended; NaN where nothing was written.
template <class T> class activations {
public:
    explicit activations(shape4 shape, int gap = 0, int offset = 0)
        : shape_(shape), stride_(shape.c + gap), values_(size(shape.n) * shape.plane() * size(stride_), size(offset)) {}

    explicit activations(const host_tensor& x, int gap = 0, int offset = 0) : activations(x.shape(), gap, offset) {
        for_each(
            [&](std::size_t at, int n, int c, int i, int j) { values_.data()[at] = from_float<T>(x(n, c, i, j)); });
    }

    [[nodiscard]] T* data() { return values_.data(); }
    [[nodiscard]] part<T> as_part() const { return {values_.data(), shape_.c, stride_}; }
    [[nodiscard]] bool guards_hold() const { return values_.guards_hold(); }

    [[nodiscard]] host_tensor content() const {
        host_tensor x(shape_);
        for_each([&](std::size_t at, int n, int c, int i, int j) { x(n, c, i, j) = values_[at]; });
        return x;
    }

private:
    template <class Visit> void for_each(Visit&& visit) const {
        std::size_t pixel = 0;
        for (int n = 0; n < shape_.n; ++n) {
            for (int i = 0; i < shape_.h; ++i) {
                for (int j = 0; j < shape_.w; ++j, pixel += size(stride_)) {
                    for (int c = 0; c < shape_.c; ++c) {
                        visit(pixel + size(c), n, c, i, j);
                    }
                }
            }
        }
    }

    shape4 shape_;
    int stride_;
    device_values<T> values_;
};

/// The pixels of one channel.
const float* plane(const host_tensor& x, int n, int c) { return x.image(n).data() + size(c) * x.shape().plane(); }

/// The channels [first, last) of x.
host_tensor channels_between(const host_tensor& x, int first, int last) {
    const shape4 s = x.shape();
    host_tensor y({s.n, last - first, s.h, s.w});
    for (int n = 0; n < s.n; ++n) {
        for (int c = first; c < last; ++c) {
            std::copy_n(plane(x, n, c), s.plane(), &y(n, c - first, 0, 0));
        }
    }
    return y;
}

host_tensor image_of(const host_tensor& x, int n) {
    const shape4 s = x.shape();
    const auto values = x.image(n);
    return {{1, s.c, s.h, s.w}, {values.begin(), values.end()}};
}

host_tensor halved(const host_tensor& x) {
    const shape4 s = x.shape();
    host_tensor y({s.n, s.c, s.h / 2, s.w / 2});
    for (int n = 0; n < s.n; ++n) {
        for (int c = 0; c < s.c; ++c) {
            for (int i = 0; i < s.h / 2; ++i) {
                for (int j = 0; j < s.w / 2; ++j) {
                    y(n, c, i, j) = 0.25F * (x(n, c, 2 * i, 2 * j) + x(n, c, 2 * i, 2 * j + 1) +
                                             x(n, c, 2 * i + 1, 2 * j) + x(n, c, 2 * i + 1, 2 * j + 1));
                }
            }
        }
    }
    return y;
}

/// Of a mean and a deviation of its own for every channel.
host_tensor uneven_tensor(shape4 s, std::uint64_t seed) {
    host_tensor x = random_tensor(s, seed);
    const host_tensor levels = random_tensor({1, s.c, 1, 1}, seed + 1000);
    for (int n = 0; n < s.n; ++n) {
        for (int c = 0; c < s.c; ++c) {
            for (std::size_t p = 0; p < s.plane(); ++p) {
                float& value = *(&x(n, c, 0, 0) + p);
                value = value * (0.5F + std::fabs(levels(0, c, 0, 0))) + levels(0, c, 0, 0);
            }
        }
    }
    return x;
}

/// gamma, beta and perhaps scale and shift, as the network has them and as the kernels read them.
struct weights {
    host_tensor gamma;
    host_tensor beta;
    std::optional<host_tensor> scale_shift;

    /// images: of scale_shift; 0 for none.
    weights(int channels, int images)
        : gamma(random_tensor({channels, 1, 1, 1}, 2)), beta(random_tensor({channels, 1, 1, 1}, 3)) {
        if (images > 0) {
            scale_shift = random_tensor({images, 2 * channels, 1, 1}, 4);
        }
    }

    [[nodiscard]] const host_tensor* scale_shift_or_null() const { return scale_shift ? &*scale_shift : nullptr; }

    /// From image n on.
    [[nodiscard]] modulation as_modulation(int n = 0) const {
        if (!scale_shift) {
            return {gamma.data(), beta.data(), nullptr, 0};
        }
        const bool own = scale_shift->shape().n > 1;
        return {gamma.data(), beta.data(), scale_shift->image(own ? n : 0).data(), own ? scale_shift->shape().c : 0};
    }
};

/// The moments of a part, in memory of exactly the size that was asked for.
template <class T> class statistics {
public:
    statistics(const part<T>& x, int images, int pixels)
        : images_(images), channels_(x.channels), moments_(size(images) * size(x.channels) * 2),
          scratch_(channel_statistics_scratch(images, pixels, x.channels)) {
        channel_statistics(x, images, pixels, scratch_.data(), data(), nullptr);
    }

    [[nodiscard]] channel_moments* data() { return reinterpret_cast<channel_moments*>(moments_.data()); }
    [[nodiscard]] float mean(int n, int c) const { return moments_[(size(n) * size(channels_) + size(c)) * 2]; }
    [[nodiscard]] float squares(int n, int c) const { return moments_[(size(n) * size(channels_) + size(c)) * 2 + 1]; }
    [[nodiscard]] bool guards_hold() const { return moments_.guards_hold() && scratch_.guards_hold(); }

private:
    int images_;
    int channels_;
    device_values<float> moments_;
    device_values<float> scratch_;
};

/// The largest errors of moments: of a mean relative to the largest of 1, the mean and the deviation, of a sum of
/// squares relative to itself.
struct moment_errors {
    double mean = 0.0;
    double squares = 0.0;
};

template <class Mean, class Squares>
moment_errors errors_of_moments(const host_tensor& x, Mean&& mean_of, Squares&& squares_of) {
    moment_errors worst;
    const auto note = [](double& at, double error) { at = error <= at ? at : std::isnan(error) ? INFINITY : error; };
    for (int n = 0; n < x.shape().n; ++n) {
        for (int c = 0; c < x.shape().c; ++c) {
            double mean = 0.0;
            double squares = 0.0;
            const float* values = plane(x, n, c);
            for (std::size_t p = 0; p < x.shape().plane(); ++p) {
                mean += static_cast<double>(values[p]) / static_cast<double>(x.shape().plane());
            }
            for (std::size_t p = 0; p < x.shape().plane(); ++p) {
                squares += std::pow(static_cast<double>(values[p]) - mean, 2.0);
            }
            const double deviation = std::sqrt(squares / static_cast<double>(x.shape().plane()));
            note(worst.mean,
                 std::fabs(static_cast<double>(mean_of(n, c)) - mean) / std::max({1.0, std::fabs(mean), deviation}));
            note(worst.squares, std::fabs(static_cast<double>(squares_of(n, c)) - squares) / std::max(squares, 1e-20));
        }
    }
    return worst;
}

template <class T> moment_errors errors_of_statistics(const host_tensor& x, int gap, int offset) {
    const activations<T> memory(x, gap, offset);
    const statistics<T> s(memory.as_part(), x.shape().n, static_cast<int>(x.shape().plane()));
    CHECK(s.guards_hold());
    return errors_of_moments(
        x, [&](int n, int c) { return s.mean(n, c); }, [&](int n, int c) { return s.squares(n, c); });
}

/// How x lies in memory.
struct placement {
    int first_channels = 0; ///< of the first part; 0: all
    int gap = 0;
    int offset = 0;
};

/// y by measuring both parts and normalising them. NaN in y when something else was written.
template <class T>
host_tensor normalised(const host_tensor& x, const weights& w, const group_norm_options& o, bool average_down,
                       const placement& place = {}, int image = 0) {
    const shape4 s = x.shape();
    const int split = place.first_channels == 0 ? s.c : place.first_channels;
    const activations<T> first(channels_between(x, 0, split), place.gap, place.offset);
    const activations<T> second(channels_between(x, split, s.c), place.gap, place.offset);
    const int pixels = static_cast<int>(s.plane());
    statistics<T> of_first(first.as_part(), s.n, pixels);
    statistics<T> of_second(second.as_part(), s.n, pixels);
    activations<T> y({s.n, s.c, average_down ? s.h / 2 : s.h, average_down ? s.w / 2 : s.w}, 0, place.offset);
    normalise(measured_part<T>{first.as_part(), of_first.data()}, measured_part<T>{second.as_part(), of_second.data()},
              s.n, s.h, s.w, w.as_modulation(image), o, average_down, y.data(), nullptr);
    CHECK(y.guards_hold());
    return y.content();
}

host_tensor expected_norm(const host_tensor& x, const weights& w, const group_norm_options& o, bool average_down) {
    const auto y = oracle::group_norm(x, w.gamma, w.beta, w.scale_shift_or_null(), o);
    return average_down ? halved(y) : y;
}

constexpr std::size_t kib = 1024;

/// Few multiprocessors, so that the launches of tests are small.
constexpr residency small_device = {4, 100 * kib, 99 * kib, 1 * kib};

struct resident_result {
    host_tensor y;
    std::vector<float> moments; ///< of both parts
    resident_plan plan;
};

template <class T>
resident_result normalised_resident(const host_tensor& x, const weights& w, const group_norm_options& o,
                                    bool average_down, const placement& place, const residency& device, int image = 0) {
    const shape4 s = x.shape();
    const int split = place.first_channels == 0 ? s.c : place.first_channels;
    const activations<T> first(channels_between(x, 0, split), place.gap, place.offset);
    const activations<T> second(channels_between(x, split, s.c), place.gap, place.offset);
    activations<T> y({s.n, s.c, average_down ? s.h / 2 : s.h, average_down ? s.w / 2 : s.w}, 0, place.offset);
    const bool vectors = vectorised(first.as_part(), second.as_part(), static_cast<const T*>(y.data()));
    const auto plan = plan_resident<T>(s.h, s.w, s.c, o.groups, vectors, average_down, device);
    REQUIRE(plan.fits());
    device_values<float> scratch(plan.scratch(s.n));
    std::vector<grid_barrier> barriers(size(plan.barriers()), grid_barrier{0, 0});
    device_values<float> of_first(size(s.n) * size(split) * 2);
    device_values<float> of_second(size(s.n) * size(s.c - split) * 2);
    normalise_resident(unmeasured_part<T>{first.as_part(), reinterpret_cast<channel_moments*>(of_first.data())},
                       unmeasured_part<T>{second.as_part(), reinterpret_cast<channel_moments*>(of_second.data())}, s.n,
                       s.h, s.w, w.as_modulation(image), o, average_down, plan, scratch.data(), barriers.data(),
                       y.data(), nullptr);
    CHECK(y.guards_hold());
    CHECK(scratch.guards_hold());
    CHECK(of_first.guards_hold());
    CHECK(of_second.guards_hold());
    std::vector<float> moments;
    for (int n = 0; n < s.n; ++n) {
        for (const auto* of : {&of_first, &of_second}) {
            const std::size_t each = of->size() / size(s.n);
            for (std::size_t k = 0; k < each; ++k) {
                moments.push_back((*of)[size(n) * each + k]);
            }
        }
    }
    return {y.content(), moments, plan};
}

moment_errors errors_of_resident(const host_tensor& x, const resident_result& result) {
    const auto at = [&](int n, int c) { return (size(n) * size(x.shape().c) + size(c)) * 2; };
    return errors_of_moments(
        x, [&](int n, int c) { return result.moments[at(n, c)]; },
        [&](int n, int c) { return result.moments[at(n, c) + 1]; });
}

/// dx, or NaN when something else was written.
template <class T>
host_tensor vjp(const host_tensor& x, const weights& w, const group_norm_options& o, const host_tensor& dy,
                const placement& place = {}, int image = 0) {
    const shape4 s = x.shape();
    const int pixels = static_cast<int>(s.plane());
    const activations<T> x_memory(x, place.gap, place.offset);
    const activations<T> dy_memory(dy, place.gap, place.offset);
    statistics<T> of_x(x_memory.as_part(), s.n, pixels);
    device_values<float> scratch(group_norm_vjp_scratch(s.n, pixels, s.c, o.groups));
    activations<T> dx(s, 0, place.offset);
    group_norm_vjp(measured_part<T>{x_memory.as_part(), of_x.data()}, dy_memory.as_part(), s.n, pixels,
                   w.as_modulation(image), o, scratch.data(), dx.data(), nullptr);
    CHECK(dx.guards_hold());
    CHECK(scratch.guards_hold());
    return dx.content();
}

host_tensor vector_as_tensor(const device_values<float>& values, shape4 s) { return {s, values.floats()}; }

} // namespace

// ---- statistics -----------------------------------------------------------------------------------------------------

TEMPLATE_TEST_CASE("channel_statistics", "[cuda]", float, __half, __nv_bfloat16) {
    const auto s = GENERATE(values<shape4>({{1, 8, 1, 1},    // one pixel
                                            {2, 9, 3, 5},    // channels one by one
                                            {3, 40, 7, 11},  // fewer channels than a row of threads takes
                                            {1, 264, 5, 9},  // more than one slab, of unequal size in half
                                            {1, 520, 2, 3},  // several slabs, fewer pixels than rows
                                            {2, 33, 17, 19}, // chunks of unequal size
                                            {1, 8, 64, 65},  // more rows than channels
                                            {1, 64, 48, 47}}));
    const auto x = rounded<TestType>(uneven_tensor(s, 11));
    CAPTURE(to_string(s));
    for (const int offset : {0, 1}) {
        for (const int gap : {0, 8, 3}) {
            const auto errors = errors_of_statistics<TestType>(x, gap, offset);
            CHECK(errors.mean < 3e-7);
            CHECK(errors.squares < 2e-6);
        }
    }
}

TEMPLATE_TEST_CASE("channel_statistics far from zero keep their digits", "[cuda]", float, __half, __nv_bfloat16) {
    auto x = random_tensor({1, 16, 40, 41}, 5);
    for (float& value : x.values()) {
        value += 1000.0F; // squares minus square of the sum would be wrong in the first digit
    }
    const auto errors = errors_of_statistics<TestType>(rounded<TestType>(x), 0, 0);
    CHECK(errors.mean < 1e-7);
    // Means of chunks are off by 3e-5, and so are their distances from the mean, in either direction.
    CHECK(errors.squares < 1e-5);
}

TEMPLATE_TEST_CASE("channel_statistics where the first pixel is an outlier", "[cuda]", float, __half, __nv_bfloat16) {
    auto x = random_tensor({1, 8, 32, 32}, 6);
    for (int c = 0; c < 8; ++c) {
        x(0, c, 0, 0) = 30000.0F;
    }
    const auto errors = errors_of_statistics<TestType>(rounded<TestType>(x), 0, 0);
    CHECK(errors.mean < 3e-6); // of the deviation; next to the outlier, floats are 2e-3 apart
    CHECK(errors.squares < 2e-6);
}

TEST_CASE("channel_statistics of a constant are the constant and 0", "[cuda]") {
    const shape4 s{2, 16, 13, 9};
    const activations<float> x(host_tensor(s, std::vector<float>(s.size(), -7.3F)));
    const statistics<float> found(x.as_part(), s.n, static_cast<int>(s.plane()));
    for (int c = 0; c < s.c; ++c) {
        CHECK(found.mean(1, c) == -7.3F);
        CHECK(found.squares(1, c) == 0.0F);
    }
}

TEST_CASE("tilings take every channel and every pixel, with a bounded number of blocks", "[cuda]") {
    for (const int width : {1, 4, 8}) {
        for (const int channels : {8, 24, 32, 256, 264, 512, 1000, 2048}) {
            for (const int pixels : {1, 2, 63, 64, 65, 1024, 65536, 1 << 20}) {
                const tiling t = tiling_of(channels, width, pixels, 8);
                CAPTURE(width, channels, pixels);
                CHECK(t.channels % width == 0);
                CHECK(t.rows * (t.channels / width) <= tiling_threads);
                CHECK(t.channels * t.slabs >= channels);
                CHECK(t.channels * (t.slabs - 1) < channels);
                CHECK(t.pixels * t.chunks >= pixels);
                CHECK(t.pixels * (t.chunks - 1) < pixels);
            }
        }
    }
}

// ---- normalisation --------------------------------------------------------------------------------------------------

namespace {

struct norm_case {
    shape4 x;
    int groups;
    activation then;
    placement place;
};

} // namespace

TEMPLATE_TEST_CASE("normalise", "[cuda]", float, __half, __nv_bfloat16) {
    const auto c = GENERATE(values<norm_case>({
        {{1, 32, 8, 8}, 32, activation::silu, {}},         // one channel per group
        {{2, 96, 5, 7}, 32, activation::none, {}},         // odd sizes
        {{2, 64, 1, 1}, 32, activation::silu, {}},         // two numbers per group
        {{1, 8, 3, 3}, 1, activation::none, {}},           // one group
        {{2, 33, 4, 3}, 3, activation::relu, {}},          // channels one by one
        {{1, 600, 3, 5}, 4, activation::silu, {}},         // groups across slabs
        {{2, 48, 9, 13}, 3, activation::silu, {}},         // chunks of unequal size
        {{2, 48, 5, 7}, 6, activation::silu, {24, 0, 0}},  // two parts
        {{2, 96, 5, 7}, 4, activation::silu, {40, 8, 0}},  // a group across them, gaps between pixels
        {{2, 45, 5, 7}, 9, activation::relu, {13, 0, 0}},  // the same, channels one by one
        {{1, 64, 6, 7}, 32, activation::silu, {0, 3, 0}},  // a stride that allows no vectors
        {{1, 64, 6, 7}, 32, activation::silu, {32, 0, 1}}, // an address that allows none
    }));
    const auto x = rounded<TestType>(uneven_tensor(c.x, 21));
    const group_norm_options options{.groups = c.groups, .then = c.then};
    CAPTURE(to_string(c.x), c.groups, c.place.first_channels);
    for (const int images : {0, 1, c.x.n}) {
        const weights w(c.x.c, images);
        CHECK(difference(normalised<TestType>(x, w, options, false, c.place), expected_norm(x, w, options, false),
                         allowed<TestType>) == "");
    }
}

TEMPLATE_TEST_CASE("normalise and average_down", "[cuda]", float, __half, __nv_bfloat16) {
    const auto c = GENERATE(values<norm_case>({{{1, 32, 8, 8}, 32, activation::silu, {}},
                                               {{2, 64, 2, 2}, 32, activation::silu, {}}, // one pixel is left
                                               {{2, 33, 6, 10}, 3, activation::relu, {}},
                                               {{2, 48, 18, 14}, 3, activation::silu, {}}, // several chunks
                                               {{1, 96, 4, 6}, 4, activation::none, {40, 8, 0}}}));
    const auto x = rounded<TestType>(uneven_tensor(c.x, 22));
    const group_norm_options options{.groups = c.groups, .then = c.then};
    const weights w(c.x.c, c.x.n);
    CAPTURE(to_string(c.x), c.groups);
    CHECK(difference(normalised<TestType>(x, w, options, true, c.place), expected_norm(x, w, options, true),
                     allowed<TestType>) == "");
}

TEMPLATE_TEST_CASE("normalise far from zero keeps its digits", "[cuda]", float, __half, __nv_bfloat16) {
    auto x = random_tensor({1, 64, 8, 8}, 1);
    for (float& value : x.values()) {
        value += 1000.0F;
    }
    x = rounded<TestType>(std::move(x));
    const weights w(64, 0);
    const group_norm_options options{};
    const auto expected = expected_norm(x, w, options, false);
    CHECK(difference(normalised<TestType>(x, w, options, false), expected, allowed_far<TestType>) == "");
    CHECK(difference(normalised_resident<TestType>(x, w, options, false, {}, small_device).y, expected,
                     allowed_far<TestType>) == "");
}

namespace {

/// Groups of two channels, 1000 and the next float: their mean lies between two floats, half a deviation from either.
host_tensor neighbouring_floats(shape4 s) {
    host_tensor x(s);
    for (int n = 0; n < s.n; ++n) {
        for (int c = 0; c < s.c; ++c) {
            const float value = c % 2 == 0 ? 1000.0F : std::nextafter(1000.0F, 2000.0F);
            std::fill_n(x.image(n).begin() + c * static_cast<int>(s.plane()), s.plane(), value);
        }
    }
    return x;
}

} // namespace

TEST_CASE("normalise of values whose mean is no float", "[cuda]") {
    const auto x = neighbouring_floats({1, 32, 4, 4});
    const weights w(32, 0);
    const group_norm_options options{.groups = 16};
    const auto expected = expected_norm(x, w, options, false);
    CHECK(difference(normalised<float>(x, w, options, false), expected, allowed<float>) == "");
    CHECK(difference(normalised_resident<float>(x, w, options, false, {}, small_device).y, expected, allowed<float>) ==
          "");
}

TEMPLATE_TEST_CASE("normalise makes beta of a constant", "[cuda]", float, __half, __nv_bfloat16) {
    const shape4 s{2, 32, 4, 4};
    const host_tensor x(s, std::vector<float>(s.size(), -7.5F));
    const weights w(s.c, 0);
    const auto expected = rounded<TestType>(expected_norm(x, w, {}, false));
    CHECK(largest_difference(normalised<TestType>(x, w, {}, false), expected) == 0.0);
    CHECK(largest_difference(normalised_resident<TestType>(x, w, {}, false, {}, small_device).y, expected) == 0.0);
}

TEMPLATE_TEST_CASE("an image is normalised to the same bits alone and in a batch", "[cuda]", float, __half,
                   __nv_bfloat16) {
    const shape4 s{3, 48, 12, 14};
    const auto x = rounded<TestType>(uneven_tensor(s, 23));
    const weights w(s.c, s.n);
    const group_norm_options options{.groups = 3, .then = activation::silu};
    const placement place{16, 0, 0};
    const auto y = normalised<TestType>(x, w, options, false, place);
    const auto resident = normalised_resident<TestType>(x, w, options, true, place, small_device);
    for (int n = 0; n < s.n; ++n) {
        const auto alone = image_of(x, n);
        CHECK(same_bits(normalised<TestType>(alone, w, options, false, place, n), image_of(y, n)));
        const auto resident_alone = normalised_resident<TestType>(alone, w, options, true, place, small_device, n);
        CHECK(same_bits(resident_alone.y, image_of(resident.y, n)));
        CHECK(std::memcmp(resident_alone.moments.data(), resident.moments.data() + size(n) * size(s.c) * 2,
                          size(s.c) * 2 * sizeof(float)) == 0);
    }
}

// ---- in one pass ----------------------------------------------------------------------------------------------------

TEMPLATE_TEST_CASE("normalise_resident", "[cuda]", float, __half, __nv_bfloat16) {
    const auto c = GENERATE(values<norm_case>({{{1, 32, 8, 8}, 32, activation::silu, {}},
                                               {{2, 64, 1, 1}, 32, activation::silu, {}},        // one pixel
                                               {{2, 96, 5, 7}, 4, activation::none, {40, 8, 0}}, // two parts
                                               {{2, 33, 4, 3}, 3, activation::relu, {}},         // channels one by one
                                               {{1, 64, 23, 31}, 2, activation::silu, {}}, // several blocks per slab
                                               {{3, 128, 19, 17}, 4, activation::silu, {64, 0, 0}},
                                               {{1, 64, 9, 7}, 32, activation::silu, {32, 0, 1}}})); // no vectors
    const auto x = rounded<TestType>(uneven_tensor(c.x, 24));
    const group_norm_options options{.groups = c.groups, .then = c.then};
    CAPTURE(to_string(c.x), c.groups);
    for (const int images : {0, c.x.n}) {
        const weights w(c.x.c, images);
        const auto result = normalised_resident<TestType>(x, w, options, false, c.place, small_device);
        CAPTURE(result.plan.slab, result.plan.chunks, result.plan.pixels, result.plan.teams);
        CHECK(difference(result.y, expected_norm(x, w, options, false), allowed<TestType>) == "");
        const auto errors = errors_of_resident(x, result);
        CHECK(errors.mean < 3e-7);
        CHECK(errors.squares < 2e-6);
    }
}

TEMPLATE_TEST_CASE("normalise_resident and average_down", "[cuda]", float, __half, __nv_bfloat16) {
    const auto c = GENERATE(values<norm_case>({{{1, 32, 8, 8}, 32, activation::silu, {}},
                                               {{2, 64, 2, 2}, 32, activation::silu, {}},
                                               {{2, 33, 6, 10}, 3, activation::relu, {}},
                                               {{2, 128, 20, 14}, 4, activation::silu, {64, 0, 0}}}));
    const auto x = rounded<TestType>(uneven_tensor(c.x, 25));
    const group_norm_options options{.groups = c.groups, .then = c.then};
    const weights w(c.x.c, 1);
    CAPTURE(to_string(c.x), c.groups);
    const auto result = normalised_resident<TestType>(x, w, options, true, c.place, small_device);
    CHECK(difference(result.y, expected_norm(x, w, options, true), allowed<TestType>) == "");
    CHECK(errors_of_resident(x, result).squares < 2e-6);
}

TEST_CASE("normalise_resident lets teams of blocks take one slab after another", "[cuda]") {
    const shape4 s{3, 128, 32, 16};
    const residency device{3, 110 * kib, 99 * kib, 1 * kib};
    const auto x = rounded<__half>(uneven_tensor(s, 26));
    const group_norm_options options{.groups = 2, .then = activation::silu};
    const weights w(s.c, 0);
    for (const bool down : {false, true, true}) { // twice, so that threads run in either order
        const auto result = normalised_resident<__half>(x, w, options, down, {}, device);
        REQUIRE(result.plan.chunks > 1);
        REQUIRE(result.plan.slabs * s.n > result.plan.teams);
        CHECK(difference(result.y, expected_norm(x, w, options, down), allowed<__half>) == "");
        CHECK(errors_of_resident(x, result).squares < 2e-6);
    }
}

TEST_CASE("normalise_resident without moments asked for", "[cuda]") {
    const shape4 s{1, 32, 4, 4};
    const auto x = random_tensor(s, 27);
    const weights w(s.c, 0);
    const activations<float> memory(x);
    activations<float> y(s);
    const auto plan = plan_resident<float>(s.h, s.w, s.c, 32, true, false, small_device);
    device_values<float> scratch(plan.scratch(1));
    std::vector<grid_barrier> barriers(size(plan.barriers()), grid_barrier{0, 0});
    normalise_resident(unmeasured_part<float>{memory.as_part(), nullptr},
                       unmeasured_part<float>{{nullptr, 0, 0}, nullptr}, 1, s.h, s.w, w.as_modulation(), {}, false,
                       plan, scratch.data(), barriers.data(), y.data(), nullptr);
    CHECK(difference(y.content(), expected_norm(x, w, {}, false), allowed<float>) == "");
}

TEST_CASE("plans of normalise_resident keep within the device", "[cuda]") {
    const residency device{132, 228 * kib, 227 * kib, 1 * kib};
    for (const bool down : {false, true}) {
        for (const auto& s : std::vector<shape4>{{1, 256, 256, 256},
                                                 {1, 512, 256, 256},
                                                 {1, 768, 128, 128},
                                                 {1, 1024, 64, 64},
                                                 {1, 1536, 32, 32},
                                                 {1, 2048, 16, 16},
                                                 {1, 1024, 8, 8},
                                                 {1, 96, 20, 12},
                                                 {1, 32, 2, 2}}) {
            const auto plan = plan_resident<__half>(s.h, s.w, s.c, 32, true, down, device);
            CAPTURE(to_string(s), down, plan.chunks);
            REQUIRE(plan.fits());
            CHECK(plan.bytes <= device.memory_of_block);
            CHECK(plan.slab * plan.slabs == s.c);
            CHECK(plan.slab % (s.c / 32) == 0);
            CHECK(plan.slab % vector_width<__half> == 0);
            CHECK(plan.pixels * plan.chunks >= s.h * s.w);
            CHECK(plan.pixels * (plan.chunks - 1) < s.h * s.w);
            const auto of_multiprocessor = std::min(device.memory / (plan.bytes + device.reserved), std::size_t{2});
            CHECK(size(plan.teams * plan.chunks) <= of_multiprocessor * size(device.multiprocessors));
            CHECK((!down || plan.pixels % (2 * s.w) == 0));
        }
    }
}

TEST_CASE("plans of normalise_resident say what does not fit", "[cuda]") {
    const residency tiny{2, 64 * kib, 48 * kib, 1 * kib};
    CHECK_FALSE(plan_resident<__half>(256, 256, 256, 32, true, false, tiny).fits());
    CHECK_FALSE(plan_resident<__half>(256, 256, 256, 32, true, false, residency{132, 0, 0, 0}).fits());
    // Two rows of pixels must stay together.
    CHECK_FALSE(plan_resident<__half>(2, 4096, 64, 1, true, true, tiny).fits());
    // One group of more channels than threads.
    CHECK_FALSE(plan_resident<__half>(4, 4, 513, 1, false, false, small_device).fits());
    CHECK(plan_resident<__half>(256, 256, 256, 32, true, false, residency{}).scratch(4) == 0);
}

// ---- the vector-Jacobian product ------------------------------------------------------------------------------------

TEMPLATE_TEST_CASE("group_norm_vjp on the device", "[cuda]", float, __half, __nv_bfloat16) {
    const auto c = GENERATE(values<norm_case>({{{1, 32, 8, 8}, 32, activation::silu, {}},
                                               {{2, 96, 5, 7}, 32, activation::none, {}},
                                               {{2, 128, 1, 1}, 32, activation::silu, {}}, // four numbers per group
                                               {{1, 8, 3, 3}, 1, activation::relu, {}},
                                               {{2, 33, 4, 3}, 3, activation::relu, {}},
                                               {{1, 600, 3, 5}, 4, activation::silu, {}},
                                               {{2, 48, 19, 13}, 3, activation::silu, {0, 8, 0}},
                                               {{1, 64, 6, 7}, 32, activation::silu, {0, 3, 0}},
                                               {{1, 64, 6, 7}, 8, activation::silu, {0, 0, 1}}}));
    const auto x = rounded<TestType>(random_tensor(c.x, 1));
    const auto dy = rounded<TestType>(random_tensor(c.x, 7));
    const group_norm_options options{.groups = c.groups, .then = c.then};
    CAPTURE(to_string(c.x), c.groups);
    for (const int images : {0, 1, c.x.n}) {
        const weights w(c.x.c, images);
        CHECK(difference(vjp<TestType>(x, w, options, dy, c.place),
                         in_double::group_norm_vjp(x, w.gamma, w.beta, w.scale_shift_or_null(), options, dy),
                         allowed_vjp<TestType>) == "");
    }
}

TEMPLATE_TEST_CASE("group_norm_vjp far from zero keeps its digits on the device", "[cuda]", float, __half,
                   __nv_bfloat16) {
    auto x = random_tensor({1, 64, 8, 8}, 1);
    for (float& value : x.values()) {
        value += 1000.0F;
    }
    x = rounded<TestType>(std::move(x));
    const auto dy = rounded<TestType>(random_tensor(x.shape(), 7));
    const weights w(64, 0);
    const group_norm_options options{.then = activation::silu};
    CHECK(difference(vjp<TestType>(x, w, options, dy),
                     in_double::group_norm_vjp(x, w.gamma, w.beta, nullptr, options, dy), allowed_far<TestType>) == "");
}

TEST_CASE("group_norm_vjp of values whose mean is no float", "[cuda]") {
    const auto x = neighbouring_floats({1, 32, 4, 4});
    const auto dy = random_tensor(x.shape(), 7);
    const weights w(32, 0);
    for (const auto then : {activation::none, activation::silu, activation::silu}) { // in either order of threads
        const group_norm_options options{.groups = 16, .then = then};
        CHECK(difference(vjp<float>(x, w, options, dy),
                         in_double::group_norm_vjp(x, w.gamma, w.beta, nullptr, options, dy),
                         allowed_vjp<float>) == "");
    }
}

TEMPLATE_TEST_CASE("the gradient of an image has the same bits alone and in a batch", "[cuda]", float, __half,
                   __nv_bfloat16) {
    const shape4 s{3, 48, 12, 13};
    const auto x = rounded<TestType>(uneven_tensor(s, 23));
    const auto dy = rounded<TestType>(random_tensor(s, 7));
    const weights w(s.c, s.n);
    const group_norm_options options{.groups = 3, .then = activation::silu};
    const auto dx = vjp<TestType>(x, w, options, dy);
    for (int n = 0; n < s.n; ++n) {
        CHECK(same_bits(vjp<TestType>(image_of(x, n), w, options, image_of(dy, n), {}, n), image_of(dx, n)));
    }
}

// ---- means ----------------------------------------------------------------------------------------------------------

TEMPLATE_TEST_CASE("means on the device", "[cuda]", float, __half, __nv_bfloat16) {
    const auto s =
        GENERATE(values<shape4>({{1, 8, 1, 1}, {2, 33, 4, 3}, {2, 64, 8, 8}, {1, 520, 5, 7}, {3, 24, 17, 19}}));
    const auto x = rounded<TestType>(uneven_tensor(s, 31));
    const int pixels = static_cast<int>(s.plane());
    CAPTURE(to_string(s));
    for (const placement& place : {placement{}, placement{0, 8, 0}, placement{0, 3, 0}, placement{0, 0, 1}}) {
        const activations<TestType> memory(x, place.gap, place.offset);
        device_values<float> y(size(s.n) * size(s.c));
        mean(memory.as_part(), s.n, pixels, y.data(), nullptr);
        CHECK(y.guards_hold());
        CHECK(difference(vector_as_tensor(y, {s.n, s.c, 1, 1}), oracle::mean(x), {1e-6, 1e-12}) == "");

        activations<TestType> tokens({s.n, s.c, 1, 1 + pixels}, 0, place.offset);
        prepend_mean(memory.as_part(), s.n, pixels, tokens.data(), nullptr);
        CHECK(tokens.guards_hold());
        const auto expected = oracle::prepend_mean(x);
        CHECK(difference(tokens.content(), expected, allowed<TestType>) == "");
        CHECK(tokens.content()(s.n - 1, s.c - 1, 0, pixels) == expected(s.n - 1, s.c - 1, 0, pixels));
    }
}

TEST_CASE("means far from zero keep their digits on the device", "[cuda]") {
    auto x = random_tensor({1, 16, 16, 16}, 32);
    for (float& value : x.values()) {
        value += 1000.0F;
    }
    const activations<float> memory(x);
    device_values<float> y(16);
    mean(memory.as_part(), 1, 256, y.data(), nullptr);
    const auto expected = oracle::mean(x);
    for (int c = 0; c < 16; ++c) {
        CHECK(std::fabs(y[size(c)] - expected(0, c, 0, 0)) <= 6.2e-5F); // one unit in the last place
    }
}

TEMPLATE_TEST_CASE("the gradients of means on the device", "[cuda]", float, __half, __nv_bfloat16) {
    const auto s =
        GENERATE(values<shape4>({{1, 8, 1, 1}, {2, 33, 4, 3}, {2, 64, 8, 8}, {1, 520, 5, 7}, {3, 24, 17, 19}}));
    const int pixels = static_cast<int>(s.plane());
    CAPTURE(to_string(s));
    for (const placement& place : {placement{}, placement{0, 8, 0}, placement{0, 3, 0}, placement{0, 0, 1}}) {
        const auto of_mean = random_tensor({s.n, s.c, 1, 1}, 33);
        activations<TestType> dx(s, 0, place.offset);
        mean_vjp(of_mean.data(), s.c, s.n, pixels, dx.data(), nullptr);
        CHECK(dx.guards_hold());
        CHECK(difference(dx.content(), in_double::mean_vjp(of_mean, s), allowed<TestType>) == "");

        const auto of_tokens = rounded<TestType>(random_tensor({s.n, s.c, 1, 1 + pixels}, 34));
        const activations<TestType> dy(of_tokens, place.gap, place.offset);
        activations<TestType> dx_of_tokens(s, 0, place.offset);
        prepend_mean_vjp(dy.as_part(), s.n, pixels, dx_of_tokens.data(), nullptr);
        CHECK(dx_of_tokens.guards_hold());
        CHECK(difference(dx_of_tokens.content(), in_double::prepend_mean_vjp(of_tokens, s), allowed<TestType>) == "");
    }
}
