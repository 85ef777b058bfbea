#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <repaint/config.hpp>
#include <repaint/core/text.hpp>
#include <repaint/diffusion/betas.hpp>
#include <repaint/error.hpp>
#include <repaint/io/bytes.hpp>
#include <repaint/io/json.hpp>
#include <repaint/io/stored_tensor.hpp>
#include <repaint/model/block_names.hpp>
#include <repaint/model/checkpoint_names.hpp>
#include <repaint/model/common_settings.hpp>
#include <repaint/model/diffusers.hpp>
#include <repaint/model/settings.hpp>
#include <repaint/model/unet_config.hpp>

namespace repaint {

namespace detail {

inline block_words diffusers_words(const checkpoint& file) {
    block_words words;
    words.family = "diffusers UNet2DModel";
    words.first = "conv_in";
    words.time_first = "time_embedding.linear_1";
    words.time_second = "time_embedding.linear_2";
    words.conv1 = ".conv1";
    words.conv2 = ".conv2";
    words.shortcut = ".conv_shortcut";
    words.attention_norm = ".group_norm";
    words.qkv = {".to_q", ".to_k", ".to_v"};
    words.projection = ".to_out.0";
    words.down = ".downsamplers.0";
    words.down_conv = ".conv";
    words.up = ".upsamplers.0";
    words.up_conv = ".conv";
    words.middle = {"mid_block.resnets.0", "mid_block.attentions.0", "mid_block.resnets.1"};
    words.last_norm = "conv_norm_out";
    words.last = "conv_out";
    const bool old = std::any_of(file.tensors.begin(), file.tensors.end(), [](const auto& entry) {
        return entry.first.ends_with(".query.weight") && entry.first.find("attentions.") != std::string::npos;
    });
    if (old) { // before version 0.12
        words.qkv = {".query", ".key", ".value"};
        words.projection = ".proj_attn";
    }
    return words;
}

/// A kind of block that down_block_types and up_block_types name.
struct diffusers_block {
    bool attention = false;
    bool residual = false; ///< a residual block resamples, whatever downsample_type and upsample_type say
};

/// The kind of block with that name. side: "Down" or "Up". Throws format_error when a UNet2DModel that can be read here
/// has no such block.
inline diffusers_block parse_block(const settings_reader& settings, const char* key, std::string name,
                                   const std::string& side) {
    if (name.starts_with("UNetRes")) { // what version 0.0 called them
        name.erase(0, 7);
    }
    const std::string resampled = side == "Down" ? "ResnetDownsampleBlock2D" : "ResnetUpsampleBlock2D";
    if (name == joined_text({side, "Block2D"})) {
        return {false, false};
    }
    if (name == joined_text({"Attn", side, "Block2D"})) {
        return {true, false};
    }
    if (name == resampled) {
        return {false, true};
    }
    std::string accepted = side;
    accepted += joined_text({"Block2D, Attn", side, "Block2D, ", resampled});
    settings.refuse(key, in_quotes(name), accepted);
}

/// Throws format_error when config.json names kinds of blocks that cannot be read here. It comes before the tensors are
/// looked at, because it says more than a tensor that is missing.
inline void check_block_kinds(settings_reader& settings) {
    for (const bool up : {false, true}) {
        const char* key = up ? "up_block_types" : "down_block_types";
        for (const auto& name : settings.strings(key).value_or(std::vector<std::string>{})) {
            parse_block(settings, key, name, up ? "Up" : "Down");
        }
    }
    settings.choice<bool>("resnet_time_scale_shift", {{"default", false}, {"scale_shift", true}});
    settings.choice<bool>("time_embedding_type", {{"positional", true}});
    if (settings.find("class_embed_type") != nullptr) {
        settings.refuse("class_embed_type", "null, with num_class_embeds for a class-conditional network");
    }
}

/// Checks the blocks that config.json lists for one side, in the order in which they run, against the levels that the
/// tensors showed.
inline void check_block_types(settings_reader& settings, const unet_config& config, bool up) {
    const char* key = up ? "up_block_types" : "down_block_types";
    const char* how = up ? "upsample_type" : "downsample_type";
    const auto by_block = settings.choice<bool>(how, {{"conv", false}, {"resnet", true}});
    const auto types = settings.strings(key);
    if (!types) {
        return;
    }
    const std::size_t count = config.levels.size();
    if (types->size() != count) {
        settings.refuse(key, joined_text({types->size(), " blocks"}),
                        joined_text({count, " blocks, as many as the tensors are of"}));
    }
    for (std::size_t i = 0; i < count; ++i) {
        const std::size_t at = up ? count - 1 - i : i;
        const unet_level& level = config.levels[at];
        const std::string& name = (*types)[i];
        const auto block = parse_block(settings, key, name, up ? "Up" : "Down");
        const auto contradicts = [&](const std::string& found) {
            settings.refuse(key, joined_text({in_quotes(name), " at position ", i}),
                            joined_text({"a block ", found, ", as the checkpoint's tensors have it"}));
        };
        const bool attention = up ? level.attention_up : level.attention;
        if (block.attention != attention) {
            contradicts(attention ? "with attention" : "without attention");
        }
        if (i + 1 < count) { // the last does not resample
            const bool residual = up ? level.residual_up : level.residual_down;
            const bool said = block.residual || (block.attention && by_block.value_or(false));
            if (said != residual) {
                contradicts(residual ? "that resamples by a residual block (ResnetDownsampleBlock2D and "
                                       "ResnetUpsampleBlock2D, or one with attention and the type \"resnet\")"
                                     : "that resamples by a convolution");
            }
        }
    }
}

/// Sets the heads of every level from attention_head_dim, the channels of one head. null and a missing key mean
/// different things in different versions of diffusers.
inline void read_diffusers_heads(settings_reader& settings, const checkpoint& file, const block_words& words,
                                 unet_config& config, std::vector<std::string>& remarks) {
    const auto said = settings.integer("attention_head_dim", 1, 1 << 20);
    const bool absent = !settings.has("attention_head_dim");
    const bool old = settings.string("_diffusers_version").value_or("").starts_with("0.0.");
    int channels = said.value_or(absent && !old ? 8 : 0); // 0: one head
    const auto heads_of = [&channels](int of) {
        const int head = channels == 0 ? of : channels;
        return attention_heads{std::max(1, of / head), head};
    };
    // The rows of an attention's queries are the one thing that tensors tell about heads.
    const auto rows_of = [&](const std::string& name) {
        const std::string query = joined_text({name, words.qkv.front(), ".weight"});
        const auto found = file.tensors.find(query);
        return found == file.tensors.end() || found->second.shape.empty() ? std::int64_t{-1} : found->second.shape[0];
    };
    std::vector<std::pair<int, std::int64_t>> attentions; // channels, rows of the queries (-1: there are none)
    for (std::size_t i = 0; i < config.levels.size(); ++i) {
        const unet_level& level = config.levels[i];
        if (level.attention) {
            attentions.emplace_back(level.channels, rows_of(block_words::attention(block_words::down_level(i), 0)));
        }
        if (level.attention_up) {
            const std::string up = block_words::up_level(i, config.levels.size());
            attentions.emplace_back(level.channels, rows_of(block_words::attention(up, 0)));
        }
    }
    if (config.middle_attention) {
        attentions.emplace_back(config.levels.back().channels, rows_of(words.middle[1]));
    }
    const auto fits = [&](const std::pair<int, std::int64_t>& of) {
        const auto heads = heads_of(of.first);
        return of.second < 0 || of.second == std::int64_t{heads.count} * heads.channels;
    };
    if (absent && !std::all_of(attentions.begin(), attentions.end(), fits)) {
        channels = 0;
    }
    if (const auto wrong = std::find_if_not(attentions.begin(), attentions.end(), fits); wrong != attentions.end()) {
        settings.refuse("attention_head_dim",
                        wrong->second == 0 // what that class makes of heads wider than that, and cannot run
                            ? joined_text({"at most the ", wrong->first, " channels that attention is over"})
                            : joined_text({"a width of heads that makes queries of ", wrong->second, " channels from ",
                                           wrong->first, ", as the checkpoint's tensors do"}));
    }
    for (unet_level& level : config.levels) {
        level.heads = heads_of(level.channels);
    }
    if (!attentions.empty() && absent) {
        remarks.emplace_back(
            channels == 0 ? "attention_head_dim is not in config.json: one head is assumed"
                          : "attention_head_dim is not in config.json: heads of 8 channels, as the class has it");
    }
}

inline void read_diffusers_network(settings_reader& settings, const checkpoint& file, const block_words& words,
                                   unet_config& config, model_description& about) {
    settings.expect("in_channels", settings.integer("in_channels"), config.in_channels);
    settings.expect("out_channels", settings.integer("out_channels"), config.out_channels);
    if (const auto channels = settings.integers("block_out_channels")) {
        std::vector<int> found;
        for (const auto& level : config.levels) {
            found.push_back(level.channels);
        }
        settings.expect("block_out_channels", channels, found);
    }
    const auto layers = settings.integer("layers_per_block");
    for (const auto& level : config.levels) {
        settings.expect("layers_per_block", layers, level.res_blocks);
    }
    check_block_types(settings, config, false);
    check_block_types(settings, config, true);

    if (settings.has("mid_block_type")) {
        const auto middle = settings.choice<bool>("mid_block_type", {{"UNetMidBlock2D", true}});
        settings.expect("mid_block_type", std::optional<std::string>(middle ? "UNetMidBlock2D" : "null"),
                        std::string(config.middle ? "UNetMidBlock2D" : "null"));
    } else if (!config.middle) {
        settings.refuse("mid_block_type", joined_text({"null, as the file has no ", words.middle[0]}));
    }
    const auto attention = settings.boolean("add_attention");
    if (config.middle) {
        settings.expect("add_attention", attention, config.middle_attention);
        if (!attention && !config.middle_attention) {
            settings.refuse("add_attention", "not given, which means true",
                            joined_text({"false, as the file has no ", words.middle[1]}));
        }
    }
    if (config.middle_groups && !config.scale_shift_norm) {
        required_shape(file, joined_text({words.middle[1], words.attention_norm, ".weight"}), 1, words.family);
    }
    config.middle_divisor = settings.number("mid_block_scale_factor").value_or(1.0);
    if (!(std::fabs(config.middle_divisor) >= 1e-6 && std::fabs(config.middle_divisor) <= 1e6)) {
        settings.refuse("mid_block_scale_factor", "a number other than 0, up to 1e6");
    }

    if (const auto shift =
            settings.choice<bool>("resnet_time_scale_shift", {{"default", false}, {"scale_shift", true}})) {
        settings.expect("resnet_time_scale_shift", std::optional<std::string>(*shift ? "scale_shift" : "default"),
                        std::string(config.scale_shift_norm ? "scale_shift" : "default"));
    }
    settings.expect("time_embedding_dim", settings.integer("time_embedding_dim"), config.embedding_width);
    config.sine_first = !settings.boolean("flip_sin_to_cos").value_or(true);
    config.frequency_shift = settings.number("freq_shift").value_or(0.0);
    const int half = config.model_channels / 2; // 0: no sinusoids at all
    if (std::fabs(config.frequency_shift) > 1e6 || (half > 0 && std::fabs(half - config.frequency_shift) < 1e-6)) {
        settings.refuse("freq_shift",
                        joined_text({"a number other than half of the first block_out_channels, ", half}));
    }
    if (settings.has("num_class_embeds")) {
        settings.expect("num_class_embeds", std::optional(settings.integer("num_class_embeds").value_or(0)),
                        config.classes);
    }

    config.centre_input = settings.boolean("center_input_sample").value_or(false);
    if (config.centre_input && config.in_channels > 1024) {
        settings.refuse("center_input_sample", "false for more than 1024 channels");
    }
    config.pad_end_only = settings.integer("downsample_padding", 0, 1).value_or(1) == 0;
    if (settings.has("downsample_padding") && settings.find("downsample_padding") == nullptr) {
        settings.refuse("downsample_padding", "0, 1");
    }
    if (const auto act = settings.string("act_fn")) {
        const std::string lower = lower_case(*act);
        if (lower != "silu" && lower != "swish") {
            settings.refuse("act_fn", "silu, swish");
        }
    }
    if (settings.has("norm_num_groups") && settings.find("norm_num_groups") == nullptr) {
        settings.refuse("norm_num_groups", "a number of groups");
    }
    config.norm_groups = settings.integer("norm_num_groups").value_or(32);
    check_groups(settings, "norm_num_groups", config.norm_groups, config);
    config.norm_epsilon = read_epsilon(settings, "norm_eps", 1e-5);
    if (const auto groups = settings.integer("attn_norm_num_groups"); groups && config.middle_attention) {
        if (config.middle_groups) {
            settings.refuse("attn_norm_num_groups",
                            joined_text({"null, as the file has no ", words.middle[1], words.attention_norm}));
        }
        check_groups(settings, "attn_norm_num_groups", *groups, config, config.levels.size() - 1);
        config.middle_groups = *groups;
    }
    read_diffusers_heads(settings, file, words, config, about.remarks);

    if (const json_value* size = settings.find("sample_size")) {
        const auto sizes = settings.integers("sample_size", 2);
        const bool two = sizes->size() == 2 && std::min((*sizes)[0], (*sizes)[1]) >= 1 &&
                         std::max((*sizes)[0], (*sizes)[1]) <= 65535;
        if (!two) {
            settings.refuse("sample_size", described(*size), "a size from 1 to 65535, or [height, width]");
        }
        if ((*sizes)[0] == (*sizes)[1]) {
            about.image_size = sizes->front();
        } else {
            about.remarks.push_back(joined_text({"trained at ", (*sizes)[1], "x", (*sizes)[0]}));
        }
    }
    // Settings of training and of averaged weights (EMA): they change nothing here.
    for (const char* key : {"dropout", "num_train_timesteps", "decay", "inv_gamma", "min_decay", "optimization_step",
                            "power", "update_after_step", "use_ema_warmup"}) {
        settings.find(key);
    }
}

/// Throws format_error when the class of a config.json is given and is not one of those accepted.
inline void check_network_class(settings_reader& settings) {
    settings.choice<bool>("_class_name", {{"UNet2DModel", true}, {"UNetUnconditionalModel", true}});
}

inline diffusion_settings read_diffusers_scheduler(settings_reader& settings, const unet_config& network,
                                                   model_description& about) {
    diffusion_settings result;
    auto& remarks = about.remarks;
    if (const auto name = settings.string("_class_name")) {
        // The schedulers that are configured by betas.
        constexpr std::array<std::string_view, 22> known{"DDPM",
                                                         "DDPMParallel",
                                                         "DDIM",
                                                         "DDIMParallel",
                                                         "DDIMInverse",
                                                         "RePaint",
                                                         "PNDM",
                                                         "LMSDiscrete",
                                                         "EulerDiscrete",
                                                         "EulerAncestralDiscrete",
                                                         "HeunDiscrete",
                                                         "KDPM2Discrete",
                                                         "DEISMultistep",
                                                         "KDPM2AncestralDiscrete",
                                                         "DPMSolverMultistep",
                                                         "DPMSolverSDE",
                                                         "DPMSolverSinglestep",
                                                         "UniPCMultistep",
                                                         "DPMSolverMultistepInverse",
                                                         "SASolver",
                                                         "LCM",
                                                         "TCD"};
        const bool accepted = std::any_of(known.begin(), known.end(), [&](std::string_view start) {
            return *name == joined_text({std::string(start), "Scheduler"});
        });
        if (!accepted) {
            settings.refuse("_class_name", "a scheduler with betas, as DDPMScheduler, DDIMScheduler, RePaintScheduler");
        }
        result.scheduler.ddim = *name == "DDIMScheduler";
        if (*name != "DDPMScheduler" && *name != "DDIMScheduler" && *name != "RePaintScheduler") {
            remarks.push_back(
                joined_text({"the system diffusers samples with the steps of DDPMScheduler, or with an eta of "
                             "DDIMScheduler, not with those of ",
                             *name}));
        }
    }
    beta_schedule betas;
    const auto steps = settings.integer("num_train_timesteps", 1, most_diffusion_steps);
    betas.steps = steps.value_or(1000);
    betas.kind = settings
                     .choice<beta_kind>("beta_schedule", {{"linear", beta_kind::linear},
                                                          {"scaled_linear", beta_kind::scaled_linear},
                                                          {"squaredcos_cap_v2", beta_kind::squared_cosine},
                                                          {"sigmoid", beta_kind::sigmoid}})
                     .value_or(beta_kind::linear);
    read_beta_ends(settings, betas);
    about.schedule = settings.string("beta_schedule").value_or("linear");
    if (const auto trained = settings.numbers("trained_betas")) {
        if (steps && trained->size() != static_cast<std::size_t>(*steps)) {
            settings.refuse("trained_betas", joined_text({trained->size(), " numbers"}),
                            joined_text({*steps, " of them, as num_train_timesteps says"}));
        }
        betas = {};
        betas.kind = beta_kind::listed;
        betas.betas = *trained;
        about.schedule = "trained_betas";
    }
    betas.ends_in_noise = settings.boolean("rescale_betas_zero_snr").value_or(false);
    set_betas(result, betas, settings, betas.kind == beta_kind::listed ? "trained_betas" : "beta_schedule");
    if (betas.ends_in_noise) {
        about.schedule += " rescaled to end in noise";
    }
    about.schedule += joined_text({", ", result.training.size(), " steps"});
    result.reading.prediction = read_prediction(settings);
    // fixed_small_log and fixed_large_log give the variance by way of its logarithm. For diffusers `learned` is the
    // variance itself.
    const auto variance =
        settings.choice<variance_type>("variance_type", {{"fixed_small", variance_type::fixed_small},
                                                         {"fixed_small_log", variance_type::fixed_small},
                                                         {"fixed_large", variance_type::fixed_large},
                                                         {"fixed_large_log", variance_type::fixed_large},
                                                         {"learned", variance_type::learned_linear},
                                                         {"learned_range", variance_type::learned_range}});
    result.reading.variance = checked_variance(settings, variance, variance_type::learned_range, network, remarks);
    if (settings.string("variance_type").value_or("") == "fixed_large_log") {
        remarks.emplace_back(
            "variance_type fixed_large_log is read as fixed_large; diffusers itself computes NaN with it");
    }
    result.reading.clip = settings.boolean("clip_sample").value_or(true);
    const double range = settings.number("clip_sample_range").value_or(1.0);
    if (!(range > 0.0 && range <= 1e6)) {
        settings.refuse("clip_sample_range", "a number above 0, up to 1e6");
    }
    result.reading.limits = {-static_cast<float>(range), static_cast<float>(range)};
    if (settings.boolean("thresholding").value_or(false)) {
        settings.refuse("thresholding", "false");
    }
    result.scheduler.spacing =
        settings
            .choice<timestep_spacing>("timestep_spacing", {{"leading", timestep_spacing::leading},
                                                           {"linspace", timestep_spacing::linspace},
                                                           {"trailing", timestep_spacing::trailing}})
            .value_or(timestep_spacing::leading);
    result.scheduler.offset = settings.integer("steps_offset", 0, most_diffusion_steps).value_or(0);
    result.scheduler.ends_clean = settings.boolean("set_alpha_to_one").value_or(true);
    result.data_range = read_data_range(settings);
    for (const char* key :
         {"eta", "dynamic_thresholding_ratio", "sample_max_value", "skip_prk_steps", "tensor_format"}) {
        settings.find(key);
    }
    return result;
}

} // namespace detail

REPAINT_COLD bool is_diffusers(const checkpoint& file) {
    return detail::has_tensor(file, "conv_in.weight") && detail::has_tensor(file, "time_embedding.linear_1.weight");
}

REPAINT_COLD family_model read_diffusers(const checkpoint& file, const diffusers_settings& from) {
    if (!is_diffusers(file)) {
        throw format_error(
            joined_text({detail::tensors_of(file), " are not those of a diffusers UNet2DModel, which has "
                                                   "conv_in.weight and time_embedding.linear_1.weight"}));
    }
    if (from.network == nullptr && from.given == nullptr) {
        throw format_error(joined_text(
            {shown(file.path), ": a diffusers UNet2DModel needs its config.json beside the weights, there is none"}));
    }
    family_model result;
    auto& about = result.description;
    detail::settings_reader network;
    detail::settings_reader scheduler;
    // The given settings may hold keys of both files. A null among them does not hide a value of scheduler_config.json.
    if (from.given != nullptr) {
        for (const auto& [key, value] : from.given->as_object()) {
            const bool of_scheduler =
                key == "_class_name" && value.is_string() && value.as_string().ends_with("Scheduler");
            if (!of_scheduler) {
                network.add(key, value);
            }
            if (of_scheduler || (key != "_class_name" && !value.is_null())) {
                scheduler.add(key, value);
            }
        }
    }
    if (from.network != nullptr) {
        network.add_members_of(*from.network);
    }
    if (from.scheduler != nullptr) {
        scheduler.add_members_of(*from.scheduler);
    }
    detail::check_network_class(network);
    detail::check_block_kinds(network);
    const auto words = detail::diffusers_words(file);
    result.network = detail::infer_blocks(file, words);
    detail::read_diffusers_network(network, file, words, result.network, about);

    if (from.scheduler == nullptr && !scheduler.has("beta_schedule") && !scheduler.has("num_train_timesteps")) {
        about.remarks.emplace_back("no scheduler_config.json: linear betas from 1e-4 to 0.02 in 1000 steps and epsilon "
                                   "prediction are assumed");
    }
    result.diffusion = detail::read_diffusers_scheduler(scheduler, result.network, about);
    detail::remark_channels(result.network, about.remarks);
    detail::remark_unknown({&network, &scheduler}, about.remarks);
    result.names = detail::names_of_blocks(file, result.network, words);
    about.family = "diffusers UNet2DModel";
    return result;
}

} // namespace repaint
