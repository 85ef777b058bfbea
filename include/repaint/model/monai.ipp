#pragma once

#include <algorithm>
#include <cstddef>
#include <initializer_list>
#include <numeric>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <repaint/config.hpp>
#include <repaint/core/text.hpp>
#include <repaint/diffusion/betas.hpp>
#include <repaint/error.hpp>
#include <repaint/io/json.hpp>
#include <repaint/io/stored_tensor.hpp>
#include <repaint/model/block_names.hpp>
#include <repaint/model/checkpoint_names.hpp>
#include <repaint/model/common_settings.hpp>
#include <repaint/model/monai.hpp>
#include <repaint/model/settings.hpp>
#include <repaint/model/unet_config.hpp>

namespace repaint {

namespace detail {

/// The program whose names a file has, which tells about the attention's output projection, too: generative_0_1 applies
/// it, generative_0_2 has its weights but never uses them, core applies it when the file has it.
enum class monai_release { generative_0_1, generative_0_2, core };

/// The program that wrote a file with these names.
inline const char* writer_of(monai_release release) {
    switch (release) {
    case monai_release::generative_0_1: return "GenerativeModels 0.1";
    case monai_release::generative_0_2: return "GenerativeModels 0.2";
    case monai_release::core: return "MONAI";
    }
    return "";
}

inline monai_release monai_release_of(const checkpoint& file) {
    if (has_prefix(file, "middle_block.attention.attn.")) {
        return monai_release::core;
    }
    return has_prefix(file, "middle_block.attention.query.") ? monai_release::generative_0_1
                                                             : monai_release::generative_0_2;
}

inline block_words monai_words(const checkpoint& file, monai_release release) {
    block_words words;
    words.family = "MONAI DiffusionModelUNet";
    words.first = "conv_in.conv";
    words.time_first = "time_embed.0";
    words.time_second = "time_embed.2";
    words.conv1 = ".conv1.conv";
    words.conv2 = ".conv2.conv";
    words.shortcut = ".skip_connection.conv";
    words.attention_norm = ".norm";
    switch (release) {
    case monai_release::generative_0_1: words.qkv = {".query", ".key", ".value"}; break;
    case monai_release::generative_0_2: words.qkv = {".to_q", ".to_k", ".to_v"}; break;
    case monai_release::core:
        words.qkv = {".attn.to_q", ".attn.to_k", ".attn.to_v"};
        if (has_tensor(file, "middle_block.attention.attn.qkv.weight")) {
            words.qkv = {".attn.qkv"};
        }
        break;
    }
    words.projection = release == monai_release::core ? ".attn.out_proj" : ".proj_attn";
    words.down = ".downsampler";
    words.down_conv = ".op.conv";
    words.up = ".upsampler";
    words.up_conv = release == monai_release::core ? ".postconv.conv" : ".conv.conv";
    words.middle = {"middle_block.resnet_1", "middle_block.attention", "middle_block.resnet_2"};
    words.last_norm = "out.0";
    words.last = "out.2.conv";
    return words;
}

/// True when the value holds nothing that a bundle would have to evaluate.
inline bool is_literal(const json_value& v) {
    if (v.is_string()) {
        return v.as_string().find_first_of("$@%") != 0;
    }
    if (v.is_array()) {
        return std::all_of(v.as_array().begin(), v.as_array().end(), is_literal);
    }
    return !v.is_object() || v.find("_target_") == nullptr;
}

/// The first object under one of the keys that has no _target_, or one that ends with `target`; null when there is
/// none.
inline const json_value* bundle_part(const json_value& root, std::initializer_list<const char*> keys,
                                     std::string_view target) {
    for (const char* key : keys) {
        const json_value* part = root.find(key);
        if (part != nullptr && part->is_object()) {
            const json_value* named = part->find("_target_");
            if (named == nullptr || (named->is_string() && named->as_string().ends_with(target))) {
                return part;
            }
        }
    }
    return nullptr;
}

REPAINT_COLD const json_value* bundle_network(const json_value& root) {
    return bundle_part(root, {"network_def", "network", "diffusion_def", "unet", "model"}, "DiffusionModelUNet");
}

inline const json_value* bundle_scheduler(const json_value& root) {
    return bundle_part(root, {"scheduler", "noise_scheduler", "scheduler_def", "diffusion"}, "");
}

/// The class of a bundle's scheduler without its module; empty when the bundle names none.
inline std::string scheduler_class(const json_value& root) {
    const json_value* scheduler = bundle_scheduler(root);
    const json_value* target = scheduler == nullptr ? nullptr : scheduler->find("_target_");
    const std::string name = target != nullptr && target->is_string() ? target->as_string() : "";
    return name.substr(name.rfind('.') + 1);
}

/// The settings of a JSON: of a flat object, or of a bundle's network and scheduler and the keys of this library beside
/// them.
inline settings_reader monai_settings(const json_value* root, std::vector<std::string>& remarks) {
    settings_reader settings;
    if (root == nullptr) {
        return settings;
    }
    const auto add = [&](const std::string& key, const json_value& value) {
        if (is_literal(value)) {
            settings.add(key, value);
        } else if (!key.starts_with('_')) {
            remarks.push_back(joined_text({"the setting ", printable(key), " is no literal value and was not read"}));
        }
    };
    (void)root->as_object(); // throws format_error when the file holds something else
    const json_value* network = bundle_network(*root);
    const json_value* scheduler = bundle_scheduler(*root);
    const bool flat = network == nullptr;
    for (const auto& [key, value] : root->as_object()) {
        const bool ours = key == "data_range" || key == "output_projection" || key == "image_size";
        if (flat ? &value != scheduler : ours && is_literal(value)) {
            add(key, value);
        }
    }
    for (const json_value* part : {network, scheduler}) {
        if (part != nullptr) {
            for (const auto& [key, value] : part->as_object()) {
                add(key, value);
            }
        }
    }
    if (scheduler != nullptr) {
        if (const json_value* target = scheduler->find("_target_"); target != nullptr && target->is_string()) {
            const std::string& name = target->as_string();
            const bool known =
                name.ends_with("DDPMScheduler") || name.ends_with("DDIMScheduler") || name.ends_with("PNDMScheduler");
            if (!known) {
                throw format_error(joined_text({target->place(), "_target_ is ", in_quotes(name),
                                                ", accepted: DDPMScheduler, DDIMScheduler, PNDMScheduler"}));
            }
        }
    }
    return settings;
}

/// Throws format_error for what this network has but this library does not.
inline void check_monai_kind(const checkpoint& file) {
    const auto& first = file.tensors.at("conv_in.conv.weight").shape;
    if (first.size() == 3 || first.size() == 5) {
        throw format_error(joined_text(
            {shown(file.path), ": the network is one for spatial_dims ", first.size() - 2, ", accepted: 2"}));
    }
    for (const auto& [name, tensor] : file.tensors) {
        if (name.find(".transformer_blocks.") != std::string::npos) {
            throw format_error(
                joined_text({shown(file.path), ": the tensor ", printable(name),
                             " belongs to cross-attention (with_conditioning true), accepted are networks with "
                             "with_conditioning false"}));
        }
    }
}

/// Throws format_error: the setting under `key` has to be given, because the tensors do not tell it and the default of
/// the class does not fit. why: completes "the class's own".
[[noreturn]] inline void ask_for(const settings_reader& settings, const checkpoint& file, const char* key,
                                 const std::string& why, const std::string& accepted) {
    const std::string place = settings.place(key);
    throw format_error((place.empty() ? joined_text({shown(file.path), ": "}) : place) + key +
                       " is not given, the tensors do not tell it, and the class's own " + why +
                       ": give it in a JSON (--config, or beside the weights), accepted: " + accepted);
}

/// Sets the heads of every level from num_head_channels: the given channels, those of MONAI's tutorial for its network,
/// or the default of the class. Throws format_error when the default does not fit.
inline void read_monai_heads(settings_reader& settings, const checkpoint& file, unet_config& config,
                             std::vector<std::string>& remarks) {
    const std::size_t count = config.levels.size();
    const auto attends = [&](std::size_t i) {
        return config.levels[i].attention || config.levels[i].attention_up || i + 1 == count;
    };
    auto channels = settings.integers("num_head_channels", count);
    if (channels && channels->size() != count) {
        settings.refuse("num_head_channels", joined_text({"a number, or one for each of the ", count, " levels"}));
    }
    if (!channels) {
        const std::vector<int> tutorial{128, 256, 256};
        const bool published = count == 3 && config.res_blocks == 1 &&
                               std::equal(tutorial.begin(), tutorial.end(), config.levels.begin(),
                                          [](int c, const unet_level& level) { return c == level.channels; });
        constexpr int usual = 8;
        for (std::size_t i = 0; i < count && !published; ++i) {
            if (attends(i) && config.levels[i].channels % usual != 0) {
                ask_for(
                    settings, file, "num_head_channels",
                    joined_text({usual, " does not divide the ", config.levels[i].channels, " channels of level ", i}),
                    joined_text(
                        {"the channels of one attention head, or one number for each of the ", count, " levels"}));
            }
        }
        channels = std::vector<int>(count, published ? 256 : usual);
        remarks.emplace_back(published ? "num_head_channels is 256, as in MONAI's tutorial for this network"
                                       : "num_head_channels is not given: heads of 8 channels, as the class has it; "
                                         "tensors do not tell the heads, a JSON does (--config)");
    }
    for (std::size_t i = 0; i < count; ++i) {
        unet_level& level = config.levels[i];
        // As that class divides: a width that does not divide the channels gives fewer and wider heads.
        const int width = (*channels)[i];
        const int heads = !attends(i) ? 1 : (width < 1 ? 0 : level.channels / width);
        if (heads < 1 || level.channels % heads != 0) {
            settings.refuse("num_head_channels", std::to_string(width),
                            joined_text({"a width that divides the ", level.channels, " channels of level ", i}));
        }
        level.heads = attention_heads{heads, level.channels / heads};
    }
}

/// norm_num_groups: the given number or the default of the class. Throws format_error when it does not fit.
inline int monai_groups(settings_reader& settings, const checkpoint& file, const unet_config& config,
                        std::vector<std::string>& remarks) {
    if (const auto given = settings.integer("norm_num_groups")) {
        check_groups(settings, "norm_num_groups", *given, config);
        return *given;
    }
    int common = 0;
    for (const auto& level : config.levels) {
        common = std::gcd(common, level.channels);
    }
    if (common == 1) {
        return 1;
    }
    constexpr int usual = 32;
    if (common % usual != 0) {
        ask_for(settings, file, "norm_num_groups", "32 does not divide the channels of every level",
                joined_text({"a divisor of ", common}));
    }
    remarks.emplace_back("norm_num_groups is not given: 32, as the class has it; tensors do not tell it, a JSON does "
                         "(--config)");
    return usual;
}

/// True when attention ends in its linear layer, by the setting output_projection, else by include_fc, else by what the
/// release does.
inline bool monai_projection(settings_reader& settings, const checkpoint& file, const block_words& words,
                             monai_release release, std::vector<std::string>& remarks) {
    const bool there = has_tensor(file, joined_text({words.middle[1], words.projection, ".weight"}));
    enum class choice { apply, skip, from_file };
    const auto said = settings.choice<choice>(
        "output_projection", {{"apply", choice::apply}, {"skip", choice::skip}, {"auto", choice::from_file}});
    const auto fully_connected = settings.boolean("include_fc");
    if (said && *said != choice::from_file) {
        if (*said == choice::apply && !there) {
            settings.refuse("output_projection",
                            joined_text({"skip, auto, as the file has no ", words.middle[1], words.projection}));
        }
        return *said == choice::apply;
    }
    if (!there) {
        if (fully_connected.value_or(false)) {
            settings.refuse("include_fc",
                            joined_text({"false, as the file has no ", words.middle[1], words.projection}));
        }
        return false;
    }
    if (release == monai_release::core) {
        return fully_connected.value_or(true);
    }
    const bool applied = release == monai_release::generative_0_1;
    remarks.push_back(applied ? "proj_attn is applied, as in GenerativeModels 0.1, whose names the file has "
                                "(output_projection: skip to leave it out)"
                              : "proj_attn is not applied, as in GenerativeModels 0.2, whose names the file has "
                                "(output_projection: apply for the other)");
    return applied;
}

inline void read_monai_network(settings_reader& settings, const checkpoint& file, const block_words& words,
                               monai_release release, unet_config& config, model_description& about) {
    settings.integer("spatial_dims", 2, 2);
    settings.expect("in_channels", settings.integer("in_channels"), config.in_channels);
    settings.expect("out_channels", settings.integer("out_channels"), config.out_channels);
    const std::size_t count = config.levels.size();
    std::vector<int> channels;
    std::vector<int> blocks;
    std::vector<bool> attention;
    for (const auto& level : config.levels) {
        channels.push_back(level.channels);
        blocks.push_back(level.res_blocks);
        attention.push_back(level.attention);
    }
    for (const char* key : {"channels", "num_channels"}) {
        settings.expect(key, settings.integers(key), channels);
    }
    settings.expect("num_res_blocks", settings.integers("num_res_blocks", count), blocks);
    settings.expect("attention_levels", settings.booleans("attention_levels"), attention);
    if (count > 1) {
        settings.expect("resblock_updown", settings.boolean("resblock_updown"), config.levels.front().residual_down);
    } else {
        settings.boolean("resblock_updown");
    }
    if (settings.has("num_class_embeds")) {
        settings.expect("num_class_embeds", std::optional(settings.integer("num_class_embeds").value_or(0)),
                        config.classes);
    }
    if (settings.boolean("with_conditioning").value_or(false)) {
        settings.refuse("with_conditioning", "false: cross-attention is not supported");
    }
    if (settings.find("cross_attention_dim") != nullptr) {
        settings.refuse("cross_attention_dim", "null: cross-attention is not supported");
    }
    config.norm_groups = monai_groups(settings, file, config, about.remarks);
    config.norm_epsilon = read_epsilon(settings, "norm_eps", 1e-6);
    read_monai_heads(settings, file, config, about.remarks);
    config.attention_projection = monai_projection(settings, file, words, release, about.remarks);
    about.image_size = settings.integer("image_size", 1, 65535).value_or(0);
    // Settings that choose how a result is computed, or that have no effect without conditioning or after training.
    for (const char* key : {"transformer_num_layers", "upcast_attention", "use_flash_attention", "use_combined_linear",
                            "dropout_cattn"}) {
        settings.find(key);
    }
}

inline diffusion_settings read_monai_scheduler(settings_reader& settings, const unet_config& network,
                                               monai_release release, model_description& about) {
    diffusion_settings result;
    auto& remarks = about.remarks;
    beta_schedule betas;
    betas.steps = settings.integer("num_train_timesteps", 1, most_diffusion_steps).value_or(1000);
    const auto cosine = release == monai_release::core ? beta_kind::monai_cosine : beta_kind::monai_generative_cosine;
    const char* key = settings.find("schedule") == nullptr ? "beta_schedule" : "schedule"; // the latter since 0.2
    betas.kind = settings
                     .choice<beta_kind>(key, {{"linear_beta", beta_kind::linear},
                                              {"scaled_linear_beta", beta_kind::scaled_linear},
                                              {"sigmoid_beta", beta_kind::sigmoid},
                                              {"cosine", cosine},
                                              {"linear", beta_kind::linear},
                                              {"scaled_linear", beta_kind::scaled_linear}})
                     .value_or(beta_kind::linear);
    read_beta_ends(settings, betas);
    betas.sigmoid_range = settings.number("sig_range").value_or(6.0);
    betas.cosine_offset = settings.number("s").value_or(0.008);
    if (!(betas.sigmoid_range >= 1e-3 && betas.sigmoid_range <= 50.0)) {
        settings.refuse("sig_range", "0.001 to 50");
    }
    if (!(betas.cosine_offset >= 0.0 && betas.cosine_offset <= 1.0)) {
        settings.refuse("s", "0 to 1");
    }
    set_betas(result, betas, settings, key);
    about.schedule = joined_text({settings.string(key).value_or("linear_beta"), ", ", betas.steps, " steps"});
    result.reading.prediction = read_prediction(settings);
    const auto variance =
        settings.choice<variance_type>("variance_type", {{"fixed_small", variance_type::fixed_small},
                                                         {"fixed_large", variance_type::fixed_large},
                                                         {"learned", variance_type::learned_linear},
                                                         {"learned_range", variance_type::learned_range_linear}});
    result.reading.variance =
        checked_variance(settings, variance, variance_type::learned_range_linear, network, remarks);
    result.reading.clip = settings.boolean("clip_sample").value_or(true);
    const double low = settings.number("clip_sample_min").value_or(-1.0);
    const double high = settings.number("clip_sample_max").value_or(1.0);
    if (!(low >= -1e6 && low < high)) {
        settings.refuse("clip_sample_min", "a number below clip_sample_max, down to -1e6");
    }
    if (!(high <= 1e6)) {
        settings.refuse("clip_sample_max", "a number up to 1e6");
    }
    result.reading.limits = {static_cast<float>(low), static_cast<float>(high)};
    const bool range_given = settings.find("data_range") != nullptr;
    result.data_range = read_data_range(settings, {0.0F, 1.0F});
    if (!range_given) {
        remarks.emplace_back("pictures are scaled to [0, 1], as MONAI's tutorials do (data_range tells another)");
    }
    if (release != monai_release::core) {
        result.scheduler.spacing = timestep_spacing::leading;
    }
    result.scheduler.offset = settings.integer("steps_offset", 0, most_diffusion_steps).value_or(0);
    result.scheduler.ends_clean = settings.boolean("set_alpha_to_one").value_or(true);
    for (const char* name : {"skip_prk_steps", "eta"}) {
        if (settings.find(name) != nullptr) {
            remarks.push_back(joined_text({std::string(name), " is a setting of the sampler and was ignored"}));
        }
    }
    return result;
}

} // namespace detail

REPAINT_COLD bool is_monai(const checkpoint& file) {
    return detail::has_tensor(file, "conv_in.conv.weight") && detail::has_tensor(file, "time_embed.0.weight");
}

REPAINT_COLD family_model read_monai(const checkpoint& file, const json_value* settings) {
    if (!is_monai(file)) {
        throw format_error(
            joined_text({detail::tensors_of(file), " are not those of a MONAI DiffusionModelUNet, which has "
                                                   "conv_in.conv.weight and time_embed.0.weight"}));
    }
    detail::check_monai_kind(file);
    family_model result;
    auto& about = result.description;
    const auto release = detail::monai_release_of(file);
    const auto words = detail::monai_words(file, release);
    result.network = detail::infer_blocks(file, words);
    // This class always has a middle block with attention and its norm.
    for (const auto& name : {joined_text({words.middle[0], ".norm1"}), words.middle[1] + words.attention_norm}) {
        detail::required_shape(file, joined_text({name, ".weight"}), 1, words.family);
    }
    auto given = detail::monai_settings(settings, about.remarks);
    detail::read_monai_network(given, file, words, release, result.network, about);
    if (settings == nullptr) {
        about.remarks.push_back(joined_text(
            {std::string("no JSON was given: norm_eps 1e-6, "),
             (release == detail::monai_release::core && result.network.attention_projection ? "include_fc true, " : ""),
             "linear betas from 1e-4 to 0.02 in 1000 steps and epsilon prediction are assumed"}));
    }
    result.diffusion = detail::read_monai_scheduler(given, result.network, release, about);
    if (settings != nullptr) {
        const std::string scheduler = detail::scheduler_class(*settings);
        result.diffusion.scheduler.ddim = scheduler == "DDIMScheduler";
        if (scheduler == "PNDMScheduler") {
            about.remarks.emplace_back("the steps of a PNDMScheduler are not known here: the system monai makes those "
                                       "of DDPMScheduler, or with an eta of DDIMScheduler");
        }
    }
    detail::remark_channels(result.network, about.remarks);
    detail::remark_unknown({&given}, about.remarks);
    result.names = detail::names_of_blocks(file, result.network, words);
    about.family = std::string("MONAI DiffusionModelUNet, names of ") + detail::writer_of(release);
    return result;
}

} // namespace repaint
