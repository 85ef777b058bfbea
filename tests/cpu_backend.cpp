// What cpu_backend promises beyond the contract: the same bits whatever the threads, the batch and the vector unit, and
// Winograd's convolutions as good as plain sums in every way they are scheduled.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <stdexcept>
#include <string>
#include <vector>

#include <repaint/backend/cpu.hpp>
#include <repaint/backend/cpu/conv2d.hpp>
#include <repaint/backend/cpu/profile.hpp>
#include <repaint/backend/dry.hpp>
#include <repaint/diffusion/noise.hpp>
#include <repaint/diffusion/philox.hpp>
#include <repaint/diffusion/step.hpp>
#include <repaint/model/random_weights.hpp>
#include <repaint/ops.hpp>

#include "support/catch.hpp"
#include "support/compare.hpp"
#include "support/oracle.hpp"
#include "support/tolerances.hpp"

using repaint::cpu_backend;
using repaint::host_tensor;
using repaint::instruction_set;
using repaint::shape4;
using repaint::detail::cpu::tile_for;

namespace {

/// Convolutions of every kind, attention and both resamplings in few channels; 3 x 3 tiles of both sizes.
repaint::model_preset small_network() {
    repaint::unet_config network;
    network.model_channels = 64;
    network.levels = {{64, false}, {128, true}};
    network.res_blocks = 1;
    network.resblock_updown = true;
    return {"small", 32, network};
}

host_tensor evaluate(const repaint::cpu_options& options, const host_tensor& images) {
    cpu_backend b(options);
    const auto model = repaint::random_model(b, small_network());
    const auto embedding = model.network.embed(b, 321.0F);
    return b.download(model.network(b, b.upload(images), embedding));
}

struct layer {
    shape4 x;
    int out;
    int padding = 1;
};

host_tensor convolve(const repaint::cpu_options& options, const layer& l, const repaint::conv2d_options& how) {
    cpu_backend b(options);
    const auto x = b.upload(random_tensor(l.x, 1));
    host_tensor w = random_tensor({l.out, l.x.c, 3, 3}, 2);
    for (float& value : w.values()) {
        value /= std::sqrt(9.0F * static_cast<float>(l.x.c));
    }
    const auto packed = b.pack_conv2d(oracle::weights(w), oracle::weights(random_tensor({l.out, 1, 1, 1}, 3)));
    const auto plain = repaint::ops::conv2d(b, x, packed, {.padding = l.padding});
    const auto residual = b.upload(random_tensor(plain.shape(), 4));
    return b.download(repaint::ops::conv2d(b, x, packed, how, &residual));
}

} // namespace

TEST_CASE("a network's bits depend neither on threads nor on the batch", "[cpu]") {
    const auto images = random_tensor({3, 3, 32, 32}, 5);
    const auto alone = evaluate({.threads = 1}, images);
    for (const int threads : {2, 3, 7}) {
        CAPTURE(threads);
        CHECK(same_bits(evaluate({.threads = threads}, images), alone));
    }
    for (int n = 0; n < 3; ++n) {
        CAPTURE(n);
        host_tensor image({1, 3, 32, 32});
        std::copy_n(images.image(n).begin(), image.size(), image.data());
        host_tensor expected({1, 6, 32, 32});
        std::copy_n(alone.image(n).begin(), expected.size(), expected.data());
        CHECK(same_bits(evaluate({.threads = 2}, image), expected));
    }
}

TEST_CASE("AVX2 and AVX-512 give the same bits", "[cpu]") {
    if (!repaint::is_supported(instruction_set::avx512)) {
        WARN("this CPU has no AVX-512");
        return;
    }
    const auto images = random_tensor({1, 3, 32, 32}, 6);
    CHECK(same_bits(evaluate({.instructions = instruction_set::avx2}, images),
                    evaluate({.instructions = instruction_set::avx512}, images)));
}

TEST_CASE("convolutions by Winograd's method agree with plain sums however they are scheduled", "[cpu]") {
    // In brackets: the threads that the branch needs.
    const auto l = GENERATE(values<layer>({
        {{1, 64, 64, 64}, 64},    // batches of rows for one worker each, weights shared
        {{2, 64, 33, 47}, 80},    // the same over two images, tiles that reach over the edge
        {{3, 64, 9, 6}, 64},      // tiles of 2x2, workers that begin in the middle of an image [2]
        {{1, 256, 32, 32}, 72},   // result channels for one worker each [2], too few of them for all workers [5]
        {{1, 600, 48, 44}, 64},   // two strips of rows, input channels in three parts [5]
        {{1, 1040, 12, 12}, 200}, // few rows, input channels in seventeen parts
        {{5, 96, 8, 8}, 130, 0},  // no padding; two chunks for one worker each, the third shared [2]
        {{1, 32, 20, 20}, 32},    // tiles of 2x2 for few channels
        {{1, 4112, 14, 14}, 32},  // more planes than fit on the stack [1]
        {{1, 560, 40, 40}, 300},  // many rows, and weights too many to share
    }));
    const shape4 out{l.x.n, l.out, l.x.h + 2 * l.padding - 2, l.x.w + 2 * l.padding - 2};
    CAPTURE(to_string(l.x), l.out);
    REQUIRE(tile_for({l.out, l.x.c, 3, 3}, out, 1) > 1);
    const repaint::conv2d_options how{.padding = l.padding, .then = repaint::activation::silu};
    const auto plain = convolve({.threads = 2, .strict = true}, l, how);
    // Winograd's tiles of 4x4 round about three times as much as plain sums of chains of 64.
    const auto fast = convolve({.threads = 2}, l, how);
    CHECK(difference(fast, plain, {6e-6, 4e-12}).empty());
    for (const int threads : {1, 5}) {
        CHECK(same_bits(convolve({.threads = threads}, l, how), fast));
    }
}

TEST_CASE("direct convolutions whose weights go through in parts agree with their definition", "[cpu]") {
    struct conv_case {
        shape4 x;
        int out;
        int kernel;
        repaint::conv2d_options options;
    };
    const auto c = GENERATE(values<conv_case>({
        {{5, 800, 10, 10}, 130, 1, {}},                         // all result channels of a strip by one worker
        {{1, 800, 5, 5}, 130, 1, {}},                           // workers share a strip
        {{2, 100, 21, 19}, 40, 3, {.stride = 2, .padding = 1}}, // seven blocks of input channels, five at a time
        {{1, 40, 9, 8}, 24, 5, {.padding = 2}},                 // one block at a time
        {{1, 20, 9, 8}, 16, 4, {.stride = 4}},                  // taps that never overlap
    }));
    CAPTURE(to_string(c.x), c.kernel);
    const auto x = random_tensor(c.x, 1);
    host_tensor w = random_tensor({c.out, c.x.c, c.kernel, c.kernel}, 2);
    for (float& value : w.values()) {
        value /= std::sqrt(static_cast<float>(c.x.c * c.kernel * c.kernel));
    }
    const auto bias = random_tensor({c.out, 1, 1, 1}, 3);
    const auto expected = oracle::conv2d(x, w, bias, nullptr, c.options);
    for (const int threads : {1, 2, 5}) {
        CAPTURE(threads);
        cpu_backend b({.threads = threads});
        const auto packed = b.pack_conv2d(oracle::weights(w), oracle::weights(bias));
        CHECK(difference(b.download(repaint::ops::conv2d(b, b.upload(x), packed, c.options)), expected,
                         tolerances<cpu_backend>::conv2d) == "");
    }
}

TEST_CASE("normalisation and attention in pieces agree with their definitions", "[cpu]") {
    const int threads = GENERATE(1, 2, 7);
    CAPTURE(threads);
    cpu_backend b({.threads = threads});
    SECTION("group_norm of planes in pieces of 256 pixels, and in strips of 16 pieces") {
        for (const shape4 s : {shape4{1, 32, 23, 41}, {2, 48, 70, 61}, {1, 40, 66, 65}}) {
            CAPTURE(to_string(s));
            const auto x = random_tensor(s, 1);
            const auto gamma = random_tensor({s.c, 1, 1, 1}, 2);
            const auto beta = random_tensor({s.c, 1, 1, 1}, 3);
            const auto scale_shift = random_tensor({s.n, 2 * s.c, 1, 1}, 4);
            const repaint::group_norm_options options{.groups = 8, .then = repaint::activation::silu};
            const auto packed = b.pack_norm(oracle::weights(gamma), oracle::weights(beta));
            const auto embedding = b.upload(scale_shift);
            CHECK(difference(b.download(repaint::ops::group_norm(b, b.upload(x), packed, options, &embedding)),
                             oracle::group_norm(x, gamma, beta, &scale_shift, options),
                             tolerances<cpu_backend>::group_norm) == "");
        }
    }
    SECTION("attention whose rows of scores are long, and whose heads are wider than one sum") {
        for (const auto& [s, heads] :
             {std::pair{shape4{1, 3 * 16, 41, 39}, 1}, {shape4{1, 3 * 80, 6, 5}, 1}, {shape4{2, 3 * 168, 9, 9}, 2}}) {
            CAPTURE(to_string(s));
            const auto qkv = random_tensor(s, 1);
            CHECK(difference(b.download(repaint::ops::attention(b, b.upload(qkv), heads)),
                             oracle::attention(qkv, heads), tolerances<cpu_backend>::attention) == "");
        }
    }
}

TEST_CASE("steps over large images are those over every value", "[cpu]") {
    cpu_backend b({.threads = 2});
    const shape4 s{2, 3, 96, 95};
    const auto x = random_tensor(s, 1);
    const auto out = random_tensor({2, 6, 96, 95}, 2);
    const auto known = random_tensor({1, 3, 96, 95}, 3);
    auto keep = random_tensor({2, 1, 96, 95}, 4);
    for (float& value : keep.values()) {
        value = std::clamp(value, 0.0F, 1.0F);
    }
    const std::vector<std::uint64_t> seeds{3, 9};
    const auto z = b.download(repaint::ops::normal(b, seeds, 5, s));
    const repaint::mixing m{0.8F, 0.6F};
    const repaint::posterior p{.prediction = repaint::prediction_type::epsilon,
                               .variance = repaint::variance_type::learned_range,
                               .clip = true,
                               .x0_from_x = 1.25F,
                               .x0_from_prediction = -0.75F,
                               .mean_from_x0 = 0.4F,
                               .mean_from_x = 0.55F,
                               .min_log_variance = -6.0F,
                               .max_log_variance = -3.5F,
                               .noise = 1.0F};
    host_tensor stepped(s);
    host_tensor mixed(s);
    host_tensor merged(s);
    for (int n = 0; n < s.n; ++n) {
        host_tensor noise({1, 3, 96, 95});
        repaint::philox_normal(seeds[static_cast<std::size_t>(n)], 5, noise.values());
        CHECK(std::equal(noise.values().begin(), noise.values().end(), z.image(n).begin()));
        for (int c = 0; c < s.c; ++c) {
            for (int i = 0; i < s.h; ++i) {
                for (int j = 0; j < s.w; ++j) {
                    const float clean = repaint::predicted_x0(p, x(n, c, i, j), out(n, c, i, j));
                    stepped(n, c, i, j) = repaint::reverse_step(p, x(n, c, i, j), out(n, c, i, j), clean,
                                                                out(n, 3 + c, i, j), z(n, c, i, j));
                    mixed(n, c, i, j) = m.signal * x(n, c, i, j) + m.noise * z(n, c, i, j);
                    merged(n, c, i, j) =
                        repaint::merged(m, x(n, c, i, j), known(0, c, i, j), keep(n, 0, i, j), z(n, c, i, j));
                }
            }
        }
    }
    const auto noise = b.upload(z);
    auto moved = b.upload(x);
    repaint::ops::reverse_step(b, moved, b.upload(out), noise, p);
    CHECK(difference(b.download(moved), stepped, tolerances<cpu_backend>::step) == "");
    moved = b.upload(x);
    repaint::ops::forward_step(b, moved, noise, m);
    CHECK(difference(b.download(moved), mixed, tolerances<cpu_backend>::step) == "");
    moved = b.upload(x);
    repaint::ops::merge(b, moved, b.upload(known), b.upload(keep), noise, m);
    CHECK(difference(b.download(moved), merged, tolerances<cpu_backend>::step) == "");
}

TEST_CASE("the way of a convolution follows from its shape", "[cpu]") {
    CHECK(tile_for({256, 256, 3, 3}, {1, 256, 64, 64}, 1) == 4);
    CHECK(tile_for({256, 256, 3, 3}, {16, 256, 64, 64}, 1) == 4);
    CHECK(tile_for({1024, 1024, 3, 3}, {1, 1024, 8, 8}, 1) == 2);
    CHECK(tile_for({32, 32, 3, 3}, {1, 32, 64, 64}, 1) == 2);
    CHECK(tile_for({256, 256, 3, 3}, {1, 256, 64, 64}, 2) == 1);
    CHECK(tile_for({256, 256, 1, 1}, {1, 256, 64, 64}, 1) == 1);
    CHECK(tile_for({256, 256, 3, 3}, {1, 256, 1, 1}, 1) == 1);
}

TEST_CASE("memory is planned, reused and given back", "[cpu]") {
    constexpr int images = 8;
    cpu_backend b({.threads = 2});
    const auto preset = small_network();
    const auto model = repaint::random_model(b, preset);
    const auto embedding = model.network.embed(b, 1.0F);
    const auto x = b.upload(random_tensor({images, 3, 32, 32}, 7));
    const auto first = b.download(model.network(b, x, embedding));
    const std::size_t peak = b.peak_bytes();
    CHECK(same_bits(b.download(model.network(b, x, embedding)), first));
    CHECK(b.peak_bytes() == peak);

    repaint::dry_backend dry;
    repaint::weight_map shapes([](const std::string&, const shape4& s) { return repaint::host_weights{s, nullptr}; });
    const repaint::unet<repaint::dry_backend> network(dry, preset.network, shapes);
    const auto dry_embedding = network.embed(dry, 1.0F);
    const auto dry_x = dry.allocate({images, 3, 32, 32});
    static_cast<void>(network(dry, dry_x, dry_embedding));
    // With the weights, and 2 MB of scratch for each worker, which weigh in a network as small as this one.
    const auto weights = static_cast<double>(dry.packed_bytes());
    CHECK(static_cast<double>(peak) + weights <= 1.1 * (static_cast<double>(dry.peak_bytes()) + weights) + 4e6);
}

TEST_CASE("what no machine has is refused before anything is written", "[cpu]") {
    cpu_backend b({.threads = 1});
    REQUIRE_THROWS_WITH(b.allocate({1, 1024, 65536, 65536}), contains("MB of memory: use smaller pictures"));
    const auto values = random_tensor({1, 16, 2, 2}, 11);
    CHECK(same_bits(b.download(b.upload(values)), values)); // and the backend goes on
    CHECK(b.peak_bytes() < 1'000'000);
}

TEST_CASE("tensors move, join and are joined again", "[cpu]") {
    cpu_backend b({.threads = 1});
    const auto values = random_tensor({2, 48, 5, 5}, 8);
    auto x = b.upload(values);
    auto y = std::move(x);
    x = b.upload(random_tensor({1, 16, 3, 3}, 9));
    CHECK(same_bits(b.download(y), values));
    // A join of a join, and one that has to copy because 20 channels do not fill whole blocks.
    const auto tail = random_tensor({2, 20, 5, 5}, 10);
    const auto joined =
        repaint::ops::concat(b, repaint::ops::concat(b, std::move(y), b.upload(values)), b.upload(tail));
    const auto copied = repaint::ops::concat(b, b.upload(tail), b.upload(values));
    const auto all = b.download(joined);
    const auto other = b.download(copied);
    for (int n = 0; n < 2; ++n) {
        for (int c = 0; c < 116; ++c) {
            CHECK(all(n, c, 4, 3) == (c < 96 ? values(n, c % 48, 4, 3) : tail(n, c - 96, 4, 3)));
        }
        for (int c = 0; c < 68; ++c) {
            CHECK(other(n, c, 2, 1) == (c < 20 ? tail(n, c, 2, 1) : values(n, c - 20, 2, 1)));
        }
    }
}

TEST_CASE("a view is the caller's memory, read and written without a copy", "[cpu]") {
    cpu_backend b({.threads = 2});
    const shape4 s{2, 3, 9, 7};
    auto x = random_tensor(s, 1);
    auto z = random_tensor(s, 2);
    const auto known = random_tensor({1, 3, 9, 7}, 3);
    const host_tensor keep({1, 1, 9, 7}, std::vector<float>(63, 0.25F));
    const repaint::mixing m{0.8F, 0.6F};
    const std::vector<std::uint64_t> seeds{3, 9};
    // What tensors of the backend's own give.
    auto own = b.upload(x);
    const auto noise = b.upload(z);
    repaint::ops::forward_step(b, own, noise, m);
    repaint::ops::merge(b, own, b.upload(known), b.upload(keep), noise, m);
    const repaint::posterior p{.variance = repaint::variance_type::fixed_small};
    auto own_x0 = b.allocate(s);
    repaint::ops::reverse_step(b, own, noise, noise, p, &own_x0);
    const auto drawn = b.download(repaint::ops::normal(b, seeds, 5, s));

    auto view = b.view(x.data(), s);
    const auto view_of_noise = b.view(z.data(), s);
    REQUIRE(view.shape() == s);
    CHECK(same_bits(b.download(view), x));
    repaint::ops::forward_step(b, view, view_of_noise, m);
    repaint::ops::merge(b, view, b.upload(known), b.upload(keep), view_of_noise, m);
    host_tensor x0(s);
    auto view_of_x0 = b.view(x0.data(), s);
    repaint::ops::reverse_step(b, view, view_of_noise, view_of_noise, p, &view_of_x0);
    CHECK(same_bits(x, b.download(own)));
    CHECK(same_bits(x0, b.download(own_x0)));
    b.normal(seeds, 5, view);
    CHECK(same_bits(x, drawn));

    // A duplicate has memory of its own, whoever is written to first.
    auto duplicate = b.duplicate(view);
    repaint::ops::forward_step(b, view, view_of_noise, m);
    CHECK(same_bits(b.download(duplicate), drawn));
    CHECK_FALSE(same_bits(x, drawn));
    const auto mixed = x;
    repaint::ops::forward_step(b, duplicate, view_of_noise, m);
    CHECK(same_bits(x, mixed));
    CHECK(same_bits(b.download(duplicate), mixed));
    view = std::move(duplicate); // the caller's memory stays as it is
    CHECK(same_bits(x, mixed));
}

TEST_CASE("a view goes through every primitive of a network", "[cpu]") {
    cpu_backend b({.threads = 1});
    auto values = random_tensor({2, 48, 6, 4}, 1);
    const auto view = b.view(values.data(), values.shape());
    const auto own = b.upload(values);
    const auto ones = oracle::weights(random_tensor({48, 1, 1, 1}, 2));
    const auto norm = b.pack_norm(ones, ones);
    const auto conv = b.pack_conv2d(oracle::weights(random_tensor({48, 48, 3, 3}, 3)), ones);
    const auto expected = b.download(repaint::ops::conv2d(b, own, conv, {.padding = 1}, &own));
    CHECK(same_bits(b.download(repaint::ops::conv2d(b, view, conv, {.padding = 1}, &view)), expected));
    CHECK(same_bits(b.download(repaint::ops::group_norm(b, view, norm, {.groups = 8})),
                    b.download(repaint::ops::group_norm(b, own, norm, {.groups = 8}))));
    CHECK(same_bits(b.download(repaint::ops::attention(b, view, 2)), b.download(repaint::ops::attention(b, own, 2))));
    const auto up = repaint::resampling::nearest_up;
    CHECK(same_bits(b.download(repaint::ops::resize(b, view, up)), b.download(repaint::ops::resize(b, own, up))));
    const auto joined = b.download(repaint::ops::concat(b, b.upload(values), b.upload(values)));
    CHECK(same_bits(b.download(repaint::ops::concat(b, b.view(values.data(), values.shape()), b.upload(values))),
                    joined));
    CHECK(same_bits(b.download(repaint::ops::concat(b, b.upload(values), b.view(values.data(), values.shape()))),
                    joined));
    const auto parts = b.split(view, 16);
    CHECK(same_bits(b.download(repaint::ops::concat(b, b.duplicate(parts.first), b.duplicate(parts.second))), values));
    host_tensor result(expected.shape());
    auto written = b.view(result.data(), result.shape());
    b.conv2d(view, conv, &own, {.padding = 1}, written);
    CHECK(same_bits(result, expected));
}

TEST_CASE("a view without memory, or of no shape, is refused", "[cpu]") {
    cpu_backend b({.threads = 1});
    REQUIRE_THROWS_WITH(b.view(nullptr, {1, 3, 2, 2}), contains("null is no memory for a tensor (1, 3, 2, 2)"));
    float value = 0.0F;
    REQUIRE_THROWS_AS(b.view(&value, {-1, 1, 1, 1}), repaint::shape_error);
    CHECK(b.download(b.view(nullptr, {0, 3, 2, 2})).empty());
}

TEST_CASE("a profile names every layer with its products, and changes no bit", "[cpu][threads]") {
    const auto images = random_tensor({2, 3, 32, 32}, 5);
    const auto expected = evaluate({.threads = 2}, images);
    repaint::cpu_profile profile;
    const auto began = std::chrono::steady_clock::now();
    CHECK(same_bits(evaluate({.threads = 2, .probe = &profile}, images), expected));
    const double took = std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();

    const auto layers = profile.take();
    double seconds = 0.0;
    bool found[3] = {false, false, false};
    for (const auto& layer : layers) {
        CHECK(layer.calls > 0);
        seconds += layer.seconds;
        double work = 0.0;
        for (const double part : layer.work) {
            work += part;
        }
        CHECK(work <= 2.0 * layer.seconds);
        using repaint::cpu_primitive;
        const auto& call = layer.call;
        found[0] |= call.primitive == cpu_primitive::resize;
        found[1] |= call.primitive == cpu_primitive::attention;
        found[2] |= call.primitive == cpu_primitive::group_norm;
        if (call.primitive == cpu_primitive::conv2d && call.weights.h == 1) {
            const auto channels = static_cast<double>((call.output.c + 15) / 16 * 16); // whole blocks are computed
            CHECK(layer.multiply_adds == channels * call.output.n * static_cast<double>(call.output.plane()) *
                                             call.weights.c * static_cast<double>(layer.calls));
        }
    }
    CHECK(seconds > 0.0);
    CHECK(seconds <= took);
    CHECK((found[0] && found[1] && found[2]));
    CHECK(profile.take().empty());
}

TEST_CASE("impossible options are refused in a sentence", "[cpu]") {
    REQUIRE_THROWS_AS(cpu_backend({.threads = -1}), std::invalid_argument);
    REQUIRE_THROWS_WITH(repaint::instruction_set_from("sse9"), contains("portable, avx2, avx512"));
    for (const auto s : {instruction_set::portable, instruction_set::avx2, instruction_set::avx512}) {
        CHECK(repaint::instruction_set_from(to_string(s)) == s);
        if (!repaint::is_supported(s)) {
            REQUIRE_THROWS_WITH(cpu_backend({.instructions = s}), contains("does not support"));
        }
    }
}
