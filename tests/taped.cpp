// taped<B>: gradients of whole small networks against finite differences in double, and what a tape keeps.
#include <cmath>
#include <optional>
#include <string>
#include <tuple>
#include <vector>

#include <repaint/backend/cpu.hpp>
#include <repaint/backend/dry.hpp>
#include <repaint/backend/reference.hpp>
#include <repaint/backend/taped.hpp>
#include <repaint/model/guided_diffusion.hpp>
#include <repaint/model/load.hpp>

#include "support/compare.hpp"
#include "support/golden.hpp"
#include "support/networks.hpp"

using repaint::host_tensor;
using repaint::shape4;
using repaint::tape_memory;
using repaint::taped;

namespace {

using exact_backend = repaint::basic_reference_backend<double>;
using backends = network_backends_and_strict;

/// A network of tests/data/unet on a backend, with one of its golden inputs.
template <class B> struct loaded {
    golden::network file;
    B backend;
    repaint::unet<B> network;
    host_tensor x;
    float timestep = 0.0F;
    std::vector<int> labels;

    explicit loaded(const std::string& name) : loaded(golden::read_network(name)) {}

private:
    explicit loaded(golden::network f) : file(std::move(f)), network(make(backend, file)) {
        x = golden::tensor(file.expected, "golden.x");
        timestep = static_cast<float>(golden::integers(file.expected, "golden.t")[0]);
        if (file.expected.tensors.contains("golden.y")) {
            labels = golden::integers(file.expected, "golden.y");
        }
    }

    static repaint::unet<B> make(B& b, const golden::network& f) {
        const auto read = repaint::read_guided_diffusion(f.weights, &f.config);
        repaint::weight_map weights(f.weights);
        return repaint::unet<B>(b, read.network, weights);
    }
};

/// The gradient of sum(cotangent * network(x)).
template <class B>
typename B::tensor gradient(loaded<B>& on, const typename B::tensor& x, const host_tensor& cotangent,
                            tape_memory memory = tape_memory::keep) {
    taped<B> tape(on.backend, memory);
    const auto in = tape.watch(x);
    const auto out = on.network(tape, in, on.network.embed(tape, on.timestep, on.labels));
    return tape.pullback(out, on.backend.upload(cotangent));
}

template <class B> host_tensor gradient(loaded<B>& on, const host_tensor& cotangent, tape_memory memory) {
    return on.backend.download(gradient(on, on.backend.upload(on.x), cotangent, memory));
}

host_tensor cotangent_of(const host_tensor& x, int channels) {
    const shape4 s = x.shape();
    return random_tensor({s.n, channels, s.h, s.w}, 77);
}

} // namespace

TEST_CASE("the gradient of every architecture is the slope of its output", "[taped]") {
    for (const auto& name : golden::networks) {
        CAPTURE(name);
        loaded<exact_backend> on(name);
        auto& b = on.backend;
        const host_tensor cotangent = cotangent_of(on.x, on.network.config().out_channels);
        const auto g = gradient(on, b.upload(on.x), cotangent);
        const auto embedding = on.network.embed(b, on.timestep, on.labels);
        const auto value = [&](const exact_backend::tensor& x) {
            const auto y = on.network(b, x, embedding);
            double sum = 0.0;
            for (std::size_t i = 0; i < b.values(y).size(); ++i) {
                sum += b.values(y)[i] * static_cast<double>(cotangent.values()[i]);
            }
            return sum;
        };
        // Slopes along random directions: every element takes part. h balances h^2 against the rounding of the sums.
        for (const std::uint64_t seed : {1U, 2U}) {
            const host_tensor direction = random_tensor(on.x.shape(), seed);
            const double h = 1e-4;
            auto above = b.upload(on.x);
            auto below = b.upload(on.x);
            double expected = 0.0;
            for (std::size_t i = 0; i < direction.size(); ++i) {
                const auto d = static_cast<double>(direction.values()[i]);
                b.values(above)[i] += h * d;
                b.values(below)[i] -= h * d;
                expected += b.values(g)[i] * d;
            }
            const double slope = (value(above) - value(below)) / (2.0 * h);
            CHECK(std::fabs(slope - expected) < 1e-5 * std::max(1.0, std::fabs(expected)));
        }
    }
}

TEMPLATE_LIST_TEST_CASE("every backend has the gradient of the oracle in double", "[taped]", backends) {
    for (const auto& name : golden::networks) {
        CAPTURE(name);
        loaded<exact_backend> exact(name);
        loaded<TestType> on(name);
        const host_tensor cotangent = cotangent_of(on.x, on.network.config().out_channels);
        const host_tensor expected = gradient(exact, cotangent, tape_memory::keep);
        // Twice the tolerance of the network forwards: the way back has as many roundings.
        CHECK(difference(gradient(on, cotangent, tape_memory::keep), expected, {4e-5, 2e-10}) == "");
        CHECK(difference(gradient(on, cotangent, tape_memory::recompute), expected, {4e-5, 2e-10}) == "");
    }
}

TEMPLATE_LIST_TEST_CASE("gradients of a batch have the bits they have alone", "[taped]", backends) {
    loaded<TestType> on("labels_new_order_strided");
    on.x = random_tensor({3, 3, 16, 16}, 5);
    on.labels = {1, 4, 2};
    const host_tensor cotangent = cotangent_of(on.x, on.network.config().out_channels);
    const host_tensor all = gradient(on, cotangent, tape_memory::keep);
    const auto image = [](const host_tensor& from, int i) {
        const shape4 s = from.shape();
        return host_tensor({1, s.c, s.h, s.w}, {from.image(i).begin(), from.image(i).end()});
    };
    const host_tensor batch = on.x;
    const std::vector<int> labels = on.labels;
    for (int i = 0; i < 3; ++i) {
        on.x = image(batch, i);
        on.labels = {labels[static_cast<std::size_t>(i)]};
        CHECK(same_bits(gradient(on, image(cotangent, i), tape_memory::keep), image(all, i)));
    }
}

TEST_CASE("dry_backend predicts the memory of a pullback, and recomputing halves what a tape keeps", "[taped][dry]") {
    struct cost {
        std::size_t plain_peak; ///< of a forward evaluation without a tape
        std::size_t kept;       ///< by the tape between the way there and the way back
        std::size_t peak;
        std::uint64_t work;
        std::uint64_t forward_work;
    };
    const auto cost_of = [](tape_memory memory) {
        loaded<repaint::dry_backend> on("two_blocks_three_levels");
        auto x = on.backend.allocate({1, 3, 64, 64});
        const auto forward = [&](auto& b, const auto& in) {
            return on.network(b, in, on.network.embed(b, on.timestep, on.labels));
        };
        const auto y = forward(on.backend, x);
        const std::size_t plain = on.backend.peak_bytes();
        const auto work = on.backend.multiply_adds();
        taped<repaint::dry_backend> tape(on.backend, memory);
        const auto in = tape.watch(x);
        const auto out = forward(tape, in);
        const auto g = tape.pullback(out, on.backend.allocate(y.shape()));
        CHECK(g.shape() == x.shape());
        const std::size_t peak = on.backend.peak_bytes();
        const std::uint64_t there_and_back = on.backend.multiply_adds() - work;

        // A block above everything before shows what is alive under it.
        taped<repaint::dry_backend> another(on.backend, memory);
        const auto watched = another.watch(x);
        const auto result = forward(another, watched);
        const shape4 large{1, 64, 1024, 1024};
        const auto above = on.backend.allocate(large);
        return cost{plain, on.backend.peak_bytes() - 4 * large.size(), peak, there_and_back, work};
    };
    const cost keep = cost_of(tape_memory::keep);
    const cost recompute = cost_of(tape_memory::recompute);
    CAPTURE(keep.plain_peak, keep.kept, keep.peak, recompute.kept, recompute.peak);
    CHECK(recompute.kept * 20 < keep.kept * 11);
    CHECK(keep.peak < 2 * keep.kept);
    CHECK(recompute.peak < keep.peak * 3 / 4); // gradients of the skip connections wait in both
    CHECK(keep.work > 2 * keep.forward_work - keep.forward_work / 50); // forward, and as much back
    CHECK(recompute.work > keep.work);
    CHECK(recompute.work < keep.work * 3 / 2);
}

TEST_CASE("a tape says what it cannot do", "[taped]") {
    using B = repaint::reference_backend;
    loaded<B> on("one_level");
    auto& b = on.backend;
    const auto x = b.upload(on.x);
    taped<B> tape(b);
    const auto in = tape.watch(x);
    REQUIRE_THROWS_AS(tape.watch(x), std::logic_error);
    const auto out = on.network(tape, in, on.network.embed(tape, on.timestep, on.labels));
    REQUIRE_THROWS_AS(tape.pullback(out, b.upload(on.x)), repaint::shape_error);
    const host_tensor cotangent = cotangent_of(on.x, on.network.config().out_channels);
    const auto g = tape.pullback(out, b.upload(cotangent));
    CHECK(g.shape() == on.x.shape());
    REQUIRE_THROWS_AS(tape.pullback(out, b.upload(cotangent)), std::logic_error);

    SECTION("what does not depend on the watched tensor has no gradient") {
        taped<B> other(b);
        const auto watched = other.watch(x);
        const auto constant = other.upload(cotangent);
        const auto zeros = b.download(other.pullback(constant, b.upload(cotangent)));
        CHECK(largest_difference(zeros, host_tensor(on.x.shape())) == 0.0);
    }
    SECTION("embeddings must not depend on it") {
        const host_tensor ones({1, 1, 1, 1}, {1.0F});
        const host_tensor weights({3, 1, 1, 1}, {1.0F, 1.0F, 1.0F});
        const auto owner = std::make_shared<host_tensor>(weights);
        const repaint::host_weights w{weights.shape(), {owner, owner->data()}};
        const auto packed = b.pack_conv2d(w, {{3, 1, 1, 1}, nullptr});
        const auto one = b.upload(ones);
        taped<B> other(b);
        const auto watched = other.watch(one);
        const auto pixel = repaint::ops::conv2d(other, watched, packed);
        const auto picture = other.upload(host_tensor({1, 1, 4, 4}));
        REQUIRE_THROWS_AS(repaint::ops::conv2d(other, picture, packed, {}, &pixel), std::logic_error);
    }
}
