// A device and its memory, what is said when there is none of either, and networks that are replayed as CUDA graphs: on
// a machine without a GPU, by the substitute for CUDA.
#include "support/cuda_on_host.hpp"

#include <string>
#include <utility>
#include <vector>

#include <repaint/backend/cuda.hpp>
#include <repaint/model/presets.hpp>
#include <repaint/model/random_weights.hpp>
#include <repaint/repaint.hpp>

#include "support/catch.hpp"
#include "support/compare.hpp"

using repaint::host_tensor;
using backend = repaint::basic_cuda_backend<float>;

namespace {

/// Puts the machine back as it was.
class changed_machine {
public:
    changed_machine() : before_(here()) {}
    changed_machine(const changed_machine&) = delete;
    changed_machine& operator=(const changed_machine&) = delete;
    ~changed_machine() { here() = before_; }

    static cuda_on_host::machine& here() { return cuda_on_host::machine::here(); }

private:
    cuda_on_host::machine before_;
};

repaint::diffusion_model<backend> small_model(backend& b) {
    repaint::model_preset preset = repaint::find_preset("guided-64");
    preset.network.levels.resize(2);
    preset.network.levels[0].channels = 32;
    preset.network.levels[1] = {64, true};
    preset.network.model_channels = 32;
    preset.network.res_blocks = 1;
    preset.network.resblock_updown = true;
    return repaint::random_model(b, preset);
}

std::string reason(const repaint::cuda_options& options = {}) {
    try {
        const backend b(options);
    } catch (const repaint::device_error& e) {
        return e.what();
    }
    return "no error";
}

} // namespace

TEST_CASE("a device that cannot be used is refused, with the reason", "[cuda]") {
    const changed_machine restored;
    auto& machine = changed_machine::here();
    CHECK(reason() == "no error");
    CHECK(reason({.device = 1}) == "there is no CUDA device 1: this machine has 1, counted from 0");
    CHECK(reason({.device = -1}) == "there is no CUDA device -1: this machine has 1, counted from 0");
    machine.major = 7;
    CHECK(reason() == "the host has compute capability 7.0, the backend cuda needs 8.0 or more");
    machine.devices = 0;
    CHECK(reason() == "there is no CUDA device on this machine, which the backend cuda needs");
    machine.driver = 12080;
    CHECK(reason() == "the NVIDIA driver is for CUDA 12.8, this program for CUDA 13.0: update the driver");
    machine.driver = 0;
    CHECK(reason() == "there is no NVIDIA driver on this machine, which the backend cuda needs");
    CHECK_THROWS_AS(repaint::cuda_backend({.tf32 = true}), repaint::device_error); // the first thing that is wrong
}

TEST_CASE("tf32 is refused for other types than float", "[cuda]") {
    CHECK_NOTHROW(backend({.tf32 = true}));
    CHECK_THROWS_AS(repaint::cuda_backend({.tf32 = true}), std::invalid_argument);
}

TEST_CASE("a batch that does not fit says so before anything runs, and the backend stays usable", "[cuda]") {
    backend b;
    const auto model = small_model(b);
    const repaint::inpainter<backend> inpaint(b, model, {.timesteps = 2, .jumps = {.jump_n_sample = 1}});
    const auto fill = [&](int images) {
        const host_tensor image({images, 3, 8, 8});
        return inpaint(image, host_tensor({1, 1, 8, 8}), repaint::philox_noise(1));
    };
    const auto before = fill(1);
    {
        const changed_machine restored;
        changed_machine::here().memory -= cuda_on_host::available() - (std::size_t{30} << 20U);
        std::size_t observed = 0;
        std::string text = "no error";
        try {
            (void)inpaint(host_tensor({1024, 3, 8, 8}), host_tensor({1, 1, 8, 8}), repaint::philox_noise(1),
                          [&](const repaint::progress&) { ++observed; });
        } catch (const repaint::device_error& e) {
            text = e.what();
        }
        CHECK(observed == 0);
        CAPTURE(text);
        CHECK(text.starts_with("the activations need "));
        CHECK(text.find(" MB free of ") != std::string::npos);
        CHECK(text.ends_with("use smaller pictures or a smaller batch"));
    }
    CHECK(same_bits(fill(1), before));
}

TEST_CASE("a backend gives back all that it took", "[cuda]") {
    const std::size_t before = cuda_on_host::taken().size();
    {
        backend b;
        auto model = small_model(b);
        const repaint::inpainter<backend> inpaint(b, model, {.timesteps = 2, .jumps = {.jump_n_sample = 1}});
        (void)inpaint(host_tensor({1, 3, 8, 8}), host_tensor({1, 1, 8, 8}), repaint::philox_noise(1));
        CHECK(cuda_on_host::taken().size() > before);
    }
    CHECK(cuda_on_host::taken().size() == before);
}

TEST_CASE("what a graph computes is what is computed without one, whatever runs in between", "[cuda]") {
    backend plain({.graphs = false});
    backend b;
    const auto model = small_model(b);
    const auto plain_model = small_model(plain);
    const auto process = model.diffusion.respaced("3");
    repaint::unet_denoiser<backend> first(model, process);
    repaint::unet_denoiser<backend> second(model, process);
    repaint::unet_denoiser<backend> expected(plain_model, process);

    const auto small = random_tensor({1, 3, 8, 8}, 1);
    const auto large = random_tensor({2, 3, 8, 8}, 2);
    const auto check = [&](repaint::unet_denoiser<backend>& denoise, const host_tensor& x, int t) {
        CAPTURE(to_string(x.shape()), t);
        const auto y = denoise(b, b.upload(x), t);
        CHECK(same_bits(b.download(y), plain.download(expected(plain, plain.upload(x), t))));
    };
    for (int round = 0; round < 3; ++round) { // as it comes, recorded, replayed
        check(first, small, round);
        check(second, large, 2 - round);
    }
    check(first, large, 1); // another shape: recorded anew
    check(first, large, 1);
    check(first, small, 0);
    CHECK(b.not_recorded().empty());

    // A result is the caller's: the next evaluation does not change it.
    const auto kept = first(b, b.upload(small), 0);
    const auto bits = b.download(kept);
    (void)first(b, b.upload(small), 1);
    CHECK(same_bits(b.download(kept), bits));
}

TEST_CASE("where no graph can be made the network runs kernel by kernel, and the reason is kept", "[cuda]") {
    const changed_machine restored;
    changed_machine::here().graphs = false;
    backend b;
    const auto model = small_model(b);
    const auto process = model.diffusion.respaced("2");
    repaint::unet_denoiser<backend> denoise(model, process);
    const auto x = random_tensor({1, 3, 8, 8}, 1);
    const auto first = b.download(denoise(b, b.upload(x), 1));
    for (int i = 0; i < 3; ++i) {
        CHECK(same_bits(b.download(denoise(b, b.upload(x), 1)), first));
    }
    CHECK(b.not_recorded().starts_with("making a CUDA graph ready: cudaErrorStreamCaptureUnsupported"));
}

TEST_CASE("activations and scratch need at most a tenth more than dry_backend predicts", "[cuda]") {
    // What a recording takes from the arena is what a run takes, and nothing need be computed for it.
    const auto preset = repaint::find_preset("guided-64");
    repaint::cuda_backend b;
    const auto model = repaint::random_model(b, preset);
    const repaint::shape4 s{4, 3, 64, 64};
    repaint::dry_run<repaint::cuda_backend> dry(b, sizeof(__half));
    (void)model.network(dry, dry.allocate(s), model.network.embed(dry, 0.0F));
    const auto embedding = model.network.embed(b, 0.0F);
    const auto x = b.upload(host_tensor(s));
    {
        const auto recorded =
            repaint::detail::cuda::recorded_work::of(nullptr, [&] { (void)model.network(b, x, embedding); });
    }
    CAPTURE(b.peak_bytes(), dry.peak_bytes());
    CHECK(static_cast<double>(b.peak_bytes()) < 1.1 * static_cast<double>(dry.peak_bytes()));
    CHECK(static_cast<double>(b.peak_bytes()) > 0.5 * static_cast<double>(dry.peak_bytes()));
}
