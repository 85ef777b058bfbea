// Checkpoints of diffusers and MONAI: what PyTorch computes with them (tests/peers/make_family_goldens.py), what is read
// off them, and what is refused.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include <repaint/backend/cpu.hpp>
#include <repaint/backend/dry.hpp>
#include <repaint/backend/reference.hpp>
#include <repaint/io/safetensors.hpp>
#include <repaint/model/diffusers.hpp>
#include <repaint/model/family_model.hpp>
#include <repaint/model/guided_diffusion.hpp>
#include <repaint/model/load.hpp>
#include <repaint/model/model_folder.hpp>
#include <repaint/model/monai.hpp>

#include "support/compare.hpp"
#include "support/golden.hpp"
#include "support/hostile.hpp"
#include "support/networks.hpp"
#include "support/published.hpp"

namespace fs = std::filesystem;
using repaint::checkpoint;
using repaint::host_tensor;

namespace {

/// Twice the distance that PyTorch itself moves when it sums in another order.
constexpr tolerance per_evaluation{2e-5, 1e-10};

fs::path family(const std::string& name) { return golden::data("families/" + name); }

std::vector<std::string> families() {
    std::vector<std::string> names;
    for (const auto& entry : fs::directory_iterator(family("golden"))) {
        names.push_back(entry.path().stem().string());
    }
    std::sort(names.begin(), names.end());
    return names;
}

host_tensor one_image(const host_tensor& all, int i) {
    const auto s = all.shape();
    const auto part = all.image(i);
    return {{1, s.c, s.h, s.w}, std::vector<float>(part.begin(), part.end())};
}

/// What tells a model from what PyTorch computed for the folder of that name; empty when nothing does.
template <class B> std::string disagreement(B& b, const repaint::diffusion_model<B>& model, const std::string& name) {
    const auto file = repaint::read_checkpoint(family("golden/" + name + ".safetensors"));
    const auto x = golden::tensor(file, "golden.x");
    const auto expected = golden::tensor(file, "golden.out");
    const auto timesteps = golden::integers(file, "golden.t");
    std::vector<int> labels;
    if (file.tensors.contains("golden.y")) {
        labels = golden::integers(file, "golden.y");
    }
    std::string text;
    for (int i = 0; i < x.shape().n; ++i) {
        const auto at = static_cast<std::size_t>(i);
        const auto label = labels.empty() ? std::vector<int>{} : std::vector<int>{labels[at]};
        const auto embedding = model.network.embed(b, static_cast<float>(timesteps[at]), label);
        const auto out = b.download(model.network(b, b.upload(one_image(x, i)), embedding));
        text += difference(out, one_image(expected, i), per_evaluation);
    }
    return text;
}

repaint::opened_model opened(const fs::path& path, const std::string& settings = "") {
    repaint::model_files files(path);
    if (!settings.empty()) {
        files.settings = repaint::parse_json(settings, "settings.json");
    }
    return repaint::open_model(files);
}

/// The sentence that opening throws.
std::string refused(const fs::path& path, const std::string& settings = "") {
    return quick_refusal([&] { return opened(path, settings); });
}

bool remarked(const repaint::model_description& about, const std::string& part) {
    return std::any_of(about.remarks.begin(), about.remarks.end(),
                       [&](const std::string& remark) { return remark.find(part) != std::string::npos; });
}

void copy_folder(const fs::path& from, const fs::path& to) { fs::copy(from, to, fs::copy_options::recursive); }

/// The weights of a folder, edited, in a folder of their own with the same config.json.
fs::path edited(const temporary_folder& temporary, const std::string& name,
                const std::function<void(std::map<std::string, repaint::stored_tensor>&)>& edit) {
    auto file = repaint::read_checkpoint(repaint::locate_model(family(name)).weights);
    edit(file.tensors);
    const auto folder = temporary / name;
    fs::create_directories(folder);
    repaint::write_safetensors(folder / "diffusion_pytorch_model.safetensors", file.tensors);
    for (const char* json : {"config.json", "model.json"}) {
        if (fs::exists(family(name) / json)) {
            fs::copy_file(family(name) / json,
                          folder /
                              (json == std::string("config.json") ? "config.json" : "diffusion_pytorch_model.json"));
        }
    }
    return folder;
}

/// A reading of names and shapes alone, checked against the network it describes. Returns the parameters.
std::uint64_t parameters_of(const checkpoint& file, const repaint::family_model& read) {
    repaint::dry_backend b;
    repaint::weight_map weights(file, repaint::weight_map::check_only, read.names);
    const repaint::unet<repaint::dry_backend> network(b, read.network, weights);
    CHECK_NOTHROW(weights.finish());
    std::uint64_t count = 0;
    for (const auto& [name, tensor] : file.tensors) {
        count += tensor.numel();
    }
    return count;
}

std::vector<int> attention_levels(const repaint::unet_config& config) {
    std::vector<int> result;
    for (std::size_t i = 0; i < config.levels.size(); ++i) {
        CHECK(config.levels[i].attention == config.levels[i].attention_up);
        if (config.levels[i].attention) {
            result.push_back(static_cast<int>(i));
        }
    }
    return result;
}

/// A setting that must be refused, and with what words after "settings.json, line 1: ".
struct refused_setting {
    const char* json;
    const char* message;
};

void check_refused(const std::string& name, const std::vector<refused_setting>& settings) {
    for (const auto& [json, message] : settings) {
        CAPTURE(name, json);
        CHECK(refused(family(name), json) == std::string("settings.json, line 1: ") + message);
    }
}

using backends = network_backends;

} // namespace

TEMPLATE_LIST_TEST_CASE("diffusers' and MONAI's networks load without options and agree with PyTorch", "[golden]",
                        backends) {
    const auto names = families();
    REQUIRE(names.size() == 22);
    TestType b;
    for (const auto& name : names) {
        CAPTURE(name);
        const auto model = repaint::load_model(b, family(name));
        CHECK(disagreement(b, model, name) == "");
    }
}

TEMPLATE_LIST_TEST_CASE("a batch of a family's network gives every image the bits it gets alone", "[families]",
                        backends) {
    TestType b;
    for (const char* name : {"centred", "scale_shift", "monai_core_uneven"}) {
        CAPTURE(name);
        const auto model = repaint::load_model(b, family(name));
        const auto x = random_tensor({3, model.network.config().in_channels, 8, 8}, 7);
        const auto embedding = model.network.embed(b, 500.0F);
        const auto all = b.download(model.network(b, b.upload(x), embedding));
        for (int i = 0; i < 3; ++i) {
            CHECK(same_bits(one_image(all, i), b.download(model.network(b, b.upload(one_image(x, i)), embedding))));
        }
    }
}

TEST_CASE("a model is found from its folder, its weights or its configuration", "[families]") {
    repaint::reference_backend b;
    const std::vector<std::pair<std::string, std::string>> paths{
        {"pipeline", "model_index.json"},
        {"pipeline", "unet"},
        {"pipeline", "unet/config.json"},
        {"pipeline", "unet/diffusion_pytorch_model.safetensors"},
        {"published_flat_legacy", "config.json"},
        {"published_flat_legacy", "diffusion_pytorch_model.bin"},
        {"classes_sharded", "diffusion_pytorch_model.safetensors.index.json"},
        {"one_level_sharded_bin", "diffusion_pytorch_model.bin.index.json"},
        {"monai_core_bundle", "models/model.pt"},
        {"monai_core_uneven", "model.pt"}};
    for (const auto& [name, path] : paths) {
        CAPTURE(name, path);
        const auto model = repaint::load_model(b, family(name) / path);
        CHECK(disagreement(b, model, name) == "");
        const auto folder = opened(family(name));
        CHECK(model.description.schedule == folder.description.schedule);
        CHECK(model.diffusion.reading.variance == folder.diffusion.reading.variance);
    }
    SECTION("a variant is taken when it is the only one") {
        const temporary_folder temporary;
        copy_folder(family("centred"), temporary / "m");
        const auto plain = temporary / "m/diffusion_pytorch_model.safetensors";
        fs::rename(plain, temporary / "m/diffusion_pytorch_model.fp16.safetensors");
        CHECK(remarked(opened(temporary / "m").description, "variant diffusion_pytorch_model.fp16.safetensors"));
        fs::copy_file(temporary / "m/diffusion_pytorch_model.fp16.safetensors",
                      temporary / "m/diffusion_pytorch_model.ema.safetensors");
        CHECK_THAT(refused(temporary / "m"), contains("2 variants") && contains("give one of the files"));
        fs::copy_file(temporary / "m/diffusion_pytorch_model.ema.safetensors", plain);
        CHECK_FALSE(remarked(opened(temporary / "m").description, "variant"));
    }
    SECTION("weights under another name with a config.json") {
        const temporary_folder temporary;
        copy_folder(family("centred"), temporary / "m");
        fs::rename(temporary / "m/diffusion_pytorch_model.safetensors", temporary / "m/model.safetensors");
        CHECK(disagreement(b, repaint::load_model(b, temporary / "m"), "centred") == "");
    }
}

TEST_CASE("the published networks of both families are recognised", "[families]") {
    // As https://huggingface.co/google/ddpm-* have it.
    const std::string common = R"("_class_name": "UNet2DModel", "_diffusers_version": "0.0.4", "act_fn": "silu",
        "center_input_sample": false, "downsample_padding": 0, "flip_sin_to_cos": false, "freq_shift": 1,
        "in_channels": 3, "out_channels": 3, "layers_per_block": 2, "mid_block_scale_factor": 1, "norm_eps": 1e-06,
        "norm_num_groups": 32, "time_embedding_type": "positional",)";
    const std::string schedule = R"({"_class_name": "DDPMScheduler", "_diffusers_version": "0.1.1", "beta_end": 0.02,
        "beta_schedule": "linear", "beta_start": 0.0001, "clip_sample": true, "num_train_timesteps": 1000,
        "trained_betas": null, "variance_type": "fixed_small"})";
    struct published_model {
        const char* name;
        std::string config;
        int size;
        std::size_t tensors;
        std::uint64_t parameters;
        std::vector<int> attention;
    };
    const std::vector<published_model> models{
        {"diffusers_celebahq_256",
         "{" + common + R"("attention_head_dim": null, "sample_size": 256,
            "block_out_channels": [128, 128, 256, 256, 512, 512],
            "down_block_types": ["DownBlock2D", "DownBlock2D", "DownBlock2D", "DownBlock2D", "AttnDownBlock2D",
                                 "DownBlock2D"],
            "up_block_types": ["UpBlock2D", "AttnUpBlock2D", "UpBlock2D", "UpBlock2D", "UpBlock2D", "UpBlock2D"]})",
         256,
         450,
         113'673'219,
         {4}},
        {"diffusers_cifar10_32",
         "{" + common + R"("sample_size": 32, "block_out_channels": [128, 256, 256, 256],
            "down_block_types": ["DownBlock2D", "AttnDownBlock2D", "DownBlock2D", "DownBlock2D"],
            "up_block_types": ["UpBlock2D", "UpBlock2D", "AttnUpBlock2D", "UpBlock2D"]})",
         32,
         328,
         35'746'307,
         {1}}};
    for (const auto& model : models) {
        CAPTURE(model.name);
        const auto file = published(model.name);
        const auto config = repaint::parse_json(model.config, "config.json");
        const auto scheduler = repaint::parse_json(schedule, "scheduler_config.json");
        const auto read = repaint::read_diffusers(file, {&config, &scheduler, nullptr});
        CHECK(file.tensors.size() == model.tensors);
        CHECK(parameters_of(file, read) == model.parameters);
        CHECK(attention_levels(read.network) == model.attention);
        CHECK(read.description.image_size == model.size);
        for (const auto& level : read.network.levels) {
            CHECK(level.heads->count == 1);
            CHECK(level.heads->channels == level.channels);
        }
        CHECK(read.network.pad_end_only);
        CHECK(read.network.sine_first);
        CHECK(read.network.frequency_shift == 1.0);
        CHECK(read.network.norm_epsilon == 1e-6F);
        CHECK_FALSE(read.network.scale_shift_norm);
        CHECK(read.diffusion.reading.variance == repaint::variance_type::fixed_small);
        CHECK(read.diffusion.data_range == repaint::value_range{-1.0F, 1.0F});
    }
    for (const auto& [name, applied] :
         {std::pair{"monai_generative_tutorial", false}, std::pair{"monai_core_tutorial", true}}) {
        CAPTURE(name);
        const auto file = published(name);
        const auto read = repaint::read_monai(file, nullptr);
        CHECK(file.tensors.size() == 212);
        CHECK(parameters_of(file, read) == 18'500'993);
        CHECK(attention_levels(read.network) == std::vector<int>{1, 2});
        CHECK(read.network.levels[1].heads->count == 1);
        CHECK(read.network.levels[2].heads->count == 1);
        CHECK(read.network.norm_groups == 32);
        CHECK(read.network.norm_epsilon == 1e-6F);
        CHECK(read.network.attention_projection == applied);
        CHECK(read.diffusion.data_range == repaint::value_range{0.0F, 1.0F});
        CHECK(read.diffusion.reading.variance == repaint::variance_type::fixed_small);
    }
}

TEST_CASE("scheduler_config.json and a bundle tell how the network diffuses", "[families]") {
    const auto pipeline = opened(family("pipeline"));
    CHECK(pipeline.diffusion.training.size() == 500);
    CHECK(pipeline.diffusion.betas->kind == repaint::beta_kind::squared_cosine);
    CHECK(pipeline.diffusion.reading.prediction == repaint::prediction_type::velocity);
    CHECK(pipeline.diffusion.reading.variance == repaint::variance_type::fixed_large);
    CHECK_FALSE(pipeline.diffusion.reading.clip);
    CHECK(pipeline.description.image_size == 8);
    CHECK(pipeline.description.family == "diffusers UNet2DModel");
    CHECK(pipeline.description.tensors == pipeline.file.tensors.size());
    CHECK(remarked(pipeline.description, "scheduler_config.json"));

    const auto alone = opened(family("scale_shift"));
    CHECK(remarked(alone.description, "no scheduler_config.json"));
    CHECK(alone.diffusion.training.size() == 1000);
    const auto twice = opened(family("classes_sharded")); // six channels for images of three
    CHECK(twice.diffusion.reading.variance == repaint::variance_type::learned_range);
    CHECK(remarked(twice.description, "learned_range is assumed"));
    CHECK(twice.network.classes == 5);

    const auto given = opened(family("pipeline"), R"({"_class_name": "DDIMScheduler", "num_train_timesteps": 40,
        "beta_schedule": "sigmoid", "prediction_type": "sample", "data_range": [0, 1], "timestep_spacing": "leading"})");
    CHECK(given.diffusion.training.size() == 40); // what is given comes before what the folder says
    CHECK(given.diffusion.reading.prediction == repaint::prediction_type::x_0);
    CHECK(given.diffusion.data_range == repaint::value_range{0.0F, 1.0F});
    const auto listed =
        opened(family("scale_shift"), R"({"trained_betas": [0.1, 0.2, 0.3], "num_train_timesteps": 3})");
    CHECK(listed.diffusion.training.size() == 3);

    const auto bundle = opened(family("monai_core_bundle"));
    CHECK(bundle.diffusion.training.size() == 200);
    CHECK(bundle.diffusion.betas->kind == repaint::beta_kind::scaled_linear);
    CHECK(bundle.diffusion.betas->start == 0.0015);
    CHECK(remarked(bundle.description, "inference.json"));
    CHECK(remarked(bundle.description, "in_channels is no literal value"));
    const auto monai = opened(family("monai_core_uneven"));
    CHECK(monai.diffusion.data_range == repaint::value_range{-1.0F, 1.0F});
    for (const auto& [name, kind] : {std::pair{"monai_core", repaint::beta_kind::monai_cosine},
                                     std::pair{"monai_generative_0_2", repaint::beta_kind::monai_generative_cosine}}) {
        const auto cosine = opened(family(name), R"({"schedule": "cosine", "num_train_timesteps": 100})");
        CHECK(cosine.diffusion.betas->kind == kind); // one name, two tables
    }
}

TEST_CASE("attention_head_dim: null, absent and given mean different heads", "[families]") {
    const auto heads = [](const std::string& config) {
        const auto file = repaint::read_checkpoint(repaint::locate_model(family("pipeline")).weights);
        const auto json = repaint::parse_json(config, "config.json");
        return *repaint::read_diffusers(file, {&json, nullptr, nullptr}).network.levels[1].heads; // 16 channels
    };
    CHECK(heads(R"({"norm_num_groups": 2})").count == 2); // the class's own default is heads of 8
    CHECK(heads(R"({"norm_num_groups": 2, "attention_head_dim": null})").count == 1);
    CHECK(heads(R"({"norm_num_groups": 2, "attention_head_dim": 4})").count == 4);
    CHECK(heads(R"({"norm_num_groups": 2, "_diffusers_version": "0.0.4"})").count == 1);
    CHECK(heads(R"({"norm_num_groups": 2, "_diffusers_version": "0.12.0"})").count == 2);
    // Queries as wide as three heads of 5: the rest of 16 channels is left out.
    CHECK_THAT(refused(family("pipeline"), R"({"attention_head_dim": 5})"),
               contains("attention_head_dim is 5, accepted: a width of heads that makes queries of 16 channels"));
}

TEST_CASE("MONAI's settings that tensors do not tell are the class's own where they can be, else asked for",
          "[families]") {
    const auto bare = family("monai_core_middle_only") / "model.pt"; // 4 and 8 channels
    CHECK_THAT(
        refused(bare, "{}"),
        contains("model.pt: norm_num_groups is not given, the tensors do not tell it, and the class's own 32 does "
                 "not divide the channels of every level: give it in a JSON (--config, or beside the weights), "
                 "accepted: a divisor of 4"));
    CHECK(opened(bare, R"({"norm_num_groups": 2})").network.norm_groups == 2);
    CHECK(opened(bare, R"({"norm_num_groups": 2})").network.levels[1].heads->channels == 8);
    CHECK(remarked(opened(bare, R"({"norm_num_groups": 2})").description, "num_head_channels is not given"));

    const auto odd = family("monai_core_bundle") / "models/model.pt"; // 5, 5 and 10 channels
    CHECK(
        refused(odd, R"({"norm_num_groups": 1})") ==
        "settings.json, line 1: num_head_channels is not given, the tensors do not tell it, and the class's own 8 does "
        "not divide the 10 channels of level 2: give it in a JSON (--config, or beside the weights), accepted: the "
        "channels of one attention head, or one number for each of the 3 levels");
    // As that class divides: two heads of five.
    const auto wide = opened(odd, R"({"norm_num_groups": 1, "num_head_channels": 4})");
    CHECK(wide.network.levels[2].heads->count == 2);
    CHECK(wide.network.levels[2].heads->channels == 5);

    SECTION("without any JSON the sentence names the file") {
        const temporary_folder temporary;
        fs::copy_file(bare, temporary / "bare.pt");
        CHECK_THAT(refused(temporary / "bare.pt"),
                   contains("bare.pt: norm_num_groups is not given") && contains("a divisor of 4"));
    }
}

TEST_CASE("MONAI's output projection: applied, skipped, or as the release did", "[families]") {
    const auto applied = [](const std::string& name, const std::string& settings) {
        return opened(family(name), settings).network.attention_projection;
    };
    CHECK(applied("monai_core", "{}"));
    CHECK(applied("monai_core", R"({"output_projection": "auto"})"));
    CHECK_FALSE(applied("monai_core", R"({"output_projection": "skip"})"));
    CHECK_FALSE(applied("monai_core", R"({"include_fc": false})")); // 1.4 has the weights even then
    CHECK(applied("monai_generative_0_1", "{}"));
    CHECK_FALSE(applied("monai_generative_0_1", R"({"output_projection": "skip"})"));
    CHECK_FALSE(applied("monai_generative_0_2", "{}"));
    CHECK(applied("monai_generative_0_2", R"({"output_projection": "apply"})"));
    CHECK(remarked(opened(family("monai_generative_0_2")).description, "proj_attn is not applied"));
    CHECK(remarked(opened(family("monai_generative_0_1")).description, "proj_attn is applied"));

    const std::string none = R"("norm_num_groups": 1, "num_head_channels": 4})";
    CHECK_FALSE(applied("monai_core_no_projection", "{" + none));
    const std::string missing = "as the file has no middle_block.attention.attn.out_proj";
    CHECK_THAT(refused(family("monai_core_no_projection"), R"({"include_fc": true, )" + none),
               contains("include_fc is true, accepted: false, " + missing));
    CHECK_THAT(refused(family("monai_core_no_projection"), R"({"output_projection": "apply", )" + none),
               contains("output_projection is \"apply\", accepted: skip, auto, " + missing));
    CHECK_THAT(refused(family("monai_core"), R"({"output_projection": "always"})"),
               contains("output_projection is \"always\", accepted: apply, skip, auto"));
}

TEST_CASE("wrong and unsupported settings of a config.json are refused in one sentence", "[families]") {
    check_refused(
        "scale_shift", // 4 and 8 channels, one layer, attention on the second level
        {{R"({"_class_name": "UNet2DConditionModel"})",
          R"(_class_name is "UNet2DConditionModel", accepted: UNet2DModel, UNetUnconditionalModel)"},
         {R"({"act_fn": "gelu"})", R"(act_fn is "gelu", accepted: silu, swish)"},
         {R"({"act_fn": 3})", "act_fn must be a string, found 3"},
         {R"({"time_embedding_type": "fourier"})", R"(time_embedding_type is "fourier", accepted: positional)"},
         {R"({"time_embedding_type": "learned"})", R"(time_embedding_type is "learned", accepted: positional)"},
         {R"({"class_embed_type": "timestep"})",
          R"(class_embed_type is "timestep", accepted: null, with num_class_embeds for a class-conditional network)"},
         {R"({"num_class_embeds": 10})",
          "num_class_embeds is 10, but the checkpoint's tensors are those of a network with 0"},
         {R"({"resnet_time_scale_shift": "spatial"})",
          R"(resnet_time_scale_shift is "spatial", accepted: default, scale_shift)"},
         {R"({"resnet_time_scale_shift": "default"})",
          "resnet_time_scale_shift is default, but the checkpoint's tensors are those of a network with scale_shift"},
         {R"({"down_block_types": ["SkipDownBlock2D", "AttnDownBlock2D"]})",
          R"(down_block_types is "SkipDownBlock2D", accepted: DownBlock2D, AttnDownBlock2D, ResnetDownsampleBlock2D)"},
         {R"({"up_block_types": ["AttnUpBlock2D", "KUpBlock2D"]})",
          R"(up_block_types is "KUpBlock2D", accepted: UpBlock2D, AttnUpBlock2D, ResnetUpsampleBlock2D)"},
         {R"({"up_block_types": ["UpBlock2D"]})",
          "up_block_types is 1 blocks, accepted: 2 blocks, as many as the tensors are of"},
         {R"({"up_block_types": ["UpBlock2D", "AttnUpBlock2D"]})",
          R"(up_block_types is "UpBlock2D" at position 0, accepted: a block with attention, as the checkpoint's tensors )"
          "have it"},
         {R"({"down_block_types": ["ResnetDownsampleBlock2D", "AttnDownBlock2D"]})",
          R"(down_block_types is "ResnetDownsampleBlock2D" at position 0, accepted: a block that resamples by a )"
          "convolution, as the checkpoint's tensors have it"},
         {R"({"downsample_type": "pool"})", R"(downsample_type is "pool", accepted: conv, resnet)"},
         {R"({"mid_block_type": "UNetMidBlock2DCrossAttn"})",
          R"(mid_block_type is "UNetMidBlock2DCrossAttn", accepted: UNetMidBlock2D)"},
         {R"({"mid_block_type": null})",
          "mid_block_type is null, but the checkpoint's tensors are those of a network with UNetMidBlock2D"},
         {R"({"add_attention": false})",
          "add_attention is false, but the checkpoint's tensors are those of a network with true"},
         {R"({"add_attention": "yes"})", R"(add_attention must be true or false, found "yes")"},
         {R"({"mid_block_scale_factor": 0})",
          "mid_block_scale_factor is 0, accepted: a number other than 0, up to 1e6"},
         {R"({"block_out_channels": [4, 16]})",
          "block_out_channels is 4,16, but the checkpoint's tensors are those of a network with 4,8"},
         {R"({"layers_per_block": 2})",
          "layers_per_block is 2, but the checkpoint's tensors are those of a network with 1"},
         {R"({"in_channels": 1})", "in_channels is 1, but the checkpoint's tensors are those of a network with 3"},
         {R"({"out_channels": 6})", "out_channels is 6, but the checkpoint's tensors are those of a network with 3"},
         {R"({"time_embedding_dim": 20})",
          "time_embedding_dim is 20, but the checkpoint's tensors are those of a network with 16"},
         {R"({"freq_shift": 2})",
          "freq_shift is 2, accepted: a number other than half of the first block_out_channels, 2"},
         {R"({"downsample_padding": 2})", "downsample_padding is 2, accepted: 0 to 1"},
         {R"({"downsample_padding": null})", "downsample_padding is null, accepted: 0, 1"},
         {R"({"norm_num_groups": 3})", "norm_num_groups is 3, accepted: a number of groups that divides 4, 8 channels"},
         {R"({"norm_num_groups": 0})", "norm_num_groups is 0, accepted: a number of groups that divides 4, 8 channels"},
         {R"({"norm_num_groups": null})", "norm_num_groups is null, accepted: a number of groups"},
         {R"({"norm_eps": 0})", "norm_eps is 0, accepted: a number above 0, at most 1"},
         {R"({"attn_norm_num_groups": 4})",
          "attn_norm_num_groups is 4, accepted: null, as the file has no mid_block.attentions.0.group_norm"},
         {R"({"attention_head_dim": 0})", "attention_head_dim is 0, accepted: 1 to 1048576"},
         {R"({"center_input_sample": 1})", "center_input_sample must be true or false, found 1"},
         {R"({"sample_size": 0})", "sample_size is 0, accepted: a size from 1 to 65535, or [height, width]"},
         {R"({"sample_size": [8, 8, 8]})",
          "sample_size is [8, 8, 8], accepted: a size from 1 to 65535, or [height, width]"}});
    check_refused("attention_on_the_way_up",
                  {{R"({"attn_norm_num_groups": 3})",
                    "attn_norm_num_groups is 3, accepted: a number of groups that divides 8 channels"}});
    check_refused("no_middle",
                  {{R"({"mid_block_type": "UNetMidBlock2D"})",
                    "mid_block_type is UNetMidBlock2D, but the checkpoint's tensors are those of a network "
                    "with null"}});

    SECTION("in the file itself, with its name and line; what is absent is as the class has it") {
        const temporary_folder temporary;
        copy_folder(family("centred"), temporary / "m");
        write_text(temporary / "m/config.json", "{\n  \"add_attention\": false,\n  \"act_fn\": \"mish\"\n}\n");
        const auto text = refused(temporary / "m");
        CHECK_THAT(text, contains("config.json, line 3: act_fn is \"mish\", accepted: silu, swish"));
        write_text(temporary / "m/config.json", "{}");
        CHECK_THAT(refused(temporary / "m"), contains("add_attention is not given, which means true"));
        write_text(temporary / "m/config.json", R"({"add_attention": false})");
        CHECK_THAT(
            refused(temporary / "m"),
            contains("norm_num_groups is not given, which means 32, accepted: a number of groups that divides 4, "
                     "8 channels"));
        write_text(temporary / "m/config.json", R"({"norm_num_groups": 2, "add_attention": false, "novel": 1})");
        CHECK(remarked(opened(temporary / "m").description, "novel is not known here"));
    }
}

TEST_CASE("wrong and unsupported settings of a scheduler are refused in one sentence", "[families]") {
    check_refused(
        "scale_shift",
        {{R"({"_class_name": "FlowMatchEulerDiscreteScheduler"})",
          R"(_class_name is "FlowMatchEulerDiscreteScheduler", accepted: a scheduler with betas, as DDPMScheduler, )"
          "DDIMScheduler, RePaintScheduler"},
         {R"({"beta_schedule": "cosine"})",
          R"(beta_schedule is "cosine", accepted: linear, scaled_linear, squaredcos_cap_v2, sigmoid)"},
         {R"({"beta_start": -0.1})", "beta_start is -0.1, accepted: a number above 0 and below 1"},
         {R"({"beta_end": 1})", "beta_end is 1, accepted: a number above 0 and below 1"},
         {R"({"prediction_type": "flow"})", R"(prediction_type is "flow", accepted: epsilon, sample, v_prediction)"},
         {R"({"variance_type": "learned_range"})",
          R"(variance_type is "learned_range", accepted: fixed_small or fixed_large, as the network has 3 output )"
          "channels for images of 3"},
         {R"({"clip_sample": "yes"})", R"(clip_sample must be true or false, found "yes")"},
         {R"({"thresholding": true})", "thresholding is true, accepted: false"},
         {R"({"clip_sample_range": 0})", "clip_sample_range is 0, accepted: a number above 0, up to 1e6"},
         {R"({"timestep_spacing": "karras"})",
          R"(timestep_spacing is "karras", accepted: leading, linspace, trailing)"},
         {R"({"steps_offset": -1})", "steps_offset is -1, accepted: 0 to 1000000"},
         {R"({"rescale_betas_zero_snr": 1})", "rescale_betas_zero_snr must be true or false, found 1"},
         {R"({"trained_betas": [0.1, 0.2], "num_train_timesteps": 3})",
          "trained_betas is 2 numbers, accepted: 3 of them, as num_train_timesteps says"},
         {R"({"data_range": [1, 0]})",
          "data_range is [1, 0], accepted: [low, high] with low below high, as [-1, 1] or [0, 1]"}});
    CHECK_THAT(refused(family("scale_shift"), R"({"trained_betas": [0.1, 2.0]})"),
               contains("settings.json, line 1: trained_betas: ") && contains("2"));
    // Which class a key belongs to tells what is read from it.
    CHECK_NOTHROW(opened(family("scale_shift"), R"({"_class_name": "UNet2DModel"})"));
    CHECK_NOTHROW(opened(family("scale_shift"), R"({"_class_name": "PNDMScheduler"})"));
}

TEST_CASE("wrong and unsupported settings of MONAI's class are refused in one sentence", "[families]") {
    check_refused(
        "monai_core", // 5 and 8 channels
        {{R"({"spatial_dims": 3})", "spatial_dims is 3, accepted: 2"},
         {R"({"channels": [5, 16]})", "channels is 5,16, but the checkpoint's tensors are those of a network with 5,8"},
         {R"({"num_channels": [8]})",
          "num_channels is 8, but the checkpoint's tensors are those of a network with 5,8"},
         {R"({"num_res_blocks": 2})",
          "num_res_blocks is 2,2, but the checkpoint's tensors are those of a network with 1,1"},
         {R"({"attention_levels": [true, true]})",
          "attention_levels is true,true, but the checkpoint's tensors are those of a network with false,true"},
         {R"({"resblock_updown": true})",
          "resblock_updown is true, but the checkpoint's tensors are those of a network with false"},
         {R"({"with_conditioning": true})",
          "with_conditioning is true, accepted: false: cross-attention is not supported"},
         {R"({"cross_attention_dim": 64})",
          "cross_attention_dim is 64, accepted: null: cross-attention is not supported"},
         {R"({"num_class_embeds": 2})",
          "num_class_embeds is 2, but the checkpoint's tensors are those of a network with 0"},
         {R"({"norm_num_groups": 2})", "norm_num_groups is 2, accepted: a number of groups that divides 5, 8 channels"},
         {R"({"norm_eps": -1})", "norm_eps is -1, accepted: a number above 0, at most 1"},
         {R"({"num_head_channels": 16})",
          "num_head_channels is 16, accepted: a width that divides the 8 channels of level 1"},
         {R"({"num_head_channels": [8]})",
          "num_head_channels is [8], accepted: a number, or one for each of the 2 levels"},
         {R"({"num_head_channels": "8"})",
          R"(num_head_channels must be an integer or an array of integers, found "8")"},
         {R"({"norm_eps": {"value": 1}})", "norm_eps must be a number, found an object"},
         {R"({"schedule": "squaredcos_cap_v2"})",
          R"(schedule is "squaredcos_cap_v2", accepted: linear_beta, scaled_linear_beta, sigmoid_beta, cosine, linear, )"
          "scaled_linear"},
         {R"({"prediction_type": "x0"})", R"(prediction_type is "x0", accepted: epsilon, sample, v_prediction)"},
         {R"({"variance_type": "learned"})",
          R"(variance_type is "learned", accepted: fixed_small or fixed_large, as the network has 1 output channels for )"
          "images of 1"},
         {R"({"clip_sample_min": 2})", "clip_sample_min is 2, accepted: a number below clip_sample_max, down to -1e6"},
         {R"({"clip_sample_max": 1e7})", "clip_sample_max is 10000000, accepted: a number up to 1e6"},
         {R"({"steps_offset": -1})", "steps_offset is -1, accepted: 0 to 1000000"},
         {R"({"num_train_timesteps": 0})", "num_train_timesteps is 0, accepted: 1 to 1000000"},
         {R"({"scheduler": {"_target_": "monai.networks.schedulers.RFlowScheduler"}})",
          R"(_target_ is "monai.networks.schedulers.RFlowScheduler", accepted: DDPMScheduler, DDIMScheduler, )"
          "PNDMScheduler"}});
    CHECK_THAT(refused(family("monai_core"), "[1]"), contains("settings.json") && contains("object"));
}

TEST_CASE("weights that do not fit their configuration are named", "[families]") {
    const temporary_folder temporary;
    SECTION("missing, surplus and mis-shaped, all in the file's own names") {
        const auto folder = edited(temporary, "scale_shift", [](auto& tensors) {
            tensors.erase("down_blocks.1.attentions.0.to_k.bias");
            tensors.emplace("mid_block.surplus.weight", tensors.at("conv_out.bias"));
            tensors.at("up_blocks.0.resnets.1.conv2.bias").shape = {8, 1, 1, 1, 1};
        });
        const auto text = refused(folder);
        CHECK_THAT(text, contains("1 missing (down_blocks.1.attentions.0.to_k.bias (8, 1, 1, 1))"));
        CHECK_THAT(text, contains("1 mis-shaped (up_blocks.0.resnets.1.conv2.bias"));
        CHECK_THAT(text, contains("1 unused (mid_block.surplus.weight (3))"));
    }
    SECTION("heads wider than the network: no queries at all") {
        const auto folder = edited(temporary, "scale_shift", [](auto& tensors) {
            tensors.at("mid_block.attentions.0.to_q.weight").shape = {0, 8};
        });
        CHECK_THAT(refused(folder),
                   contains("attention_head_dim is 4, accepted: at most the 8 channels that attention is over"));
    }
    SECTION("a part of the joined queries, keys and values with another shape") {
        const auto folder = edited(temporary, "scale_shift", [](auto& tensors) {
            tensors.at("mid_block.attentions.0.to_v.weight") = tensors.at("mid_block.attentions.0.to_v.bias");
        });
        CHECK_THAT(refused(folder), contains("mid_block.attentions.0.to_v.weight"));
    }
    SECTION("no middle block, though it is not said to be missing") {
        const auto folder = edited(temporary, "pipeline", [](auto& tensors) {
            std::erase_if(tensors, [](const auto& entry) { return entry.first.starts_with("mid_block."); });
        });
        fs::copy_file(family("pipeline") / "unet/config.json", folder / "config.json");
        CHECK_THAT(refused(folder), contains("mid_block_type is UNetMidBlock2D, but the checkpoint's tensors"));
        write_text(folder / "config.json", R"({"norm_num_groups": 2})");
        CHECK_THAT(refused(folder), contains("mid_block_type is not given, accepted: null, as the file has no"));
    }
    SECTION("a middle attention without its norm") {
        const auto folder = edited(temporary, "pipeline",
                                   [](auto& tensors) { tensors.erase("mid_block.attentions.0.group_norm.weight"); });
        fs::copy_file(family("pipeline") / "unet/config.json", folder / "config.json");
        CHECK_THAT(refused(folder), contains("needs a tensor mid_block.attentions.0.group_norm.weight"));
        CHECK_THAT(refused(edited(temporary, "monai_core_middle_only",
                                  [](auto& tensors) { tensors.erase("middle_block.attention.norm.weight"); })),
                   contains("needs a tensor middle_block.attention.norm.weight"));
    }
    SECTION("networks of MONAI that are not for images") {
        CHECK_THAT(refused(edited(temporary, "monai_core_middle_only",
                                  [](auto& tensors) {
                                      auto& first = tensors.at("conv_in.conv.weight");
                                      first.shape = {4, 1, 3, 3, 1};
                                      first.strides = {9, 9, 3, 1, 1};
                                  })),
                   contains("the network is one for spatial_dims 3, accepted: 2"));
    }
    SECTION("cross-attention") {
        CHECK_THAT(
            refused(edited(temporary, "monai_core_middle_only",
                           [](auto& tensors) {
                               tensors.emplace("down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_q.weight",
                                               tensors.at("conv_in.conv.bias"));
                           })),
            contains(
                "belongs to cross-attention (with_conditioning true), accepted are networks with with_conditioning "
                "false"));
    }
    SECTION("extents and levels that no network has") {
        CHECK_THAT(refused(edited(temporary, "centred",
                                  [](auto& tensors) {
                                      auto& first = tensors.at("conv_in.weight");
                                      first.shape = {4, 27};
                                      first.strides = {27, 1};
                                  })),
                   contains("conv_in.weight has 2 dimensions, expected 4"));
        CHECK_THAT(refused(edited(temporary, "scale_shift",
                                  [](auto& tensors) {
                                      for (int i = 2; i < 40; ++i) {
                                          tensors.emplace("down_blocks." + std::to_string(i) + ".x",
                                                          tensors.at("conv_out.bias"));
                                      }
                                  })),
                   contains("a U-Net of 40 levels (down_blocks) was found, accepted are 1 to 12"));
    }
    SECTION("names of no family") {
        CHECK_THAT(refused(edited(temporary, "centred",
                                  [](auto& tensors) {
                                      auto node = tensors.extract("conv_in.weight");
                                      node.key() = "first.weight";
                                      tensors.insert(std::move(node));
                                  })),
                   contains("are not those of a guided-diffusion U-Net, a diffusers UNet2DModel or a MONAI "
                            "DiffusionModelUNet"));
    }
}

TEST_CASE("folders that hold no model, or half of one, are refused in one sentence", "[families]") {
    const temporary_folder temporary;
    const auto folder = temporary / "m";
    SECTION("empty, or with settings alone") {
        fs::create_directory(folder);
        CHECK_THAT(refused(folder), contains("this folder holds no model, accepted are folders with"));
        fs::copy_file(family("centred") / "config.json", folder / "config.json");
        CHECK_THAT(refused(folder), contains("this folder holds no model"));
        CHECK_THAT(refused(folder / "config.json"), contains("this folder holds no model"));
        fs::create_directory(folder / "unet");
        CHECK_THAT(refused(folder), contains("this folder holds no model"));
        fs::create_directory(folder / "models");
        CHECK_THAT(refused(folder), contains("a MONAI bundle needs its weights as models/model.pt"));
        CHECK_THAT(refused(temporary / "nowhere"), contains("nowhere"));
    }
    SECTION("without config.json") {
        fs::create_directory(folder);
        fs::copy_file(family("centred") / "diffusion_pytorch_model.safetensors",
                      folder / "diffusion_pytorch_model.safetensors");
        CHECK_THAT(refused(folder), contains("a diffusers UNet2DModel needs its config.json beside the weights"));
        CHECK_NOTHROW(opened(folder, R"({"norm_num_groups": 2, "add_attention": false, "attention_head_dim": null})"));
    }
    SECTION("config.json that is no JSON object") {
        copy_folder(family("centred"), folder);
        for (const char* text : {"", "[]", "null", "{", "7", "{\"a\": 1} x", "\xFF\xFE"}) {
            CAPTURE(text);
            write_text(folder / "config.json", text);
            CHECK_THAT(refused(folder), contains("config.json"));
        }
    }
    SECTION("scheduler_config.json that is no JSON object") {
        copy_folder(family("pipeline"), folder);
        for (const char* text : {"", "[1]", "\"x\""}) {
            CAPTURE(text);
            write_text(folder / "scheduler/scheduler_config.json", text);
            CHECK_THAT(refused(folder), contains("scheduler_config.json"));
        }
    }
    SECTION("an index whose files are absent, elsewhere, or not tensors") {
        copy_folder(family("classes_sharded"), folder);
        const auto index = folder / "diffusion_pytorch_model.safetensors.index.json";
        const auto with = [&](const std::string& shard) {
            write_text(index, R"({"weight_map": {"conv_in.weight": ")" + shard + R"("}})");
            return refused(folder);
        };
        CHECK_THAT(with("absent.safetensors"), contains("absent.safetensors"));
        CHECK_THAT(with("../outside.safetensors"), contains("names of files beside the index"));
        CHECK_THAT(with("/etc/hostname"), contains("names of files beside the index"));
        CHECK_THAT(with("config.json"), contains("config.json"));
        CHECK_THAT(with("."), contains("index.json") || contains("directory"));
        write_text(index, "{}");
        CHECK_THAT(refused(folder), contains("the key \"weight_map\" is missing"));
        write_text(index, R"({"weight_map": {}})");
        refused(folder);
        copy_folder(family("classes_sharded"), temporary / "n");
        fs::remove(temporary / "n/diffusion_pytorch_model-00002-of-00003.safetensors");
        CHECK_THAT(refused(temporary / "n"), contains("diffusion_pytorch_model-00002-of-00003.safetensors"));
    }
    SECTION("a pipeline of another network") {
        copy_folder(family("pipeline"), folder);
        write_text(folder / "model_index.json", R"({"unet": ["diffusers", "UNet2DConditionModel"]})");
        CHECK_THAT(refused(folder), contains("unet is \"UNet2DConditionModel\", accepted: UNet2DModel"));
        write_text(folder / "model_index.json", R"({"unet": [1], "vqvae": ["diffusers", "VQModel"]})");
        CHECK(remarked(opened(folder).description, "pictures are of latents"));
        write_text(folder / "model_index.json", "[]");
        CHECK_THAT(refused(folder), contains("model_index.json"));
    }
    SECTION("a bundle whose configuration says nothing of a network") {
        copy_folder(family("monai_core_bundle"), folder);
        write_text(folder / "configs/inference.json", "{}");
        CHECK_THAT(refused(folder), contains("is not given, the tensors do not tell it"));
        write_text(folder / "configs/inference.json", "[");
        CHECK_THAT(refused(folder), contains("inference.json"));
        fs::copy_file(folder / "models/model.pt", folder / "models/model.pth");
        fs::rename(folder / "models/model.pt", folder / "models/other.pt");
        fs::rename(folder / "models/model.pth", folder / "models/another.pt");
        CHECK_THAT(refused(folder), contains("needs its weights as models/model.pt, there are 2 other files"));
    }
    SECTION("weights that are none") {
        copy_folder(family("centred"), folder);
        for (const std::string& bytes : {std::string(), std::string("x"), std::string("{}"), std::string(64, '\0')}) {
            write_text(folder / "diffusion_pytorch_model.safetensors", bytes);
            CHECK_THAT(refused(folder), contains("diffusion_pytorch_model.safetensors"));
        }
    }
}
