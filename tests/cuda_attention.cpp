#include "support/cuda_on_host.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <vector>

#include <repaint/backend/cuda/attention_direct.cuh>

#include "support/catch.hpp"
#include "support/device_values.hpp"
#include "support/oracle.hpp"

/// The attention kernels of the CUDA backend, on the host, against the definition in double.

namespace {

using namespace repaint::detail::cuda;
using repaint::host_tensor;

/// For T's own rounding of the result, half a unit in the last place; float has the sums' instead.
template <class T> constexpr tolerance of_attention = {3e-6, 1e-12};
template <> constexpr tolerance of_attention<__half> = {5e-4, 2.5e-7};
template <> constexpr tolerance of_attention<__nv_bfloat16> = {4e-3, 1.6e-5};

/// Five products instead of two, and differences of their results.
template <class T> constexpr tolerance of_vjp = {5e-6, 1e-11};
template <> constexpr tolerance of_vjp<__half> = {5e-4, 2.5e-7};
template <> constexpr tolerance of_vjp<__nv_bfloat16> = {4e-3, 1.6e-5};

std::size_t size(int extent) { return static_cast<std::size_t>(extent); }

/// (images, tokens, channels) as (images, channels, 1, tokens).
template <class T> host_tensor planar(const device_values<T>& x, int images, int tokens) {
    const int channels = static_cast<int>(x.size()) / images / tokens;
    host_tensor y({images, channels, 1, tokens});
    for (int n = 0; n < images; ++n) {
        for (int t = 0; t < tokens; ++t) {
            for (int c = 0; c < channels; ++c) {
                y(n, c, 0, t) = x[(size(n) * size(tokens) + size(t)) * size(channels) + size(c)];
            }
        }
    }
    return y;
}

/// dqkv by its definition: dS = P (dP - the sum of P dP over the row).
host_tensor attention_vjp(const host_tensor& qkv, int heads, const host_tensor& dy) {
    const auto s = qkv.shape();
    const int channels = s.c / 3;
    const int width = channels / heads;
    const int tokens = s.w;
    const double scale = 1.0 / std::sqrt(static_cast<double>(width));
    host_tensor dqkv(s);
    const auto at = [&](const host_tensor& x, int n, int c, int t) { return static_cast<double>(x(n, c, 0, t)); };
    for (int n = 0; n < s.n; ++n) {
        for (int head = 0; head < heads; ++head) {
            const int q = head * width;
            const int k = channels + q;
            const int v = 2 * channels + q;
            std::vector<double> dk(size(tokens * width), 0.0);
            std::vector<double> dv(size(tokens * width), 0.0);
            for (int t = 0; t < tokens; ++t) {
                std::vector<double> p(size(tokens), 0.0);
                std::vector<double> dp(size(tokens), 0.0);
                for (int u = 0; u < tokens; ++u) {
                    for (int d = 0; d < width; ++d) {
                        p[size(u)] += at(qkv, n, q + d, t) * at(qkv, n, k + d, u) * scale;
                        dp[size(u)] += at(dy, n, q + d, t) * at(qkv, n, v + d, u);
                    }
                }
                const double top = *std::max_element(p.begin(), p.end());
                double sum = 0.0;
                for (double& value : p) {
                    value = std::exp(value - top);
                    sum += value;
                }
                double mean = 0.0;
                for (int u = 0; u < tokens; ++u) {
                    p[size(u)] /= sum;
                    mean += p[size(u)] * dp[size(u)];
                }
                for (int d = 0; d < width; ++d) {
                    double dq = 0.0;
                    for (int u = 0; u < tokens; ++u) {
                        const double ds = p[size(u)] * (dp[size(u)] - mean) * scale;
                        dq += ds * at(qkv, n, k + d, u);
                        dk[size(u * width + d)] += ds * at(qkv, n, q + d, t);
                        dv[size(u * width + d)] += p[size(u)] * at(dy, n, q + d, t);
                    }
                    dqkv(n, q + d, 0, t) = static_cast<float>(dq);
                }
            }
            for (int u = 0; u < tokens; ++u) {
                for (int d = 0; d < width; ++d) {
                    dqkv(n, k + d, 0, u) = static_cast<float>(dk[size(u * width + d)]);
                    dqkv(n, v + d, 0, u) = static_cast<float>(dv[size(u * width + d)]);
                }
            }
        }
    }
    return dqkv;
}

/// offset: elements by which tensors miss an address of sixteen bytes. factor: of qkv.
template <class T> void check(const attention_shape& s, std::size_t offset = 0, float factor = 1.0F) {
    CAPTURE(s.images, s.tokens, s.heads, s.width, offset, factor);
    const std::size_t total = size(s.images * s.tokens) * s.channels();
    std::vector<float> values = random_values(3 * total, 1);
    for (float& value : values) {
        value *= factor;
    }
    const device_values<T> qkv(values, offset);
    const device_values<T> dy(random_values(total, 2), offset);
    device_values<T> y(total, offset);
    attention_direct(qkv.data(), s, y.data(), nullptr);
    const host_tensor qkv_planar = planar(qkv, s.images, s.tokens);
    CHECK(difference(planar(y, s.images, s.tokens), oracle::attention(qkv_planar, s.heads), of_attention<T>) == "");
    CHECK(y.guards_hold());

    device_values<T> dqkv(3 * total, offset);
    device_values<float> scratch(attention_direct_vjp_floats(s));
    attention_direct_vjp(qkv.data(), dy.data(), s, scratch.data(), dqkv.data(), nullptr);
    const host_tensor expected = attention_vjp(qkv_planar, s.heads, planar(dy, s.images, s.tokens));
    CHECK(difference(planar(dqkv, s.images, s.tokens), expected, of_vjp<T>) == "");
    CHECK(dqkv.guards_hold());
    CHECK(scratch.guards_hold());
    if (s.images == 1) {
        return;
    }

    // The last image alone.
    const attention_shape one = {1, s.tokens, s.heads, s.width};
    const std::size_t each = total / size(s.images);
    const auto last_of = [&](const device_values<T>& x) {
        const std::vector<float> all = x.floats();
        return device_values<T>(
            std::vector<float>(all.end() - static_cast<std::ptrdiff_t>(x.size() / size(s.images)), all.end()), offset);
    };
    const device_values<T> last = last_of(qkv);
    const device_values<T> last_dy = last_of(dy);
    device_values<T> alone(each, offset);
    attention_direct(last.data(), one, alone.data(), nullptr);
    CHECK(alone.same_bits(0, y, total - each, each));
    device_values<T> alone_vjp(3 * each, offset);
    attention_direct_vjp(last.data(), last_dy.data(), one, scratch.data(), alone_vjp.data(), nullptr);
    CHECK(alone_vjp.same_bits(0, dqkv, 3 * (total - each), 3 * each));
}

} // namespace

TEMPLATE_TEST_CASE("CUDA: attention and its product with a cotangent", "", float, __half, __nv_bfloat16) {
    using T = TestType;
    // Tokens around the tiles of 32 and 64.
    check<T>({1, 1, 1, 8});
    check<T>({2, 31, 1, 8});
    check<T>({1, 32, 2, 16});
    check<T>({1, 33, 1, 64});
    check<T>({1, 65, 1, 8});
    // Widths that are no vectors, and addresses that begin none.
    check<T>({2, 9, 2, 5});
    check<T>({1, 10, 3, 1});
    check<T>({1, 7, 2, 8}, 1);
    check<T>({1, 5, 1, 67});
    // More than one chunk of channels; every size of tile.
    check<T>({2, 36, 1, 72});
    check<T>({1, 35, 1, 256});
    check<T>({1, 18, 2, 264});
    check<T>({1, 5, 1, 301});
}

TEST_CASE("CUDA: attention of the widest heads") {
    check<float>({1, 17, 1, 520});
    check<float>({1, 3, 1, 1024});
    const attention_shape wider = {1, 3, 1, 1025};
    device_values<float> y(3 * 1025);
    CHECK_THROWS_AS(attention_direct(y.data(), wider, y.data(), nullptr), repaint::shape_error);
    CHECK_THROWS_WITH(attention_direct<float>(nullptr, wider, nullptr, nullptr), contains("heads of 1025 channels"));
    CHECK_THROWS_WITH(attention_direct_vjp<float>(nullptr, nullptr, wider, nullptr, nullptr, nullptr),
                      contains("heads of 1025 channels"));
}

TEST_CASE("CUDA: attention of scores of some hundreds") {
    // A rounding of such a score is a factor of 1e-4 on its weight.
    const attention_shape s = {1, 40, 1, 16};
    std::vector<float> values = random_values(size(s.tokens) * 3 * s.channels(), 1);
    for (float& value : values) {
        value *= 12.0F;
    }
    const device_values<float> qkv(values);
    device_values<float> y(size(s.tokens) * s.channels());
    attention_direct(qkv.data(), s, y.data(), nullptr);
    const host_tensor expected = oracle::attention(planar(qkv, 1, s.tokens), 1);
    CHECK(difference(planar(y, 1, s.tokens), expected, {1e-3, 1e-7}) == "");
}

TEST_CASE("CUDA: a NaN in one query stays in that query, one in a key goes to all") {
    const attention_shape s = {1, 40, 1, 8};
    std::vector<float> values = random_values(size(s.tokens) * 3 * s.channels(), 1);
    const std::size_t row = 3 * s.channels();
    device_values<float> y(size(s.tokens) * s.channels());
    values[7 * row] = std::nanf("");
    attention_direct(device_values<float>(values).data(), s, y.data(), nullptr);
    for (std::size_t i = 0; i < y.size(); ++i) {
        REQUIRE(std::isnan(y[i]) == (i / s.channels() == 7));
    }
    values[7 * row + s.channels()] = std::nanf("");
    attention_direct(device_values<float>(values).data(), s, y.data(), nullptr);
    for (std::size_t i = 0; i < y.size(); ++i) {
        REQUIRE(std::isnan(y[i]));
    }
}
