// Whole networks and runs of cuda_backend's own kernels on a machine without a GPU, and that what the tests on a device
// (cuda_runs.cu) are given is what it says it is.
#include "support/cuda_on_host.hpp"

#include <array>
#include <cstddef>
#include <string>

#include <repaint/image/codecs.hpp>

#include "cuda_runs.hpp"

using cuda_runs::filled;
using cuda_runs::precision_of;
using cuda_runs::task;
using cuda_runs::with_graphs;

namespace {

using backend = repaint::basic_cuda_backend<float>;

/// Every kernel takes some thousand times as long as on a device.
task small_task() {
    task result({2, 3, 8, 8});
    result.options.timesteps = 3;
    return result;
}

/// The bytes of a picture as a tensor.
repaint::host_tensor bytes_of(const repaint::picture& p) {
    repaint::host_tensor bytes({1, p.channels, p.height, p.width});
    for (int y = 0; y < p.height; ++y) {
        for (int x = 0; x < p.width; ++x) {
            for (int c = 0; c < p.channels; ++c) {
                bytes(0, c, y, x) = p.pixels[static_cast<std::size_t>((y * p.width + x) * p.channels + c)];
            }
        }
    }
    return bytes;
}

} // namespace

TEST_CASE("the decoded inputs of the official runs are those of the pictures", "[runs]") {
    for (const std::string name : {"soft_mask", "nested_jumps"}) {
        CAPTURE(name);
        const auto run = cuda_runs::read_case(name);
        for (int i = 0; i < run.image.shape().n; ++i) {
            const auto file = golden::data("official/" + name + "/in" + std::to_string(i) + ".png");
            CHECK(same_bits(cuda_runs::image_of_bytes(bytes_of(repaint::read_picture(file))),
                            cuda_runs::one_image(run.image, i)));
        }
        const auto keep = bytes_of(repaint::read_picture(golden::data("official/" + name + "/keep.png")));
        REQUIRE(keep.shape() == run.keep.shape());
        bool same = true;
        for (std::size_t i = 0; i < keep.size(); ++i) {
            same = same && keep.values()[i] / 255.0F == run.keep.values()[i];
        }
        CHECK(same);
    }
}

TEST_CASE("own kernels agree with PyTorch in every network", "[networks]") {
    backend b;
    cuda_runs::compare_networks(b, precision_of<float>, "float on the host");
}

TEST_CASE("own kernels reproduce a run of the official program", "[runs]") {
    backend b;
    cuda_runs::compare_run(b, cuda_runs::read_case("soft_mask"), precision_of<float>, "float on the host");
}

TEST_CASE("a replayed graph gives the bits of single kernels", "[graphs]") {
    backend with(with_graphs(true));
    backend without(with_graphs(false));
    CHECK(same_bits(filled(with, small_task()), filled(without, small_task())));
}

TEST_CASE("an image in a batch has the bits of the image alone", "[runs]") {
    backend b;
    CHECK(cuda_runs::batch_from_alone(b, small_task()) == 0.0);
}

TEST_CASE("a stopped run goes on bit for bit", "[runs]") {
    const std::array<std::size_t, 1> stops{4};
    backend b;
    cuda_runs::check_resumption(b, small_task(), stops);
    cuda_runs::check_previews(b, small_task());
}
