// The whole U-Net against PyTorch (tests/peers/make_unet_goldens.py, examples/models/guided_unet.py).
#include <string>
#include <tuple>

#include <repaint/backend/cpu.hpp>
#include <repaint/backend/dry.hpp>
#include <repaint/backend/reference.hpp>
#include <repaint/model/guided_diffusion.hpp>
#include <repaint/model/load.hpp>

#include "support/compare.hpp"
#include "support/golden.hpp"
#include "support/networks.hpp"

using repaint::host_tensor;

namespace {

host_tensor one_image(const host_tensor& all, int i) {
    const auto s = all.shape();
    const auto part = all.image(i);
    return {{1, s.c, s.h, s.w}, std::vector<float>(part.begin(), part.end())};
}

using backends = network_backends_and_strict;

} // namespace

TEMPLATE_LIST_TEST_CASE("every switch of the architecture agrees with PyTorch", "[golden]", backends) {
    for (const auto& name : golden::networks) {
        CAPTURE(name);
        const auto file = golden::read_network(name);
        const auto read = repaint::read_guided_diffusion(file.weights, &file.config);
        TestType b;
        repaint::weight_map weights(file.weights);
        const repaint::unet<TestType> network(b, read.network, weights);
        REQUIRE_NOTHROW(weights.finish());

        const auto x = golden::tensor(file.expected, "golden.x");
        const auto expected = golden::tensor(file.expected, "golden.out");
        const auto timesteps = golden::integers(file.expected, "golden.t");
        const bool labelled = file.expected.tensors.contains("golden.y");
        for (int i = 0; i < x.shape().n; ++i) {
            const std::vector<int> labels =
                labelled ? std::vector{golden::integers(file.expected, "golden.y")[static_cast<std::size_t>(i)]}
                         : std::vector<int>{};
            const auto embedding = network.embed(b, static_cast<float>(timesteps[static_cast<std::size_t>(i)]), labels);
            const auto out = b.download(network(b, b.upload(one_image(x, i)), embedding));
            // Twice the distance that PyTorch itself moves when it sums in another order.
            CHECK(difference(out, one_image(expected, i), {2e-5, 1e-10}) == "");
        }
    }
}

TEMPLATE_LIST_TEST_CASE("a batch gives every image the bits it gets alone", "[unet]", backends) {
    const auto file = golden::read_network("labels_new_order_strided");
    const auto read = repaint::read_guided_diffusion(file.weights, &file.config);
    TestType b;
    repaint::weight_map weights(file.weights);
    const repaint::unet<TestType> network(b, read.network, weights);
    const auto x = random_tensor({3, 3, 16, 16}, 5);
    const std::vector<int> labels{1, 4, 2};
    const auto all = b.download(network(b, b.upload(x), network.embed(b, 77.0F, labels)));
    for (int i = 0; i < 3; ++i) {
        const auto label = std::span(labels).subspan(static_cast<std::size_t>(i), 1);
        const auto alone = b.download(network(b, b.upload(one_image(x, i)), network.embed(b, 77.0F, label)));
        CHECK(same_bits(one_image(all, i), alone));
    }
}

TEST_CASE("dry_backend predicts what a network needs", "[dry]") {
    const auto file = golden::read_network("two_blocks_three_levels");
    const auto read = repaint::read_guided_diffusion(file.weights, &file.config);
    repaint::dry_backend b;
    repaint::weight_map weights(file.weights, repaint::weight_map::check_only);
    const repaint::unet<repaint::dry_backend> network(b, read.network, weights);
    REQUIRE_NOTHROW(weights.finish());
    std::size_t parameters = 0;
    for (const auto& [name, tensor] : file.weights.tensors) {
        parameters += tensor.numel();
    }
    CHECK(b.packed_bytes() == 4 * parameters);

    const auto embedding = network.embed(b, 0.0F);
    const auto work = [&](int n, int side) {
        const auto before = b.multiply_adds();
        const auto x = b.allocate({n, 3, side, side});
        CHECK(network(b, x, embedding).shape() == repaint::shape4{n, 6, side, side});
        return b.multiply_adds() - before;
    };
    const auto once = work(1, 32);
    CHECK(work(3, 32) == 3 * once);
    CHECK(once > 32ULL * 32ULL * 32ULL * 9ULL * 32ULL); // at least the convolutions of the first level
    const auto peak = b.peak_bytes();
    work(1, 32);
    CHECK(b.peak_bytes() == peak); // three images were the most; nothing is left behind
}
