// What cpu_backend promises beyond the contract: the same bits whatever the threads, the batch and the vector unit, and
// Winograd's convolutions as good as plain sums in every way they are scheduled.
#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <string>
#include <vector>

#include <repaint/backend/cpu.hpp>
#include <repaint/backend/dry.hpp>
#include <repaint/diffusion/noise.hpp>
#include <repaint/model/random_weights.hpp>
#include <repaint/ops.hpp>

#include "support/catch.hpp"
#include "support/compare.hpp"
#include "support/oracle.hpp"

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
    const auto l = GENERATE(values<layer>({{{1, 64, 64, 64}, 64},      // many rows: private input, shared weights
                                           {{2, 64, 33, 47}, 80},      // tiles that reach over the edge, two images
                                           {{3, 64, 9, 6}, 64},        // batches that begin in the middle of an image
                                           {{1, 256, 32, 32}, 72},     // a last chunk that threads share by rows
                                           {{1, 600, 48, 44}, 64},     // input channels in three parts
                                           {{1, 1040, 12, 12}, 200},   // more planes than fit on the stack
                                           {{5, 96, 8, 8}, 130, 0},    // no padding
                                           {{1, 32, 20, 20}, 32},      // tiles of 2x2
                                           {{1, 500, 52, 52}, 300}})); // weights too many to share
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

TEST_CASE("tensors may outlive their backend's turn and move", "[cpu]") {
    cpu_backend b({.threads = 1});
    const auto values = random_tensor({2, 48, 5, 5}, 8);
    auto x = b.upload(values);
    auto y = std::move(x);
    x = b.upload(random_tensor({1, 16, 3, 3}, 9));
    CHECK(same_bits(b.download(y), values));
    // A join of a join, and one that has to copy because 20 channels do not fill whole blocks.
    const auto tail = random_tensor({2, 20, 5, 5}, 10);
    const auto joined = repaint::ops::concat(b, repaint::ops::concat(b, std::move(y), b.upload(values)), b.upload(tail));
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
