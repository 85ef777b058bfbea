// What is read off a checkpoint and its JSON, and what is refused.
#include <string>
#include <utility>
#include <vector>

#include <repaint/model/guided_diffusion.hpp>
#include <repaint/backend/dry.hpp>
#include <repaint/model/load.hpp>
#include <repaint/model/presets.hpp>

#include "support/golden.hpp"
#include "support/published.hpp"

using repaint::checkpoint;

namespace {

std::vector<int> channels(const repaint::unet_config& config) {
    std::vector<int> result;
    for (const auto& level : config.levels) {
        result.push_back(level.channels);
    }
    return result;
}

std::vector<int> attention_levels(const repaint::unet_config& config) {
    std::vector<int> result;
    for (std::size_t i = 0; i < config.levels.size(); ++i) {
        if (config.levels[i].attention) {
            result.push_back(static_cast<int>(i));
        }
    }
    return result;
}

/// The sentence that reading throws.
std::string refusal(const checkpoint& file, const std::string& json) {
    try {
        const auto settings = repaint::parse_json(json, "settings.json");
        const auto read = repaint::read_guided_diffusion(file, &settings);
        repaint::dry_backend b;
        repaint::weight_map weights(file, repaint::weight_map::check_only);
        const repaint::unet<repaint::dry_backend> network(b, read.network, weights);
        weights.finish();
    } catch (const std::exception& refused) {
        const std::string text = refused.what();
        CHECK(text.find('\n') == std::string::npos);
        return text;
    }
    return "accepted";
}

} // namespace

TEST_CASE("the published networks are recognised by names and shapes alone", "[load]") {
    struct expectation {
        const char* name;
        std::size_t tensors;
        std::uint64_t parameters;
        double multiply_adds; // in 1e9, official.md C.5
        std::vector<int> channels;
        std::vector<int> attention;
        int res_blocks;
        int classes;
        int image_size;
        int head_channels;
        repaint::qkv_order order;
    };
    using repaint::qkv_order;
    const std::vector<expectation> networks{{"256_unconditional",
                                             566,
                                             552'814'086,
                                             1119.83,
                                             {256, 256, 512, 512, 1024, 1024},
                                             {3, 4, 5},
                                             2,
                                             0,
                                             256,
                                             64,
                                             qkv_order::per_head},
                                            {"256_conditional",
                                             567,
                                             553'838'086,
                                             1119.83,
                                             {256, 256, 512, 512, 1024, 1024},
                                             {3, 4, 5},
                                             2,
                                             1000,
                                             256,
                                             64,
                                             qkv_order::per_head},
                                            {"512_conditional",
                                             645,
                                             558'997'638,
                                             1982.33,
                                             {128, 256, 256, 512, 512, 1024, 1024},
                                             {4, 5, 6},
                                             2,
                                             1000,
                                             512,
                                             64,
                                             qkv_order::per_head},
                                            {"128_conditional",
                                             493,
                                             421'529'606,
                                             306.93,
                                             {256, 256, 512, 768, 1024},
                                             {2, 3, 4},
                                             2,
                                             1000,
                                             128,
                                             0,
                                             qkv_order::per_head},
                                            {"64_conditional",
                                             541,
                                             295'904'454,
                                             109.68,
                                             {192, 384, 576, 768},
                                             {1, 2, 3},
                                             3,
                                             1000,
                                             64,
                                             64,
                                             qkv_order::grouped}};
    for (const auto& e : networks) {
        CAPTURE(e.name);
        const auto file = published(e.name);
        const auto read = repaint::read_guided_diffusion(file, nullptr);
        CHECK(file.tensors.size() == e.tensors);
        CHECK(channels(read.network) == e.channels);
        CHECK(attention_levels(read.network) == e.attention);
        CHECK(read.network.res_blocks == e.res_blocks);
        CHECK(read.network.classes == e.classes);
        CHECK(read.network.head_channels == e.head_channels);
        CHECK(read.network.order == e.order);
        CHECK(read.network.resblock_updown);
        CHECK(read.network.scale_shift_norm);
        CHECK(read.description.image_size == e.image_size);
        CHECK(read.diffusion.reading.variance == repaint::variance_type::learned_range);

        repaint::dry_backend b;
        repaint::weight_map weights(file, repaint::weight_map::check_only);
        const repaint::unet<repaint::dry_backend> network(b, read.network, weights);
        REQUIRE_NOTHROW(weights.finish());
        // The label table stays on the host: a run looks up one row per image.
        const auto table =
            static_cast<std::uint64_t>(e.classes) * static_cast<std::uint64_t>(read.network.embedding_channels());
        CHECK(b.packed_bytes() == 4 * (e.parameters - table));
        const std::vector<int> labels(e.classes > 0 ? 1 : 0, 0);
        const auto x = b.allocate({1, 3, e.image_size, e.image_size});
        const auto out = network(b, x, network.embed(b, 0.0F, labels));
        // The official figure counts the same products; embeddings are its 0.05.
        CHECK(static_cast<double>(b.multiply_adds()) / 1e9 == approx(e.multiply_adds).epsilon(1e-3));
    }
}

TEST_CASE("presets are the published networks", "[load]") {
    for (const auto& [preset_name, file_name] :
         {std::pair{"guided-256", "256_unconditional"}, std::pair{"imagenet-64", "64_conditional"}}) {
        CAPTURE(preset_name);
        const auto preset = repaint::find_preset(preset_name);
        const auto file = published(file_name);
        repaint::dry_backend b;
        repaint::weight_map weights(file, repaint::weight_map::check_only);
        const repaint::unet<repaint::dry_backend> network(b, preset.network, weights);
        CHECK_NOTHROW(weights.finish());
        // What tensors do not tell.
        const auto read = repaint::read_guided_diffusion(file, nullptr);
        CHECK(preset.image_size == read.description.image_size);
        CHECK(preset.network.head_channels == read.network.head_channels);
        CHECK(preset.network.order == read.network.order);
    }
}

TEST_CASE("a JSON that contradicts the tensors is refused, naming key, value and what was found", "[load]") {
    const auto file = published("256_unconditional");
    CHECK(refusal(file, R"({"num_channels": 256, "num_res_blocks": 2, "channel_mult": "", "image_size": 256,
        "attention_resolutions": "32,16,8", "num_heads": 4, "num_head_channels": 64, "use_scale_shift_norm": true,
        "resblock_updown": true, "class_cond": false, "learn_sigma": true, "use_new_attention_order": false,
        "diffusion_steps": 1000, "noise_schedule": "linear", "predict_xstart": false, "dropout": 0.0, "use_fp16": false,
        "num_heads_upsample": -1, "rescale_timesteps": false, "rescale_learned_sigmas": false, "use_kl": false,
        "timestep_respacing": "250", "use_checkpoint": false, "clip_denoised": true})") == "accepted");
    CHECK(refusal(file, R"({"num_channels": 128})") ==
          "settings.json, line 1: num_channels is 128, but the checkpoint's tensors are those of a network with 256");
    CHECK_THAT(refusal(file, R"({"num_res_blocks": 1})"), contains("num_res_blocks is 1"));
    CHECK_THAT(refusal(file, R"({"channel_mult": "1,2,3"})"), contains("256,256,512,512,1024,1024"));
    CHECK_THAT(refusal(file, R"({"image_size": 256, "attention_resolutions": "16,8"})"),
               contains("attention_resolutions"));
    CHECK_THAT(refusal(file, R"({"class_cond": true})"), contains("class_cond is true"));
    CHECK_THAT(refusal(file, R"({"learn_sigma": false})"), contains("learn_sigma is false"));
    CHECK_THAT(refusal(file, R"({"use_scale_shift_norm": false})"), contains("use_scale_shift_norm"));
    CHECK_THAT(refusal(file, R"({"resblock_updown": false})"), contains("resblock_updown"));
    CHECK_THAT(refusal(file, R"({"num_head_channels": 48})"), contains("heads of 48"));
    CHECK_THAT(refusal(file, R"({"num_heads": 0})"), contains("num_heads is 0"));
    CHECK_THAT(refusal(file, R"({"num_heads": 3})"), contains("3 heads"));
    CHECK_THAT(refusal(file, R"({"num_heads": "four"})"), contains("num_heads must be an integer"));
    CHECK_THAT(refusal(file, R"({"noise_schedule": "sigmoid"})"), contains("accepted: linear, cosine, scaled_linear"));
    CHECK_THAT(refusal(file, R"({"diffusion_steps": 0})"), contains("diffusion_steps is 0"));
    CHECK_THAT(refusal(file, R"({"betas": [0.1, 2.0]})"), contains("beta"));
    CHECK_THAT(refusal(file, R"({"variance_type": "fixed_small"})"), contains("learned_range or learned"));
    CHECK_THAT(refusal(file, R"({"prediction_type": "v"})"), contains("epsilon, x_0, velocity, previous_x"));
    CHECK_THAT(refusal(file, R"([1])"), contains("object"));
}

TEST_CASE("the JSON says how the output is read and how it diffuses", "[load]") {
    const auto file = golden::read_network("labels_new_order_strided"); // three output channels: no learned variance
    const auto read = [&](const std::string& json) {
        const auto settings = repaint::parse_json(json, "settings.json");
        return repaint::read_guided_diffusion(file.weights, &settings);
    };
    CHECK(read(R"({"num_heads": 2})").diffusion.reading.variance == repaint::variance_type::fixed_large);
    CHECK(read(R"({"sigma_small": true})").diffusion.reading.variance == repaint::variance_type::fixed_small);
    CHECK(read(R"({"predict_xstart": true})").diffusion.reading.prediction == repaint::prediction_type::x_0);
    CHECK(read(R"({"prediction_type": "previous_x"})").diffusion.reading.prediction == repaint::prediction_type::previous_x);
    CHECK(read(R"({"clip_denoised": false})").diffusion.reading.clip == false);
    CHECK(read(R"({"diffusion_steps": 4000, "noise_schedule": "cosine", "rescale_timesteps": true})")
              .diffusion.timestep_scale == 0.25);
    CHECK(read(R"({"betas": [0.1, 0.2, 0.3]})").diffusion.training.size() == 3);
    CHECK(read(R"({"num_heads": 2, "num_heads_upsample": 4})").network.heads_up == 4);
    const auto nested = read(R"({"name": "x", "model": {"num_heads": 2, "use_new_attention_order": true},
                                 "diffusion": {"steps": 50, "noise_schedule": "linear"}})");
    CHECK(nested.network.order == repaint::qkv_order::grouped);
    CHECK(nested.diffusion.training.size() == 50);
    REQUIRE(!nested.description.remarks.empty());
    CHECK_THAT(nested.description.remarks.back(), contains("name"));
}

TEST_CASE("files that are no such U-Net are refused in one sentence", "[load]") {
    CHECK_THAT(refusal(published("256_classifier"), "{}"), contains("classifier"));
    CHECK_THAT(refusal(checkpoint{}, "{}"), contains("not a guided-diffusion U-Net"));
    SECTION("missing, unused and mis-shaped tensors are listed together") {
        auto file = published("256_unconditional");
        file.tensors.erase("middle_block.1.qkv.bias");
        file.tensors.emplace("extra.weight", file.tensors.at("out.0.bias"));
        file.tensors.at("out.0.weight").shape = {255};
        const auto text = refusal(file, "{}");
        CHECK_THAT(text, contains("middle_block.1.qkv.bias"));
        CHECK_THAT(text, contains("extra.weight"));
        CHECK_THAT(text, contains("out.0.weight"));
    }
    SECTION("shapes that no network has") {
        auto file = published("256_unconditional");
        file.tensors.at("input_blocks.0.0.weight").shape = {256, 3};
        CHECK_THAT(refusal(file, "{}"), contains("input_blocks.0.0.weight has 2 dimensions"));
        file = published("256_unconditional");
        file.tensors.at("time_embed.0.weight").shape = {4, std::int64_t{1} << 40};
        CHECK_THAT(refusal(file, "{}"), contains("time_embed.0.weight has an extent of 1099511627776"));
        file = published("256_unconditional");
        for (auto at = file.tensors.begin(); at != file.tensors.end();) {
            at = at->first.starts_with("output_blocks.17") ? file.tensors.erase(at) : std::next(at);
        }
        CHECK_THAT(refusal(file, "{}"), contains("17 output_blocks"));
        file = published("256_unconditional");
        file.tensors.at("input_blocks.4.0.in_layers.2.weight").shape[0] = 250;
        CHECK_THAT(refusal(file, "{}"), contains("250 channels"));
    }
}
