// The published numbers of diffusers' own tests of its pipelines, from nothing: the networks are initialised here as
// PyTorch does it after torch.manual_seed(0).
#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include <repaint/backend/cpu.hpp>
#include <repaint/backend/reference.hpp>
#include <repaint/model/diffusers.hpp>
#include <repaint/model/monai.hpp>
#include <repaint/repaint.hpp>

#include "support/compare.hpp"
#include "support/golden.hpp"
#include "support/networks.hpp"

using repaint::host_tensor;
using repaint::shape4;

namespace {

using backends = network_backends;

/// A UNet2DModel of two levels, the lower one with attention, as torch.manual_seed(0) and its constructor leave it:
/// the order of the layers is the order in which they draw.
class initialised_network {
public:
    initialised_network(int narrow, int wide, int layers) {
        const int embedding = 4 * narrow;
        layer("conv_in", {narrow, 3, 3, 3});
        layer("time_embedding.linear_1", {embedding, narrow});
        layer("time_embedding.linear_2", {embedding, embedding});
        for (int j = 0; j < layers; ++j) {
            residual("down_blocks.0.resnets." + std::to_string(j), narrow, narrow, embedding);
        }
        layer("down_blocks.0.downsamplers.0.conv", {narrow, narrow, 3, 3});
        for (int j = 0; j < layers; ++j) {
            residual("down_blocks.1.resnets." + std::to_string(j), j == 0 ? narrow : wide, wide, embedding);
            attention("down_blocks.1.attentions." + std::to_string(j), wide);
        }
        residual("mid_block.resnets.0", wide, wide, embedding);
        attention("mid_block.attentions.0", wide);
        residual("mid_block.resnets.1", wide, wide, embedding);
        for (int j = 0; j <= layers; ++j) {
            const int skip = j == layers ? narrow : wide;
            residual("up_blocks.0.resnets." + std::to_string(j), wide + skip, wide, embedding);
            attention("up_blocks.0.attentions." + std::to_string(j), wide);
        }
        layer("up_blocks.0.upsamplers.0.conv", {wide, wide, 3, 3});
        for (int j = 0; j <= layers; ++j) {
            residual("up_blocks.1.resnets." + std::to_string(j), (j == 0 ? wide : narrow) + narrow, narrow, embedding);
        }
        norm("conv_norm_out", narrow);
        layer("conv_out", {3, narrow, 3, 3});
    }

    repaint::checkpoint file;

private:
    /// A convolution or linear layer: weights and biases within 1 / sqrt(fan in).
    void layer(const std::string& name, const std::vector<std::int64_t>& shape) {
        std::size_t fan_in = 1;
        for (std::size_t axis = 1; axis < shape.size(); ++axis) {
            fan_in *= static_cast<std::size_t>(shape[axis]);
        }
        const auto bound = static_cast<float>(1.0 / std::sqrt(static_cast<double>(fan_in)));
        const auto rows = static_cast<std::size_t>(shape[0]);
        std::vector<float> weights(rows * fan_in);
        std::vector<float> biases(rows);
        generator_.uniform(weights, -bound, bound);
        generator_.uniform(biases, -bound, bound);
        file.tensors.emplace(name + ".weight", golden::stored(shape, std::move(weights)));
        file.tensors.emplace(name + ".bias", golden::stored({shape[0]}, std::move(biases)));
    }

    void norm(const std::string& name, int channels) {
        const auto count = static_cast<std::size_t>(channels);
        file.tensors.emplace(name + ".weight", golden::stored({channels}, std::vector<float>(count, 1.0F)));
        file.tensors.emplace(name + ".bias", golden::stored({channels}, std::vector<float>(count, 0.0F)));
    }

    void residual(const std::string& name, int from, int to, int embedding) {
        norm(name + ".norm1", from);
        layer(name + ".conv1", {to, from, 3, 3});
        layer(name + ".time_emb_proj", {to, embedding});
        norm(name + ".norm2", to);
        layer(name + ".conv2", {to, to, 3, 3});
        if (from != to) {
            layer(name + ".conv_shortcut", {to, from, 1, 1});
        }
    }

    void attention(const std::string& name, int channels) {
        norm(name + ".group_norm", channels);
        for (const char* part : {".to_q", ".to_k", ".to_v", ".to_out.0"}) {
            layer(name + part, {channels, channels});
        }
    }

    repaint::torch_cpu_generator generator_{0};
};

/// numpy.random.RandomState(0).standard_normal: pairs by the polar method, the second handed out first.
std::vector<float> numpy_normals(std::size_t count) {
    repaint::torch_cpu_generator words(0);
    const auto uniform = [&words] {
        const double high = words.random32() >> 5U;
        const double low = words.random32() >> 6U;
        return 2.0 * ((high * 67108864.0 + low) / 9007199254740992.0) - 1.0;
    };
    std::vector<float> values;
    while (values.size() < count) {
        const double first = uniform();
        const double second = uniform();
        const double square = first * first + second * second;
        if (square < 1.0 && square > 0.0) {
            const double scale = std::sqrt(-2.0 * std::log(square) / square);
            values.push_back(static_cast<float>(scale * second));
            values.push_back(static_cast<float>(scale * first));
        }
    }
    values.resize(count);
    return values;
}

/// The last three rows and columns of the last channel as a pipeline returns them, 0 to 1.
std::array<double, 9> corner(const host_tensor& x) {
    std::array<double, 9> values{};
    const shape4 s = x.shape();
    for (int i = 0; i < 9; ++i) {
        const auto value = static_cast<double>(x(0, s.c - 1, s.h - 3 + i / 3, s.w - 3 + i % 3));
        values[static_cast<std::size_t>(i)] = std::clamp(value / 2.0 + 0.5, 0.0, 1.0);
    }
    return values;
}

template <class B> repaint::diffusion_model<B> put_on(B& b, const repaint::checkpoint& file, const char* config) {
    const auto json = repaint::parse_json(config, "config.json");
    const auto read = repaint::read_diffusers(file, {&json, nullptr, nullptr});
    repaint::weight_map weights(file, read.names);
    repaint::diffusion_model<B> model{repaint::unet<B>(b, read.network, weights), read.diffusion, read.description};
    weights.finish();
    return model;
}

} // namespace

TEMPLATE_LIST_TEST_CASE("the fast test of RePaintPipeline", "[diffusers][golden]", backends) {
    // UNet2DModel(block_out_channels=(32, 64), layers_per_block=2, sample_size=32, in_channels=3, out_channels=3,
    // down_block_types=("DownBlock2D", "AttnDownBlock2D"), up_block_types=("AttnUpBlock2D", "UpBlock2D"))
    const initialised_network from_nothing(32, 64, 2);
    TestType b;
    const auto model = put_on(b, from_nothing.file, R"({"_class_name": "UNet2DModel"})");
    const host_tensor image({1, 3, 32, 32}, numpy_normals(3 * 32 * 32));
    CHECK(image(0, 0, 0, 0) == approx(1.764052).epsilon(1e-6));
    host_tensor keep(image.shape());
    std::transform(image.values().begin(), image.values().end(), keep.values().begin(),
                   [](float value) { return value > 0.0F ? 1.0F : 0.0F; });
    const repaint::inpainter<TestType> inpaint(b, model,
                                               {.timesteps = 5,
                                                .jumps = {.jump_length = 2, .jump_n_sample = 2},
                                                .eta = 0.0,
                                                .system = repaint::sampling_system::diffusers});
    CHECK(inpaint.evaluations() == 9);
    // Normals are no picture: on the host they would be refused.
    const auto found = corner(b.download(inpaint(b.upload(image), b.upload(keep), repaint::torch_cpu_noise(0))));
    const std::array<double, 9> published{1.0000, 0.5426, 0.5497, 0.2200, 1.0000, 1.0000, 0.5623, 1.0000, 0.6274};
    for (std::size_t i = 0; i < published.size(); ++i) {
        CAPTURE(i);
        CHECK(found[i] == approx(published[i]).margin(6e-5)); // they have four digits
    }
}

TEST_CASE("a network is initialised as PyTorch does it", "[diffusers][golden]") {
    const initialised_network from_nothing(4, 8, 1);
    const auto written =
        repaint::read_checkpoint(golden::data("families/ddpm_fast_test/diffusion_pytorch_model.safetensors"));
    REQUIRE(from_nothing.file.tensors.size() == written.tensors.size());
    for (const auto& [name, tensor] : written.tensors) {
        CAPTURE(name);
        REQUIRE(from_nothing.file.tensors.contains(name));
        CHECK(from_nothing.file.tensors.at(name).shape == tensor.shape);
        // PyTorch may fuse the product and the sum of low + u (high - low).
        CHECK(largest_difference(golden::tensor(from_nothing.file, name), golden::tensor(written, name)) < 6e-8);
    }
}

TEMPLATE_LIST_TEST_CASE("the fast tests of DDPMPipeline and DDIMPipeline", "[diffusers][golden]", backends) {
    // UNet2DModel(block_out_channels=(4, 8), layers_per_block=1, norm_num_groups=4, sample_size=8, ...)
    const initialised_network from_nothing(4, 8, 1);
    TestType b;
    const auto model = put_on(b, from_nothing.file, R"({"_class_name": "UNet2DModel", "norm_num_groups": 4})");
    const auto draw = [&](std::optional<double> eta) {
        const repaint::unconditional_sampler<TestType> sampler(
            b, model, {.timesteps = 2, .eta = eta, .system = repaint::sampling_system::diffusers});
        return corner(sampler({1, 3, 8, 8}, repaint::torch_cpu_noise(0)));
    };
    const auto ddpm = draw(std::nullopt);
    const std::array<double, 9> published_ddpm{0.0, 0.9996672, 0.00329116, 1.0, 0.9995991,
                                               1.0, 0.0060907, 0.00115037, 0.0};
    const auto ddim = draw(0.0);
    const std::array<double, 9> published_ddim{0.0, 0.9979, 0.0, 0.9999, 0.9986, 0.9991, 7.106e-4, 0.0, 0.0};
    for (std::size_t i = 0; i < published_ddpm.size(); ++i) {
        CAPTURE(i);
        CHECK(ddpm[i] == approx(published_ddpm[i]).margin(2e-6));
        CHECK(ddim[i] == approx(published_ddim[i]).margin(1.1e-4)); // they are cut off after four digits
    }
}

TEST_CASE("a scheduler's configuration says how its system samples", "[diffusers]") {
    const initialised_network from_nothing(4, 8, 1);
    const auto network = repaint::parse_json(R"({"norm_num_groups": 4, "attention_head_dim": 8})", "config.json");
    const auto read = [&](const char* config) {
        const auto scheduler = repaint::parse_json(config, "scheduler_config.json");
        return repaint::read_diffusers(from_nothing.file, {&network, &scheduler, nullptr});
    };
    const auto ddim = read(R"({"_class_name": "DDIMScheduler", "timestep_spacing": "trailing", "steps_offset": 1,
        "set_alpha_to_one": false, "rescale_betas_zero_snr": true, "prediction_type": "v_prediction",
        "clip_sample_range": 2.5})");
    CHECK(ddim.diffusion.scheduler.ddim);
    CHECK(ddim.diffusion.scheduler.spacing == repaint::timestep_spacing::trailing);
    CHECK(ddim.diffusion.scheduler.offset == 1);
    CHECK_FALSE(ddim.diffusion.scheduler.ends_clean);
    CHECK(ddim.diffusion.reading.limits.low == -2.5F);
    CHECK(ddim.diffusion.reading.limits.high == 2.5F);
    REQUIRE(ddim.diffusion.betas);
    CHECK(ddim.diffusion.betas->ends_in_noise);
    CHECK(ddim.diffusion.training.alpha_bars()[999] == 0.0);
    CHECK(ddim.description.schedule == "linear rescaled to end in noise, 1000 steps");
    const auto ddpm = read(R"({"_class_name": "DDPMScheduler"})");
    CHECK_FALSE(ddpm.diffusion.scheduler.ddim);
    CHECK(ddpm.diffusion.scheduler.ends_clean);
    CHECK(ddpm.diffusion.reading.limits.high == 1.0F);
    CHECK(ddpm.description.remarks.empty());
    const auto other = read(R"({"_class_name": "PNDMScheduler"})");
    REQUIRE(other.description.remarks.size() == 1);
    CHECK_THAT(other.description.remarks[0], contains("PNDMScheduler"));

    const auto monai = [](const char* name, const char* config) {
        const auto file = repaint::read_checkpoint(golden::data(std::string("families/") + name + "/model.pt"));
        const auto json = repaint::parse_json(config, "model.json");
        return repaint::read_monai(file, &json).diffusion;
    };
    const auto bundle = monai("monai_core", R"({"scheduler": {"_target_": "monai.networks.schedulers.DDIMScheduler",
        "steps_offset": 2, "set_alpha_to_one": false, "clip_sample_min": 0}})");
    CHECK(bundle.scheduler.ddim);
    CHECK(bundle.scheduler.offset == 2);
    CHECK_FALSE(bundle.scheduler.ends_clean);
    CHECK_FALSE(bundle.scheduler.spacing);
    CHECK(bundle.reading.limits.low == 0.0F);
    CHECK_FALSE(monai("monai_core", "{}").scheduler.ddim);
    CHECK(monai("monai_generative_0_2", "{}").scheduler.spacing == repaint::timestep_spacing::leading);
}
