#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <repaint/backend/cuda.hpp>
#include <repaint/diffusion/class_guidance.hpp>
#include <repaint/image/mask.hpp>
#include <repaint/inpainter.hpp>
#include <repaint/io/checkpoint.hpp>
#include <repaint/io/json.hpp>
#include <repaint/io/npy.hpp>
#include <repaint/model/guided_classifier.hpp>
#include <repaint/model/guided_diffusion.hpp>
#include <repaint/model/weight_map.hpp>

#include "support/catch.hpp"
#include "support/compare.hpp"
#include "support/golden.hpp"

/// Whole networks and whole runs on basic_cuda_backend, against PyTorch and the official program: on a device
/// (cuda_runs.cu), and the cheapest of them without one (cuda_runs_on_host.cpp, which includes support/cuda_on_host.hpp
/// first).
namespace cuda_runs {

using repaint::host_tensor;
using repaint::shape4;

/// Nothing but the library's own kernels.
inline repaint::cuda_options own_kernels() {
    repaint::cuda_options options;
    options.libraries = false;
    return options;
}

inline repaint::cuda_options with_graphs(bool graphs, bool libraries = true) {
    repaint::cuda_options options;
    options.graphs = graphs;
    options.libraries = libraries;
    return options;
}

// ---- precisions ------------------------------------------------------------------------------------------------------

/// What an element type owes PyTorch in float32. `network`: of one evaluation of a network of tests/data/unet, as
/// `difference` has it. `run`: largest error of a whole run's sample, which is in about [-1, 1].
///
/// float: twice the distance that PyTorch itself moves when it sums in another order, as the CPU backends; 1e-4 for runs.
/// half and bfloat16 round every activation, to 2^-11 and 2^-8 of itself. A network of 20 to 60 such roundings in a row,
/// each as large as the others, is off by their root mean square sum: 2^-11 * sqrt(60) = 4e-3 of the usual value, and the
/// worst of some thousand values is three to four times the usual error: 1.5e-2; bfloat16 eight times as much.
/// A run feeds its own errors back, but at every step the known region comes in anew and half of what is unknown is new
/// noise: errors of single evaluations (of epsilon) reach the sample with the weight of the last steps, where x_0 moves
/// by sqrt(1 / alpha_bar - 1) < 1 of epsilon's error, and clipping to [-1, 1] ends what has grown: the bound is that of a
/// few evaluations.
struct precision {
    const char* name;
    tolerance network;
    double run;
};

template <class T> inline constexpr precision precision_of{"float", {2e-5, 1e-10}, 1e-4};
template <> inline constexpr precision precision_of<__half>{"half", {1.5e-2, 4e-5}, 5e-2};
template <> inline constexpr precision precision_of<__nv_bfloat16>{"bfloat16", {1.2e-1, 2.5e-3}, 4e-1};

/// A line that tests/gpu.sh collects.
inline void report(const std::string& what, const std::string& how, double error) {
    std::printf("parity: %s, %s: max abs %.2e\n", what.c_str(), how.c_str(), error);
    std::fflush(stdout);
}

// ---- networks --------------------------------------------------------------------------------------------------------

template <class B>
repaint::diffusion_model<B> load_model(B& b, const repaint::checkpoint& file, const repaint::json_value& settings) {
    const auto read = repaint::read_guided_diffusion(file, &settings);
    repaint::weight_map weights(file);
    repaint::diffusion_model<B> model{repaint::unet<B>(b, read.network, weights), read.diffusion, read.description};
    weights.finish();
    return model;
}

/// A network of tests/data/unet.
template <class B> repaint::diffusion_model<B> small_model(B& b, const std::string& name) {
    const auto file = golden::read_network(name);
    return load_model(b, file.weights, file.config);
}

inline host_tensor one_image(const host_tensor& all, int i) {
    const shape4 s = all.shape();
    const auto part = all.image(i);
    return {{1, s.c, s.h, s.w}, std::vector<float>(part.begin(), part.end())};
}

/// Evaluates a network of tests/data/unet on its golden inputs, and compares. Returns the largest absolute error.
template <class B> double compare_network(B& b, const std::string& name, const tolerance& allowed) {
    CAPTURE(name);
    const auto file = golden::read_network(name);
    const auto model = load_model(b, file.weights, file.config);
    const auto x = golden::tensor(file.expected, "golden.x");
    const auto expected = golden::tensor(file.expected, "golden.out");
    const auto timesteps = golden::integers(file.expected, "golden.t");
    const bool labelled = file.expected.tensors.contains("golden.y");
    double worst = 0.0;
    for (int i = 0; i < x.shape().n; ++i) {
        const std::vector<int> labels =
            labelled ? std::vector{golden::integers(file.expected, "golden.y")[static_cast<std::size_t>(i)]}
                     : std::vector<int>{};
        const auto e = model.network.embed(b, static_cast<float>(timesteps[static_cast<std::size_t>(i)]), labels);
        const auto out = b.download(model.network(b, b.upload(one_image(x, i)), e));
        CHECK(difference(out, one_image(expected, i), allowed) == "");
        worst = std::max(worst, largest_difference(out, one_image(expected, i)));
    }
    return worst;
}

template <class B> void compare_networks(B& b, const precision& p, const std::string& how) {
    double worst = 0.0;
    for (const auto& name : golden::networks) {
        worst = std::max(worst, compare_network(b, name, p.network));
    }
    report("networks against PyTorch", how, worst);
}

// ---- runs of the official program ------------------------------------------------------------------------------------

/// A whole run of the official program: what went in and what came out.
struct official_run {
    std::string name;
    repaint::checkpoint network;
    repaint::json_value settings; ///< of the network
    std::string timesteps;
    repaint::jump_options jumps;
    std::uint64_t seed = 0; ///< of PyTorch's CPU generator
    host_tensor image;
    host_tensor keep;
    host_tensor expected;
    repaint::checkpoint classifier; ///< no tensors: not guided
    repaint::json_value classifier_settings;
    float scale = 0.0F; ///< of the guidance
};

/// The tensors whose names begin with the prefix, without it.
inline repaint::checkpoint part(const repaint::checkpoint& file, const std::string& prefix) {
    repaint::checkpoint result;
    for (const auto& [name, tensor] : file.tensors) {
        if (name.starts_with(prefix)) {
            result.tensors.emplace(name.substr(prefix.size()), tensor);
        }
    }
    return result;
}

/// Bytes (n, 3, h, w) as images.
inline host_tensor image_of_bytes(host_tensor bytes) {
    for (float& value : bytes.values()) {
        value = value / 127.5F - 1.0F;
    }
    return bytes;
}

/// (rows, columns) as a keep mask, each value divided by `known`.
inline host_tensor keep_of(const host_tensor& values, float known) {
    host_tensor keep({1, 1, values.shape().n, values.shape().c});
    std::transform(values.values().begin(), values.values().end(), keep.values().begin(),
                   [known](float value) { return value / known; });
    return keep;
}

inline repaint::jump_options jumps_of(const repaint::json_value& settings) {
    repaint::jump_options jumps;
    const auto read = [&settings](const char* key, int& option) {
        if (const repaint::json_value* const value = settings.find(key)) {
            option = static_cast<int>(value->as_integer());
        }
    };
    read("n_sample", jumps.n_sample);
    read("jump_length", jumps.jump_length);
    read("jump_n_sample", jumps.jump_n_sample);
    read("jump2_length", jumps.jump2_length);
    read("jump2_n_sample", jumps.jump2_n_sample);
    read("jump3_length", jumps.jump3_length);
    read("jump3_n_sample", jumps.jump3_n_sample);
    read("start_resampling", jumps.start_resampling);
    return jumps;
}

/// "soft_mask" or "nested_jumps" of tests/data/official.
inline official_run read_case(const std::string& name) {
    official_run run;
    run.name = name;
    run.network = repaint::read_checkpoint(golden::data("official/unet.pt"));
    run.settings = repaint::read_json(golden::data("official/unet.json"));
    const auto about = repaint::read_json(golden::data("official/" + name + "/case.json"));
    run.timesteps = about.string("timestep_respacing");
    run.jumps = jumps_of(about.at("schedule_jump_params"));
    run.seed = static_cast<std::uint64_t>(about.integer("seed"));
    const auto inputs = repaint::read_checkpoint(golden::data("official/inputs.safetensors"));
    run.image = image_of_bytes(golden::tensor(inputs, name + ".image"));
    run.keep = keep_of(golden::tensor(inputs, name + ".keep"), 255.0F);
    run.expected = repaint::read_npy(golden::data("official/" + name + "/sample.npy"));
    return run;
}

/// 20 timesteps, jumps 5 x 3, 32 x 32.
inline official_run read_unconditional() {
    official_run run;
    run.name = "20 timesteps, jumps 5 x 3";
    run.network = repaint::read_checkpoint(golden::data("official/unconditional/unet.safetensors"));
    run.settings = repaint::parse_json(R"({"image_size": 32, "num_channels": 32, "num_res_blocks": 1,
        "channel_mult": "1,2", "learn_sigma": true, "class_cond": false, "attention_resolutions": "16", "num_heads": 4,
        "num_head_channels": 16, "use_scale_shift_norm": true, "resblock_updown": true})",
                                       "settings");
    run.timesteps = "20";
    run.jumps.jump_length = 5;
    run.jumps.jump_n_sample = 3;
    run.seed = 10;
    const auto file = repaint::read_checkpoint(golden::data("official/unconditional/expected.safetensors"));
    run.image = image_of_bytes(golden::tensor(file, "image_u8"));
    run.keep = keep_of(golden::tensor(file, "keep_mask"), 1.0F);
    run.expected = golden::tensor(file, "sample");
    return run;
}

/// Two pictures of 64 x 64 that a classifier guides.
inline official_run read_guided() {
    auto file = repaint::read_checkpoint(golden::data("classifier/official_run.safetensors"));
    golden::add_generated(file);
    const auto settings = [&file](const std::string& name) {
        return repaint::parse_json(file.metadata.at(name), name);
    };
    official_run run;
    run.name = "guided";
    run.network = part(file, "network.");
    run.settings = settings("network");
    run.classifier = part(file, "classifier.");
    run.classifier_settings = settings("classifier");
    const auto about = settings("run");
    run.timesteps = about.string("timestep_respacing");
    run.jumps = jumps_of(about.at("schedule_jump_params"));
    run.seed = static_cast<std::uint64_t>(about.integer("seed"));
    run.scale = static_cast<float>(about.number("classifier_scale"));
    run.image = image_of_bytes(golden::tensor(file, "image_u8"));
    run.keep = keep_of(golden::tensor(file, "keep_u8"), 255.0F);
    run.expected = golden::tensor(file, "sample");
    return run;
}

/// What comes out here.
template <class B> host_tensor sample_of(B& b, const official_run& run) {
    const auto model = load_model(b, run.network, run.settings);
    repaint::inpaint_options options{.timesteps = run.timesteps, .jumps = run.jumps, .composite = false};
    repaint::torch_cpu_noise noise(run.seed);
    if (run.classifier.tensors.empty()) {
        return repaint::inpainter<B>(b, model, options)(run.image, run.keep, noise);
    }
    const auto found = repaint::read_guided_classifier(run.classifier, &run.classifier_settings).first;
    repaint::weight_map weights(run.classifier);
    const repaint::classifier<B> classifier(b, found, weights);
    options.labels = noise.labels(run.image.shape().n, classifier.config().classes);
    repaint::inpainter<B> inpaint(b, model, options);
    inpaint.guide_with(repaint::class_guidance<B>(classifier, inpaint.process(), options.labels, run.scale));
    return inpaint(run.image, run.keep, noise);
}

template <class B> void compare_run(B& b, const official_run& run, const precision& p, const std::string& how) {
    CAPTURE(run.name);
    const double error = largest_difference(sample_of(b, run), run.expected);
    report("official run \"" + run.name + "\"", how, error);
    CHECK(error < p.run);
}

// ---- what holds for every run ----------------------------------------------------------------------------------------

/// Pictures with holes for one of the small networks.
struct task {
    std::string network = "strided_additive";
    host_tensor image;
    host_tensor keep;
    repaint::inpaint_options options{.timesteps = 6, .jumps = {.jump_length = 2, .jump_n_sample = 2}};

    explicit task(shape4 images) : image(random_images(images, 1)) {
        keep = repaint::make_mask(repaint::mask_kind::half, images.w, images.h);
    }
};

template <class B> host_tensor filled(B& b, const task& what) {
    const auto model = small_model(b, what.network);
    return repaint::inpainter<B>(b, model, what.options)(what.image, what.keep, repaint::philox_noise(5));
}

/// Stops a run where `stop` transitions are done, goes on from the saved state and in the object that was stopped.
template <class B> void check_resumption(B& b, const task& what, std::span<const std::size_t> stops) {
    const auto model = small_model(b, what.network);
    const repaint::inpainter<B> inpaint(b, model, what.options);
    const repaint::philox_noise noise(5);
    const auto whole = inpaint(what.image, what.keep, noise);
    CHECK(same_bits(inpaint(what.image, what.keep, noise), whole));
    for (const std::size_t stop : stops) {
        CAPTURE(stop);
        auto first = inpaint.start(what.image, what.keep, noise);
        CHECK_FALSE(first.advance([&](const repaint::progress& p) { return p.position >= stop; }));
        auto second = inpaint.resume(what.image, what.keep, noise, first.state());
        CHECK(second.advance());
        CHECK(same_bits(second.result(), whole));
        CHECK(first.advance());
        CHECK(same_bits(first.result(), whole));
    }
    REQUIRE_THROWS_AS(inpaint(what.image, what.keep, noise, [](const repaint::progress& p) { return p.position >= 3; }),
                      repaint::cancelled);
    CHECK(same_bits(inpaint(what.image, what.keep, noise), whole));
}

/// Image i of a batch with noise of seed 5, and alone with seed 5 + i: the largest difference.
template <class B> double batch_from_alone(B& b, const task& what) {
    const auto together = filled(b, what);
    const auto model = small_model(b, what.network);
    double worst = 0.0;
    for (int i = 0; i < what.image.shape().n; ++i) {
        const repaint::inpainter<B> inpaint(b, model, what.options);
        const auto alone =
            inpaint(one_image(what.image, i), what.keep, repaint::philox_noise(5 + static_cast<std::uint64_t>(i)));
        worst = std::max(worst, largest_difference(one_image(together, i), alone));
    }
    return worst;
}

/// What previews show does not change a run, and is a picture.
template <class B> void check_previews(B& b, const task& what) {
    const auto model = small_model(b, what.network);
    const repaint::inpainter<B> inpaint(b, model, what.options);
    const repaint::philox_noise noise(5);
    std::size_t previews = 0;
    const auto watched = inpaint(what.image, what.keep, noise, [&](const repaint::preview<B>& p) {
        ++previews;
        const auto x0 = p.backend.download(p.x0);
        CHECK(std::all_of(x0.values().begin(), x0.values().end(), [](float v) { return std::fabs(v) <= 1.0F; }));
    });
    CHECK(previews == inpaint.evaluations());
    CHECK(same_bits(watched, inpaint(what.image, what.keep, noise)));
}

} // namespace cuda_runs
