// Whole networks and whole runs on a device: against PyTorch and the official program in every precision, and what a run
// must not depend on: graphs, batches, interruptions, other runs before it.
#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include <cuda_runtime_api.h>

#include <repaint/backend/cuda.hpp>
#include <repaint/backend/dry.hpp>
#include <repaint/model/presets.hpp>
#include <repaint/model/random_weights.hpp>

#include "cuda_runs.hpp"

using cuda_runs::filled;
using cuda_runs::own_kernels;
using cuda_runs::precision_of;
using cuda_runs::task;
using cuda_runs::with_graphs;
using repaint::cuda_options;

namespace {

using elements = std::tuple<float, __half, __nv_bfloat16>;
template <class T> using backend = repaint::basic_cuda_backend<T>;

/// Sixteen rows, two pictures: tokens and channels that libraries take.
task usual_task() { return task({2, 3, 16, 16}); }

std::size_t free_bytes() {
    std::size_t available = 0;
    std::size_t all = 0;
    REQUIRE(cudaMemGetInfo(&available, &all) == cudaSuccess);
    return available;
}

std::size_t device_bytes() {
    std::size_t available = 0;
    std::size_t all = 0;
    REQUIRE(cudaMemGetInfo(&available, &all) == cudaSuccess);
    return all;
}

/// A file that is not there yet, and gone afterwards.
struct temporary_file {
    std::filesystem::path path = std::filesystem::temp_directory_path() /
                                 ("repaint_cuda_runs_" + std::to_string(reinterpret_cast<std::uintptr_t>(this)));
    temporary_file() { std::filesystem::remove(path); }
    ~temporary_file() {
        std::error_code none;
        std::filesystem::remove(path, none);
    }
};

/// What dry_backend says a network needs for such a batch.
template <class T> std::size_t predicted_bytes(const repaint::model_preset& preset, repaint::shape4 images) {
    repaint::dry_backend b(sizeof(T), sizeof(T));
    repaint::weight_map weights([](const std::string&, const repaint::shape4& shape) {
        return repaint::host_weights{shape, nullptr};
    });
    const repaint::unet<repaint::dry_backend> network(b, preset.network, weights);
    const auto e = network.embed(b, 0.0F);
    const auto x = b.allocate(images);
    (void)network(b, x, e);
    return b.peak_bytes();
}

} // namespace

TEMPLATE_LIST_TEST_CASE("every switch of the architecture agrees with PyTorch", "[networks]", elements) {
    const auto& p = precision_of<TestType>;
    backend<TestType> b;
    cuda_runs::compare_networks(b, p, p.name);
}

TEMPLATE_LIST_TEST_CASE("own kernels alone agree with PyTorch", "[networks][own]", elements) {
    const auto& p = precision_of<TestType>;
    backend<TestType> b(own_kernels());
    cuda_runs::compare_networks(b, p, std::string(p.name) + " (own kernels)");
}

TEMPLATE_LIST_TEST_CASE("a network with every kind of block, own kernels", "[networks][own]", elements) {
    backend<TestType> b(own_kernels()); // what compute-sanitizer has time for
    CHECK(cuda_runs::compare_network(b, "updown_legacy", precision_of<TestType>.network) > 0.0);
}

TEST_CASE("tf32 agrees with PyTorch as far as its factors go", "[networks][runs]") {
    // Factors have half's eleven bits, activations all of float's.
    const auto& p = precision_of<__half>;
    cuda_options options;
    options.tf32 = true;
    backend<float> b(options);
    cuda_runs::compare_networks(b, p, "tf32");
    cuda_runs::compare_run(b, cuda_runs::read_unconditional(), p, "tf32");
}

TEMPLATE_LIST_TEST_CASE("runs of the official program are reproduced", "[runs]", elements) {
    const auto& p = precision_of<TestType>;
    backend<TestType> b;
    cuda_runs::compare_run(b, cuda_runs::read_case("soft_mask"), p, p.name);
    cuda_runs::compare_run(b, cuda_runs::read_case("nested_jumps"), p, p.name);
    cuda_runs::compare_run(b, cuda_runs::read_unconditional(), p, p.name);
    cuda_runs::compare_run(b, cuda_runs::read_guided(), p, p.name);
}

TEMPLATE_LIST_TEST_CASE("own kernels alone reproduce a run of the official program", "[runs][own]", elements) {
    const auto& p = precision_of<TestType>;
    backend<TestType> b(own_kernels());
    cuda_runs::compare_run(b, cuda_runs::read_case("soft_mask"), p, std::string(p.name) + " (own kernels)");
}

TEMPLATE_LIST_TEST_CASE("a replayed graph gives the bits of single kernels", "[graphs]", elements) {
    for (const bool libraries : {true, false}) {
        CAPTURE(libraries);
        backend<TestType> with(with_graphs(true, libraries));
        backend<TestType> without(with_graphs(false, libraries));
        CHECK(same_bits(filled(with, usual_task()), filled(without, usual_task())));
        auto labelled = usual_task();
        labelled.network = "class_labels";
        labelled.options.labels = {3, 9};
        CHECK(same_bits(filled(with, labelled), filled(without, labelled)));
    }
}

TEMPLATE_LIST_TEST_CASE("libraries change a run by rounding only", "[runs]", elements) {
    backend<TestType> with;
    backend<TestType> without(own_kernels());
    const double error = largest_difference(filled(with, usual_task()), filled(without, usual_task()));
    cuda_runs::report("libraries against own kernels", precision_of<TestType>.name, error);
    CHECK(error < 2.0 * precision_of<TestType>.run); // both are that far from the truth at most
}

TEMPLATE_LIST_TEST_CASE("the same run gives the same bits, in one object and in another", "[runs]", elements) {
    backend<TestType> first;
    const auto once = filled(first, usual_task());
    CHECK(same_bits(filled(first, usual_task()), once));
    // Other shapes and networks in between: nothing of them is left behind.
    (void)filled(first, task({1, 3, 24, 40}));
    auto other = task({3, 3, 32, 32});
    other.network = "two_blocks_three_levels";
    (void)filled(first, other);
    CHECK(same_bits(filled(first, usual_task()), once));
    backend<TestType> second;
    CHECK(same_bits(filled(second, usual_task()), once));
}

TEMPLATE_LIST_TEST_CASE("an image in a batch is the image alone", "[runs]", elements) {
    auto three = task({3, 3, 16, 16});
    backend<TestType> own(own_kernels());
    CHECK(cuda_runs::batch_from_alone(own, three) == 0.0);
    // Libraries have plans for each shape, and may sum in another order for another batch.
    backend<TestType> b;
    const double error = cuda_runs::batch_from_alone(b, three);
    cuda_runs::report("an image in a batch against the image alone", precision_of<TestType>.name, error);
    CHECK(error < 2.0 * precision_of<TestType>.run);
}

TEMPLATE_LIST_TEST_CASE("a stopped run goes on bit for bit", "[runs]", elements) {
    const std::array<std::size_t, 3> stops{1, 5, 8};
    for (const bool graphs : {true, false}) {
        CAPTURE(graphs);
        backend<TestType> b(with_graphs(graphs));
        cuda_runs::check_resumption(b, usual_task(), stops);
        cuda_runs::check_previews(b, usual_task());
    }
}

TEST_CASE("what does not fit says what is needed and what is free, and leaves the backend usable", "[memory]") {
    backend<__half> b;
    const auto preset = repaint::find_preset("guided-64");
    const auto model = repaint::random_model(b, preset);
    const repaint::inpaint_options options{.timesteps = 2, .jumps = {.jump_n_sample = 1}};
    const repaint::inpainter<backend<__half>> inpaint(b, model, options);
    const auto run = [&](repaint::shape4 s) {
        return inpaint(repaint::host_tensor(s), repaint::make_mask(repaint::mask_kind::half, s.w, s.h),
                       repaint::philox_noise(1));
    };
    const auto before = run({1, 3, 64, 64});

    repaint::shape4 images{1, 3, 512, 512};
    const std::size_t one = predicted_bytes<__half>(preset, images);
    images.n = static_cast<int>((device_bytes() + device_bytes() / 2) / one) + 1;
    std::string said;
    try {
        (void)run(images);
    } catch (const repaint::device_error& refused) {
        said = refused.what();
    }
    INFO(said);
    std::printf("refused: %s\n", said.c_str());
    CHECK_THAT(said, contains("need") && contains("free") && contains("MB"));
    CHECK(said.find('\n') == std::string::npos);
    CHECK(same_bits(run({1, 3, 64, 64}), before));
    REQUIRE_THROWS_AS(run(images), repaint::device_error); // not only the first time
    CHECK(same_bits(run({1, 3, 64, 64}), before));
}

TEST_CASE("backends that come and go leave no memory behind", "[memory]") {
    const auto come_and_go = [] {
        backend<__half> half;
        (void)filled(half, usual_task());
        backend<float> exact(with_graphs(false));
        (void)filled(exact, usual_task());
    };
    come_and_go(); // kernels and libraries are loaded once, and stay
    come_and_go();
    const std::size_t before = free_bytes();
    for (int i = 0; i < 8; ++i) {
        come_and_go();
    }
    const std::size_t after = free_bytes();
    CAPTURE(before, after);
    CHECK(before <= after + (std::size_t{4} << 20U)); // the driver gives and takes in pieces of two megabytes
}

TEMPLATE_LIST_TEST_CASE("chosen plans are kept in a file and found again", "[plans]", elements) {
    for (const bool tune : {false, true}) {
        CAPTURE(tune);
        const temporary_file file;
        cuda_options options;
        options.tune = tune;
        options.plans = file.path;
        repaint::host_tensor chosen;
        {
            backend<TestType> b(options);
            chosen = filled(b, usual_task());
        }
        REQUIRE(std::filesystem::exists(file.path));
        const auto size = std::filesystem::file_size(file.path);
        CHECK(size > 0);
        backend<TestType> again(options);
        CHECK(same_bits(filled(again, usual_task()), chosen));
        CHECK(std::filesystem::file_size(file.path) == size);
        backend<TestType> usual;
        CHECK(largest_difference(filled(usual, usual_task()), chosen) < 2.0 * precision_of<TestType>.run);
    }
}

TEST_CASE("a device that is not there is refused by number", "[errors]") {
    int devices = 0;
    REQUIRE(cudaGetDeviceCount(&devices) == cudaSuccess);
    for (const int number : {devices, devices + 90, -1}) {
        cuda_options options;
        options.device = number;
        REQUIRE_THROWS_WITH(backend<float>(options), contains(std::to_string(number)));
    }
    backend<float> b; // and nothing is broken by that
    CHECK(cuda_runs::compare_network(b, "one_level", precision_of<float>.network) < 1e-4);
}
