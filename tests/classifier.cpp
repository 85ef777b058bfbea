// Classifiers of noisy images: logits, gradients, guided steps and whole guided runs, and what is refused.
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <map>
#include <memory>
#include <stdexcept>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include <repaint/backend/cpu.hpp>
#include <repaint/backend/dry.hpp>
#include <repaint/backend/reference.hpp>
#include <repaint/diffusion/class_guidance.hpp>
#include <repaint/inpainter.hpp>
#include <repaint/model/guided_classifier.hpp>
#include <repaint/model/guided_diffusion.hpp>
#include <repaint/model/load.hpp>
#include <repaint/unconditional_sampler.hpp>

#include "support/compare.hpp"
#include "support/golden.hpp"
#include "support/networks.hpp"
#include "support/published.hpp"

using repaint::checkpoint;
using repaint::host_tensor;
using repaint::shape4;
using repaint::tape_memory;

namespace {

using exact_backend = repaint::basic_reference_backend<double>;
using backends = network_backends_and_strict;

/// Every file that tests/peers/make_classifier_goldens.py writes of a classifier.
const std::vector<std::string> classifiers{"attention",
                                           "attention_plain_depth_2",
                                           "attention_strided",
                                           "attention_additive",
                                           "attention_one_level",
                                           "attention_64",
                                           "adaptive",
                                           "adaptive_plain_depth_2",
                                           "adaptive_64",
                                           "spatial",
                                           "spatial_plain_depth_2",
                                           "spatial_64",
                                           "spatial_v2",
                                           "spatial_v2_plain_depth_2",
                                           "spatial_v2_64"};

constexpr float golden_scale = 8.0F; // SCALE of that script

/// The tensors whose names begin with the prefix, without it.
checkpoint part(const checkpoint& file, const std::string& prefix) {
    checkpoint result;
    result.path = prefix + "safetensors";
    for (const auto& [name, tensor] : file.tensors) {
        if (name.starts_with(prefix)) {
            result.tensors.emplace(name.substr(prefix.size()), tensor);
        }
    }
    return result;
}

repaint::json_value metadata(const checkpoint& file, const std::string& name) {
    return repaint::parse_json(file.metadata.at(name), name);
}

/// A file of tests/data/classifier with the tensors that it only describes.
checkpoint read(const std::string& name) {
    auto file = repaint::read_checkpoint(golden::data("classifier/" + name + ".safetensors"));
    golden::add_generated(file);
    return file;
}

/// A classifier of such a file, with what is expected of it.
struct golden_classifier {
    checkpoint weights;
    checkpoint expected;
    repaint::json_value settings;
};

golden_classifier read_classifier(const std::string& name) {
    auto file = read(name);
    golden_classifier result{{}, part(file, "golden."), metadata(file, "config")};
    std::erase_if(file.tensors, [](const auto& item) { return item.first.starts_with("golden."); });
    result.weights = std::move(file);
    return result;
}

template <class B>
repaint::classifier<B> load(B& b, const checkpoint& file, const repaint::json_value* settings = nullptr) {
    const auto found = repaint::read_guided_classifier(file, settings).first;
    repaint::weight_map weights(file);
    repaint::classifier<B> result(b, found, weights);
    weights.finish();
    return result;
}

template <class B>
repaint::diffusion_model<B> load_unet(B& b, const checkpoint& file, const repaint::json_value& json) {
    const auto found = repaint::read_guided_diffusion(file, &json);
    repaint::weight_map weights(file);
    repaint::diffusion_model<B> result{repaint::unet<B>(b, found.network, weights), found.diffusion, found.description};
    weights.finish();
    return result;
}

host_tensor image(const host_tensor& all, int i) {
    const shape4 s = all.shape();
    return {{1, s.c, s.h, s.w}, {all.image(i).begin(), all.image(i).end()}};
}

/// The first column: attention pooling leaves more behind it.
host_tensor first_column(const host_tensor& all) {
    const shape4 s = all.shape();
    host_tensor result({s.n, s.c, 1, 1});
    for (int n = 0; n < s.n; ++n) {
        for (int c = 0; c < s.c; ++c) {
            result(n, c, 0, 0) = all(n, c, 0, 0);
        }
    }
    return result;
}

/// Both as a share of the largest value expected: small gradients must not hide behind an absolute tolerance.
std::string relative_difference(host_tensor actual, host_tensor expected, tolerance allowed) {
    float largest = 0.0F;
    for (const float value : expected.values()) {
        largest = std::max(largest, std::fabs(value));
    }
    REQUIRE(largest > 0.0F);
    for (auto* values : {&actual, &expected}) {
        for (float& value : values->values()) {
            value /= largest;
        }
    }
    return difference(actual, expected, allowed);
}

const repaint::diffusion_process& full_process() {
    static const repaint::diffusion_process process{repaint::noise_schedule::linear()};
    return process;
}

/// The sentence that opening throws.
std::string refusal(const checkpoint& file, const std::string& json, int image_size = 0) {
    try {
        const auto settings = repaint::parse_json(json, "classifier.json");
        const auto network = repaint::read_guided_classifier(file, &settings, image_size).first;
        repaint::dry_backend b;
        repaint::weight_map weights(file, repaint::weight_map::check_only);
        const repaint::classifier<repaint::dry_backend> checked(b, network, weights);
        weights.finish();
    } catch (const repaint::error& refused) {
        const std::string text = refused.what();
        CHECK(text.find('\n') == std::string::npos);
        return text;
    }
    return "accepted";
}

} // namespace

TEMPLATE_LIST_TEST_CASE("logits and gradients of every pool agree with PyTorch", "[classifier][golden]", backends) {
    for (const auto& name : classifiers) {
        CAPTURE(name);
        const auto file = read_classifier(name);
        TestType b;
        const auto network = load(b, file.weights, &file.settings);
        const auto x = golden::tensor(file.expected, "x");
        const auto logits = golden::tensor(file.expected, "logits");
        const auto gradient = golden::tensor(file.expected, "gradient");
        const auto timesteps = golden::integers(file.expected, "t");
        const auto labels = golden::integers(file.expected, "y");
        CHECK(network.config().classes == logits.shape().c);
        for (int i = 0; i < x.shape().n; ++i) {
            CAPTURE(i);
            const auto at = static_cast<std::size_t>(i);
            const auto input = b.upload(image(x, i));
            const auto embedding = network.embed(b, static_cast<float>(timesteps[at]));
            // As for whole U-Nets: twice the distance that PyTorch itself moves when it sums in another order.
            CHECK(difference(first_column(b.download(network(b, input, embedding))), image(logits, i), {2e-5, 1e-10}) ==
                  "");
            for (const auto memory : {tape_memory::keep, tape_memory::recompute}) {
                const repaint::class_guidance<TestType> guide(network, full_process(), {labels[at]}, golden_scale, 1.0,
                                                              memory);
                // Twice that again: the way back has as many roundings as the way there.
                CHECK(relative_difference(b.download(guide.gradient(b, input, embedding)), image(gradient, i),
                                          {4e-5, 4e-10}) == "");
            }
        }
    }
}

TEST_CASE("the gradient of every pool is the slope of log p", "[classifier]") {
    for (const std::string name : {"attention_strided", "adaptive", "spatial_plain_depth_2", "spatial_v2"}) {
        CAPTURE(name);
        const auto file = read_classifier(name);
        exact_backend b;
        const auto network = load(b, file.weights, &file.settings);
        const auto x = image(golden::tensor(file.expected, "x"), 0);
        const int label = golden::integers(file.expected, "y")[0];
        const auto embedding = network.embed(b, 700.0F);
        const repaint::class_guidance<exact_backend> guide(network, full_process(), {label}, 1.0F);
        const auto gradient = guide.gradient(b, b.upload(x), embedding);
        const auto log_p = [&](const exact_backend::tensor& at) {
            const auto y = network(b, at, embedding);
            const auto columns = static_cast<std::size_t>(y.shape().w);
            double sum = 0.0;
            for (int c = 0; c < y.shape().c; ++c) {
                sum += std::exp(b.values(y)[static_cast<std::size_t>(c) * columns]);
            }
            return b.values(y)[static_cast<std::size_t>(label) * columns] - std::log(sum);
        };
        for (const std::uint64_t seed : {1U, 2U, 3U}) {
            const host_tensor direction = random_tensor(x.shape(), seed);
            const double h = 1e-5;
            auto above = b.upload(x);
            auto below = b.upload(x);
            double expected = 0.0;
            for (std::size_t i = 0; i < direction.size(); ++i) {
                const auto d = static_cast<double>(direction.values()[i]);
                b.values(above)[i] += h * d;
                b.values(below)[i] -= h * d;
                expected += b.values(gradient)[i] * d;
            }
            const double slope = (log_p(above) - log_p(below)) / (2.0 * h);
            // The cotangent is rounded to float32 on its way; h^2 times the third derivative is less.
            CHECK(std::fabs(slope - expected) < 1e-5 * std::max(1.0, std::fabs(expected)));
        }
    }
}

TEMPLATE_LIST_TEST_CASE("images are guided in a batch as they are alone", "[classifier]", backends) {
    for (const std::string name : {"attention", "adaptive", "spatial", "spatial_v2"}) {
        CAPTURE(name);
        const auto file = read_classifier(name);
        TestType b;
        const auto network = load(b, file.weights, &file.settings);
        const auto x = golden::tensor(file.expected, "x");
        const std::vector<int> labels{3, 0, 9};
        repaint::class_guidance<TestType> guide(network, full_process(), labels, 2.5F);
        const auto all = b.download(guide(b, b.upload(x), 444));
        for (int i = 0; i < 3; ++i) {
            repaint::class_guidance<TestType> one(network, full_process(), {labels[static_cast<std::size_t>(i)]}, 2.5F);
            CHECK(same_bits(b.download(one(b, b.upload(image(x, i)), 444)), image(all, i)));
        }
        // A label of its own for each: the same picture is pulled to different sides.
        repaint::class_guidance<TestType> other(network, full_process(), {0, 3, 9}, 2.5F);
        const auto turned = b.download(other(b, b.upload(x), 444));
        CHECK(largest_difference(image(turned, 0), image(all, 0)) > 1e-3);
        CHECK(same_bits(image(turned, 2), image(all, 2)));
    }
}

TEST_CASE("the classifier is told the mapped timestep, scaled where the network's is", "[classifier]") {
    const auto file = read_classifier("adaptive");
    repaint::reference_backend b;
    const auto network = load(b, file.weights, &file.settings);
    const auto x = b.upload(golden::tensor(file.expected, "x"));
    const std::vector<int> labels{1, 2, 3};
    const repaint::diffusion_process respaced{repaint::noise_schedule::linear().respaced("10")};
    repaint::class_guidance<repaint::reference_backend> guide(network, respaced, labels, 1.0F);
    repaint::class_guidance<repaint::reference_backend> full(network, full_process(), labels, 1.0F);
    for (const int t : {0, 4, 9, 4}) { // the last is known already
        CHECK(same_bits(b.download(guide(b, x, t)), b.download(full(b, x, 111 * t))));
    }
    repaint::class_guidance<repaint::reference_backend> halved(network, respaced, labels, 1.0F, 0.5);
    CHECK(same_bits(b.download(halved(b, x, 4)), b.download(full(b, x, 222))));
    // The gradient is linear in the scale, so powers of two change no other bit.
    repaint::class_guidance<repaint::reference_backend> away(network, respaced, labels, -2.0F);
    const auto once = b.download(guide(b, x, 4));
    const auto opposite = b.download(away(b, x, 4));
    for (std::size_t i = 0; i < once.size(); ++i) {
        REQUIRE(opposite.values()[i] == -2.0F * once.values()[i]);
    }
}

TEST_CASE("the cotangent of log p is the label's share missing", "[classifier]") {
    host_tensor logits({2, 3, 1, 2});
    const float values[] = {0.0F, std::log(2.0F), std::log(5.0F)};
    for (int c = 0; c < 3; ++c) {
        logits(0, c, 0, 0) = values[c];
        logits(0, c, 0, 1) = 1e30F; // what stands behind the first column does not count
        logits(1, c, 0, 0) = c == 1 ? 3e38F : -3e38F;
    }
    const std::vector<int> labels{2, 1};
    const auto cotangent = repaint::class_cotangent(logits, labels, 4.0F);
    const double expected[] = {-0.5, -1.0, 1.5};
    for (int c = 0; c < 3; ++c) {
        CHECK(static_cast<double>(cotangent(0, c, 0, 0)) == approx(expected[c]));
        CHECK(cotangent(0, c, 0, 1) == 0.0F);
        CHECK(cotangent(1, c, 0, 0) == 0.0F); // certain, and right
    }
    const std::vector<int> wrong{2, 0};
    CHECK(repaint::class_cotangent(logits, wrong, 4.0F)(1, 0, 0, 0) == 4.0F);
    CHECK(repaint::class_cotangent(logits, wrong, 4.0F)(1, 1, 0, 0) == -4.0F);
}

TEMPLATE_LIST_TEST_CASE("a guided step moves the mean by variance times scale times gradient", "[classifier][golden]",
                        backends) {
    const auto file = read("guided_step");
    TestType b;
    const auto model = load_unet(b, part(file, "network."), metadata(file, "network"));
    const auto settings = metadata(file, "classifier");
    const auto network = load(b, part(file, "classifier."), &settings);
    const repaint::diffusion_process process{model.diffusion.training.respaced("10")};
    const auto labels = golden::integers(file, "labels");
    repaint::class_guidance<TestType> guide(network, process, labels, golden_scale);
    const auto gradient = golden::tensor(file, "gradient");
    CHECK(relative_difference(b.download(guide(b, b.upload(golden::tensor(file, "x")), 4)), gradient, {4e-5, 4e-10}) ==
          "");

    repaint::unet_denoiser<TestType> denoise(model, process, labels);
    const repaint::unconditional nothing;
    const repaint::official_loop<TestType, const repaint::unconditional> loop(process, nothing, guide);
    repaint::recorded_noise noise({golden::tensor(file, "z")});
    auto x = b.upload(golden::tensor(file, "x"));
    loop(b, x, {4, 3}, true, denoise, noise, nullptr);
    const auto sample = b.download(x);
    // The network's 2e-5, on which the step puts factors of at most 1 here, and the gradient's times a variance of 0.1.
    CHECK(difference(sample, golden::tensor(file, "sample"), {4e-5, 4e-10}) == "");
    // The shift alone, as the definition has it.
    const auto mean = golden::tensor(file, "mean");
    const auto deviation = golden::tensor(file, "deviation");
    const auto z = golden::tensor(file, "z");
    double moved = 0.0;
    for (std::size_t i = 0; i < sample.size(); ++i) {
        const float shift = deviation.values()[i] * deviation.values()[i] * gradient.values()[i];
        const float expected = mean.values()[i] + deviation.values()[i] * z.values()[i] + shift;
        moved = std::max(moved, static_cast<double>(std::fabs(shift)));
        CHECK(std::fabs(sample.values()[i] - expected) < 1e-4F);
    }
    CHECK(moved > 0.5); // or the check above says nothing
}

TEMPLATE_LIST_TEST_CASE("a guided run of the official program is reproduced, labels drawn", "[classifier][golden]",
                        backends) {
    const auto file = read("official_run");
    TestType b;
    const auto model = load_unet(b, part(file, "network."), metadata(file, "network"));
    const auto settings = metadata(file, "classifier");
    const auto network = load(b, part(file, "classifier."), &settings);
    const auto run = metadata(file, "run");
    const auto& jumps = *run.find("schedule_jump_params");

    repaint::torch_cpu_noise noise(static_cast<std::uint64_t>(run.integer("seed")));
    const auto labels = noise.labels(2, network.config().classes);
    CHECK(labels == golden::integers(file, "labels"));
    repaint::inpaint_options options;
    options.timesteps = run.string("timestep_respacing");
    options.jumps.jump_length = static_cast<int>(jumps.integer("jump_length"));
    options.jumps.jump_n_sample = static_cast<int>(jumps.integer("jump_n_sample"));
    options.labels = labels;
    options.composite = false;
    repaint::inpainter<TestType> inpaint(b, model, options);
    inpaint.guide_with(repaint::class_guidance<TestType>(network, inpaint.process(), labels,
                                                         static_cast<float>(run.number("classifier_scale"))));
    auto known = golden::tensor(file, "image_u8");
    for (float& value : known.values()) {
        value = value / 127.5F - 1.0F;
    }
    const auto mask = golden::tensor(file, "keep_u8"); // (rows, columns)
    host_tensor keep({1, 1, mask.shape().n, mask.shape().c});
    std::transform(mask.values().begin(), mask.values().end(), keep.values().begin(),
                   [](float byte) { return byte / 255.0F; });
    // The program itself moves by 3.6e-5 with another convolution; the guidance moves its result by 0.63.
    const auto sample = inpaint(known, keep, noise);
    CHECK(largest_difference(sample, golden::tensor(file, "sample")) < 1e-4);
}

TEST_CASE("a run stopped under guidance goes on bit for bit", "[classifier]") {
    const auto file = read("guided_step");
    repaint::cpu_backend b;
    const auto model = load_unet(b, part(file, "network."), metadata(file, "network"));
    const auto network = load(b, part(file, "classifier."));
    const std::vector<int> labels{7, 2};
    const auto known = random_images({2, 3, 16, 16}, 3);
    const host_tensor keep({1, 1, 16, 16});
    repaint::inpaint_options options{.timesteps = 6, .jumps = {.jump_length = 2, .jump_n_sample = 2}, .labels = labels};
    repaint::inpainter<repaint::cpu_backend> inpaint(b, model, options);
    const repaint::philox_noise noise(5);
    const auto unguided = inpaint(known, keep, noise);
    inpaint.guide_with(repaint::class_guidance<repaint::cpu_backend>(network, inpaint.process(), labels, golden_scale));
    const auto whole = inpaint(known, keep, noise);
    CHECK(largest_difference(whole, unguided) > 0.1);

    auto first = inpaint.start(known, keep, noise);
    REQUIRE(!first.advance([](const repaint::progress& at) { return at.evaluation == 4; }));
    auto second = inpaint.resume(known, keep, noise, first.state());
    REQUIRE(second.advance());
    CHECK(same_bits(second.result(), whole));

    inpaint.guide_with({});
    CHECK(same_bits(inpaint(known, keep, noise), unguided));

    // Only the official program has guidance.
    for (const auto how : {repaint::sampling_system::diffusers, repaint::sampling_system::monai}) {
        repaint::inpaint_options other{.timesteps = 10, .labels = labels, .system = how};
        repaint::inpainter<repaint::cpu_backend> refused(b, model, other);
        const repaint::class_guidance<repaint::cpu_backend> guide(network, inpaint.process(), labels, 1.0F);
        CHECK_THROWS_WITH(refused.guide_with(guide), contains("guidance is part of the system official only"));
    }
}

TEST_CASE("the published classifiers are recognised by names and shapes alone", "[load]") {
    struct expectation {
        const char* name;
        std::uint64_t parameters;
        double multiply_adds; // in 1e9, official.md C.5
        int image_size;
        std::vector<int> channels;
        std::vector<int> attention;
    };
    const std::vector<expectation> published_classifiers{
        {"256_classifier", 54'096'360, 73.35, 256, {128, 128, 256, 256, 512, 512}, {3, 4, 5}},
        {"512_classifier", 54'448'360, 112.77, 512, {64, 128, 128, 256, 256, 512, 512}, {4, 5, 6}}};
    for (const auto& e : published_classifiers) {
        CAPTURE(e.name);
        const auto file = published(e.name);
        CHECK(repaint::is_guided_classifier(file));
        const auto [found, about] = repaint::read_guided_classifier(file, nullptr, e.image_size);
        std::vector<int> channels;
        std::vector<int> attention;
        for (std::size_t level = 0; level < found.body.levels.size(); ++level) {
            channels.push_back(found.body.levels[level].channels);
            if (found.body.levels[level].attention) {
                attention.push_back(static_cast<int>(level));
            }
        }
        CHECK(channels == e.channels);
        CHECK(attention == e.attention);
        CHECK(found.pool == repaint::classifier_pool::attention);
        CHECK(found.classes == 1000);
        CHECK(found.image_size == e.image_size);
        CHECK(found.body.res_blocks == 2);
        CHECK(found.body.resblock_updown);
        CHECK(found.body.scale_shift_norm);
        CHECK(about.remarks.empty());

        repaint::dry_backend b;
        repaint::weight_map weights(file, repaint::weight_map::check_only);
        const repaint::classifier<repaint::dry_backend> network(b, found, weights);
        REQUIRE_NOTHROW(weights.finish());
        const auto before = b.multiply_adds();
        const auto embedding = network.embed(b, 0.0F);
        const auto x = b.allocate({1, 3, e.image_size, e.image_size});
        CHECK(network(b, x, embedding).shape().c == 1000);
        // The official program projects the mean only, here every position is: 1000 x 512 x 64 products more.
        const double expected = e.multiply_adds + 1000.0 * 512.0 * 64.0 / 1e9;
        CHECK(static_cast<double>(b.multiply_adds() - before) / 1e9 == approx(expected).epsilon(2e-3));
    }
    CHECK_FALSE(repaint::is_guided_classifier(published("256_unconditional")));
    CHECK_FALSE(repaint::is_guided_classifier(checkpoint{}));
}

TEST_CASE("a classifier needs no JSON where its tensors tell everything", "[load]") {
    for (const auto& name : classifiers) {
        CAPTURE(name);
        const auto file = read_classifier(name);
        const auto said = repaint::read_guided_classifier(file.weights, &file.settings).first;
        const auto [found, about] = repaint::read_guided_classifier(
            file.weights, nullptr, static_cast<int>(file.settings.integer("image_size")));
        CHECK(found.body.res_blocks == said.body.res_blocks);
        CHECK(found.body.levels.size() == said.body.levels.size());
        CHECK(found.pool == said.pool);
        CHECK(found.image_size == said.image_size);
        CHECK(found.body.scale_shift_norm == said.body.scale_shift_norm);
        CHECK(found.body.resblock_updown == said.body.resblock_updown);
        CHECK(about.remarks.empty());
    }
    // Six blocks of the same width without attention: two levels of two, or three of one.
    auto file = read_classifier("adaptive").weights;
    std::map<std::string, repaint::stored_tensor> blocks;
    for (const auto& [name, tensor] : file.tensors) {
        if (name.starts_with("input_blocks.2.")) {
            for (const char* i : {"1", "2", "3", "4", "5"}) {
                blocks.emplace("input_blocks." + std::string(i) + name.substr(std::string("input_blocks.2").size()),
                               tensor);
            }
        }
    }
    std::erase_if(file.tensors, [](const auto& item) {
        return item.first.starts_with("input_blocks.") && !item.first.starts_with("input_blocks.0.");
    });
    file.tensors.merge(blocks);
    const auto [found, about] = repaint::read_guided_classifier(file, nullptr);
    CHECK(found.body.res_blocks == 2);
    REQUIRE(about.remarks.size() == 1);
    CHECK_THAT(about.remarks[0], contains("classifier_depth 2 is assumed"));
    const auto settings = repaint::parse_json(R"({"classifier_depth": 1})", "classifier.json");
    CHECK(repaint::read_guided_classifier(file, &settings).first.body.res_blocks == 1);
    CHECK_THAT(refusal(file, R"({"classifier_depth": 3})"), contains("classifier_depth is 3, accepted: 1, 2 or 5"));
}

TEST_CASE("settings that a classifier cannot have are named with their value and what is accepted", "[load]") {
    struct wrong {
        const char* json;
        const char* said;
    };
    const auto attention = read_classifier("attention").weights;
    const std::vector<wrong> settings{
        {R"({"classifier_width": "wide"})", "classifier_width must be an integer, found \"wide\""},
        {R"({"classifier_width": 128})", "classifier_width is 128, but the checkpoint's tensors are those of a network "
                                         "with 32"},
        {R"({"classifier_depth": 1.5})", "classifier_depth must be an integer, found 1.5"},
        {R"({"classifier_depth": 2})", "classifier_depth is 2, accepted: 1, as its 4 input_blocks show"},
        {R"({"classifier_depth": 0})", "classifier_depth is 0, accepted: 1"},
        {R"({"classifier_attention_resolutions": true})", "classifier_attention_resolutions must be numbers"},
        {R"({"classifier_attention_resolutions": "8,x"})", "found \"8,x\""},
        {R"({"image_size": 16, "classifier_attention_resolutions": "16,8"})",
         "classifier_attention_resolutions is 16,8, but the checkpoint's tensors are those of a network with 8"},
        {R"({"classifier_attention_resolutions": ""})", "is none, but the checkpoint's"},
        {R"({"classifier_use_scale_shift_norm": 1})", "classifier_use_scale_shift_norm must be true or false, found 1"},
        {R"({"classifier_use_scale_shift_norm": false})", "classifier_use_scale_shift_norm is false, but"},
        {R"({"classifier_resblock_updown": "yes"})", "classifier_resblock_updown must be true or false, found \"yes\""},
        {R"({"classifier_resblock_updown": false})", "classifier_resblock_updown is false, but"},
        {R"({"classifier_pool": "max"})",
         "classifier_pool is \"max\", accepted: adaptive, attention, spatial, spatial_v2"},
        {R"({"classifier_pool": 7})", "classifier_pool is 7, accepted: adaptive, attention, spatial, spatial_v2"},
        {R"({"classifier_pool": "spatial"})", "classifier_pool is spatial, but the checkpoint's tensors are those of a "
                                              "network with attention"},
        {R"({"classifier_use_fp16": "no"})", "classifier_use_fp16 must be true or false, found \"no\""},
        {R"({"image_size": "16"})", "image_size must be an integer, found \"16\""},
        {R"({"image_size": 0})", "image_size is 0, accepted: 1 to 65535"},
        {R"({"image_size": 4})", "image_size is 4, accepted: 16, as its attention pooling is over 8x8 positions"},
        {R"({"image_size": 32})", "image_size is 32, accepted: 16"},
        {R"([1, 2])", "classifier.json"}};
    for (const auto& [json, said] : settings) {
        CAPTURE(json);
        CHECK_THAT(refusal(attention, json), contains(said));
        CHECK_THAT(refusal(attention, json), contains("classifier.json"));
    }
    CHECK(refusal(attention, R"({"image_size": 16, "classifier_depth": 1, "classifier_use_fp16": true})") ==
          "accepted");
    CHECK_THAT(refusal(attention, "{}", 64),
               contains("the classifier is for pictures of 16 rows and columns, the network to guide for 64"));
    CHECK_THAT(refusal(read_classifier("adaptive").weights, R"({"image_size": 15})"),
               contains("image_size is 15, accepted: multiples of 2, as the classifier has 2 levels"));

    const auto json = repaint::parse_json(R"({"classifier_dept": 2, "classifier_scale": 4.0, "classifier_path": "c.pt",
                                              "num_channels": 7})",
                                          "classifier.json");
    const auto remarks = repaint::read_guided_classifier(attention, &json).second.remarks;
    REQUIRE(remarks.size() == 2);
    CHECK_THAT(remarks[0], contains("classifier_scale was ignored"));
    CHECK_THAT(remarks[1], contains("the setting classifier_dept is not known here and was ignored"));
}

TEST_CASE("files that are no classifier are refused in one sentence", "[load]") {
    CHECK_THAT(refusal(published("256_unconditional"), "{}"), contains("output_blocks"));
    CHECK_THAT(refusal(checkpoint{}, "{}"), contains("not those of a guided-diffusion classifier"));
    const auto attention = read_classifier("attention").weights;
    const auto spatial = read_classifier("spatial_v2").weights;
    const auto with = [](checkpoint file, const std::string& name, const std::vector<std::int64_t>& shape) {
        file.tensors.at(name).shape = shape;
        return refusal(file, "{}");
    };
    const auto without = [](checkpoint file, const std::string& start) {
        std::erase_if(file.tensors, [&](const auto& item) { return item.first.starts_with(start); });
        return refusal(file, "{}");
    };
    CHECK_THAT(without(attention, "time_embed.0.weight"), contains("there is no tensor time_embed.0.weight"));
    CHECK_THAT(without(attention, "out."), contains("there is no head of a guided-diffusion classifier"));
    CHECK_THAT(without(attention, "out.2.c_proj.weight"),
               contains("a guided-diffusion classifier needs a tensor out.2."));
    CHECK_THAT(without(attention, "out.2.qkv_proj.bias"), contains("1 missing (out.2.qkv_proj.bias"));
    CHECK_THAT(without(attention, "input_blocks.1.0.in_layers.2"),
               contains("needs a tensor input_blocks.1.0.in_layers.2"));
    CHECK_THAT(without(attention, "middle_block.1"), contains("6 missing (middle_block.1.norm.bias"));
    CHECK_THAT(with(attention, "out.2.positional_embedding", {64, 64}),
               contains("has 64 positions, expected one more"));
    CHECK_THAT(with(attention, "out.2.positional_embedding", {64, 1}), contains("has 1 positions, expected one more"));
    CHECK_THAT(with(attention, "out.2.positional_embedding", {32, 65}), contains("1 mis-shaped (out.2.positional"));
    CHECK_THAT(with(attention, "out.2.c_proj.weight", {10, 64}), contains("out.2.c_proj.weight has 2 dimensions"));
    CHECK_THAT(with(attention, "input_blocks.1.0.in_layers.2.weight", {30, 32, 3, 3}), contains("30 channels"));
    CHECK_THAT(with(attention, "input_blocks.0.0.weight", {32, std::int64_t{1} << 40, 3, 3}),
               contains("1099511627776"));
    CHECK_THAT(with(spatial, "out.0.weight", {256, 7}), contains("1 mis-shaped (out.0.weight: (256, 7) instead of"));
    CHECK_THAT(with(spatial, "out.0.weight", {255, 224}), contains("mis-shaped (out.0.bias"));
    auto more = attention;
    more.tensors.emplace("out.4.weight", more.tensors.at("out.0.weight"));
    CHECK_THAT(refusal(more, "{}"), contains("1 unused (out.4.weight"));
    auto longer = attention; // four blocks, and one more that no level has
    for (const auto& [name, tensor] : attention.tensors) {
        if (name.starts_with("input_blocks.3.")) {
            longer.tensors.emplace("input_blocks.4." + name.substr(std::string("input_blocks.3.").size()), tensor);
        }
    }
    CHECK_THAT(refusal(longer, "{}"), contains("its 5 input_blocks do not divide into levels"));
    // Heads are of 64 channels, always.
    auto narrow = read_classifier("attention_one_level").weights;
    for (auto& [name, tensor] : narrow.tensors) {
        for (auto& extent : tensor.shape) {
            extent = extent == 64 ? 96 : (extent == 192 ? 288 : extent);
        }
    }
    CHECK_THAT(refusal(narrow, "{}"), contains("96 channels do not divide into heads of 64"));
}

TEST_CASE("labels, classes and pictures that do not fit a classifier are refused with the numbers", "[classifier]") {
    const auto file = read_classifier("attention");
    repaint::reference_backend b;
    const auto network = load(b, file.weights, &file.settings);
    const auto guide = [&](std::vector<int> labels) {
        return repaint::class_guidance<repaint::reference_backend>(network, full_process(), std::move(labels), 1.0F);
    };
    CHECK_THROWS_AS(guide({10}), std::invalid_argument);
    CHECK_THROWS_WITH(guide({10}), contains("label 10 is out of range, the classifier knows 0 to 9"));
    CHECK_THROWS_WITH(guide({3, -1}), contains("label -1 is out of range, the classifier knows 0 to 9"));
    CHECK_THROWS_WITH(guide({}), contains("give a label from 0 to 9 for each picture"));
    const auto x = b.upload(random_tensor({2, 3, 16, 16}, 1));
    CHECK_THROWS_WITH(guide({3})(b, x, 5), contains("1 labels were given to guide 2 images"));
    const auto wide = b.upload(random_tensor({1, 3, 16, 32}, 1));
    CHECK_THROWS_WITH(guide({3})(b, wide, 5), contains("the classifier takes images of 16x16, got 32x16"));
    const auto grey = b.upload(random_tensor({1, 1, 16, 16}, 1));
    CHECK_THROWS_AS(guide({3})(b, grey, 5), repaint::shape_error);
    const auto adaptive_file = read_classifier("adaptive");
    const auto adaptive = load(b, adaptive_file.weights);
    const auto odd = b.upload(random_tensor({1, 3, 16, 15}, 1));
    CHECK_THROWS_AS(adaptive(b, odd, adaptive.embed(b, 1.0F)), repaint::shape_error);

    repaint::unet_config guided;
    guided.in_channels = 3;
    CHECK_NOTHROW(repaint::check_guides(network.config(), guided));
    guided.classes = 10;
    CHECK_NOTHROW(repaint::check_guides(network.config(), guided));
    guided.classes = 1000;
    CHECK_THROWS_WITH(repaint::check_guides(network.config(), guided),
                      contains("the classifier knows 10 classes, the network that it is to guide 1000"));
    guided.in_channels = 1;
    CHECK_THROWS_WITH(repaint::check_guides(network.config(), guided),
                      contains("takes images of 3 channels, the network that it is to guide images of 1"));
}
