#pragma once

#include <algorithm>
#include <cstddef>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <repaint/config.hpp>
#include <repaint/core/text.hpp>
#include <repaint/diffusion/process.hpp>
#include <repaint/error.hpp>
#include <repaint/io/json.hpp>
#include <repaint/io/stored_tensor.hpp>
#include <repaint/model/checkpoint_names.hpp>
#include <repaint/model/common_settings.hpp>
#include <repaint/model/guided_diffusion.hpp>
#include <repaint/model/model_description.hpp>
#include <repaint/model/published.hpp>
#include <repaint/model/unet_config.hpp>

namespace repaint {

namespace detail {

/// The architecture as far as names and shapes tell it. Throws format_error, naming the tensor, when names and shapes
/// do not describe a guided-diffusion U-Net.
inline unet_config infer_guided_diffusion_network(const checkpoint& file) {
    const auto block = [](const char* side, int index) { return joined_text({std::string(side), ".", index}); };
    unet_config config;
    config.in_channels = required_shape(file, "input_blocks.0.0.weight", 4)[1];
    config.model_channels = required_shape(file, "time_embed.0.weight", 2)[1];
    config.out_channels = required_shape(file, "out.2.weight", 4)[0];
    if (has_tensor(file, "label_emb.weight")) {
        config.classes = required_shape(file, "label_emb.weight", 2)[0];
    }

    // The first output block that ends in an upsampling is the last of the deepest level: res_blocks + 1 of them a
    // level.
    const int outputs = count_blocks(file, "output_blocks");
    config.res_blocks = outputs - 1;
    for (int i = 0; i < outputs; ++i) {
        const bool upsamples = [&] {
            for (const char* child : {".1", ".2"}) {
                const std::string name = block("output_blocks", i) + child;
                if (has_tensor(file, joined_text({name, ".conv.weight"})) ||
                    has_tensor(file, joined_text({name, ".in_layers.0.weight"}))) {
                    return true;
                }
            }
            return false;
        }();
        if (upsamples) {
            config.res_blocks = i;
            break;
        }
    }
    if (config.res_blocks < 1 || outputs % (config.res_blocks + 1) != 0) {
        throw format_error(joined_text({shown(file.path), ": its ", outputs,
                                        " output_blocks do not divide into levels of a guided-diffusion U-Net"}));
    }
    const int levels = outputs / (config.res_blocks + 1);
    if (levels > most_levels) {
        throw format_error(joined_text(
            {shown(file.path), ": a U-Net of ", levels, " levels was found, at most ", most_levels, " are accepted"}));
    }
    for (int level = 0; level < levels; ++level) {
        const std::string name = block("input_blocks", 1 + level * (config.res_blocks + 1));
        const int channels = required_shape(file, joined_text({name, ".0.in_layers.2.weight"}), 4)[0];
        if (channels % config.norm_groups != 0) {
            throw format_error(
                joined_text({shown(file.path), ": ", name, " has ", channels,
                             " channels, a guided-diffusion U-Net normalises in groups of ", config.norm_groups}));
        }
        config.levels.push_back({channels, has_tensor(file, joined_text({name, ".1.qkv.weight"}))});
    }
    config.resblock_updown =
        levels > 1 && !has_tensor(file, joined_text({block("input_blocks", config.res_blocks + 1), ".0.op.weight"}));
    const int embedded = required_shape(file, "input_blocks.1.0.emb_layers.1.weight", 2)[0];
    config.scale_shift_norm = embedded == 2 * config.levels.front().channels;
    return config;
}

REPAINT_COLD official_settings::official_settings(const json_value* root) : given_(root != nullptr) {
    if (root == nullptr) {
        return;
    }
    // Some files keep the arguments of create_model and create_gaussian_diffusion apart.
    for (const auto& [key, value] : root->as_object()) {
        if ((key == "model" || key == "diffusion") && value.is_object()) {
            add_members_of(value);
        } else {
            add(key, value);
        }
    }
}

REPAINT_COLD std::vector<int> listed_resolutions(const std::vector<double>& resolutions, int image_size,
                                                 const unet_config& config) {
    std::vector<int> sides;
    for (std::size_t level = 0; level < config.levels.size(); ++level) {
        const int factor = 1 << level;
        const bool listed = std::any_of(resolutions.begin(), resolutions.end(), [&](double r) {
            return r >= 1.0 && image_size / static_cast<int>(std::min(r, 1e6)) == factor;
        });
        if (listed) {
            sides.push_back(image_size / factor);
        }
    }
    return sides;
}

REPAINT_COLD std::vector<int> attention_resolutions(int image_size, const unet_config& config) {
    std::vector<int> sides;
    for (std::size_t level = 0; level < config.levels.size(); ++level) {
        if (config.levels[level].attention) {
            sides.push_back(image_size / (1 << level));
        }
    }
    return sides;
}

/// Throws format_error when a setting contradicts what the tensors showed.
inline void check_architecture(official_settings& settings, const unet_config& config) {
    settings.expect("num_channels", settings.integer("num_channels"), config.model_channels);
    settings.expect("num_res_blocks", settings.integer("num_res_blocks"), config.res_blocks);
    if (config.levels.size() > 1) {
        settings.expect("resblock_updown", settings.boolean("resblock_updown"), config.resblock_updown);
    } else {
        settings.boolean("resblock_updown");
    }
    settings.expect("use_scale_shift_norm", settings.boolean("use_scale_shift_norm"), config.scale_shift_norm);
    settings.expect("class_cond", settings.boolean("class_cond"), config.classes > 0);
    settings.expect("learn_sigma", settings.boolean("learn_sigma"), config.out_channels == 2 * config.in_channels);
    if (config.classes > 0) {
        settings.expect("num_classes", settings.integer("num_classes"), config.classes);
    } else {
        settings.find("num_classes");
    }
    if (const auto mult = settings.numbers("channel_mult"); mult && !mult->empty()) {
        std::vector<int> said;
        std::vector<int> found;
        for (const double m : *mult) {
            said.push_back(static_cast<int>(std::clamp(m * config.model_channels, -1e9, 1e9)));
        }
        for (const auto& level : config.levels) {
            found.push_back(level.channels);
        }
        if (said != found) {
            settings.expect("channel_mult times num_channels", std::optional(said), found);
        }
    }
    const auto image_size = settings.integer("image_size", 1, 65535);
    const auto resolutions = settings.numbers("attention_resolutions");
    if (resolutions && image_size) {
        settings.expect("attention_resolutions", std::optional(listed_resolutions(*resolutions, *image_size, config)),
                        attention_resolutions(*image_size, config));
    }
}

/// Sets heads and the order of their weights: from the settings, else from the published network of this architecture,
/// else the official defaults.
inline void read_attention(official_settings& settings, unet_config& config, std::vector<std::string>& remarks) {
    const auto heads = settings.integer("num_heads");
    const auto head_channels = settings.integer("num_head_channels");
    const auto heads_up = settings.integer("num_heads_upsample");
    const auto grouped = settings.boolean("use_new_attention_order");
    const published_network* published = find_published(config);
    if (heads || head_channels) {
        config.heads = heads.value_or(4);
        config.head_channels = head_channels.value_or(-1) == -1 ? 0 : *head_channels;
        if (config.heads < 1) {
            settings.refuse("num_heads", std::to_string(config.heads), "1 or more");
        }
        if (config.head_channels < 0) {
            settings.refuse("num_head_channels", std::to_string(config.head_channels), "-1 or a positive width");
        }
    } else if (published != nullptr) {
        config.heads = published->heads;
        config.head_channels = published->head_channels;
        remarks.push_back(
            joined_text({std::string("attention heads as in the published "), published->name, " network"}));
    } else {
        remarks.emplace_back("num_heads 4 is assumed; tensors do not tell the heads, a JSON does (--config)");
    }
    if (heads_up && *heads_up != -1) {
        if (*heads_up < 1) {
            settings.refuse("num_heads_upsample", std::to_string(*heads_up), "-1 or 1 and more");
        }
        config.heads_up = *heads_up;
    }
    if (grouped) {
        config.order = *grouped ? qkv_order::grouped : qkv_order::per_head;
    } else if (published != nullptr) {
        config.order = published->order;
    } else if (!settings.given()) {
        remarks.emplace_back("use_new_attention_order false is assumed; tensors do not tell the order of q, k and v");
    }
}

/// The setting prediction_type, in the words of guided-diffusion or of diffusers; without it, what predict_xstart says.
inline prediction_type official_prediction(official_settings& settings) {
    const bool x0 = settings.boolean("predict_xstart").value_or(false);
    return settings
        .choice<prediction_type>("prediction_type", {{"epsilon", prediction_type::epsilon},
                                                     {"x_0", prediction_type::x_0},
                                                     {"velocity", prediction_type::velocity},
                                                     {"previous_x", prediction_type::previous_x},
                                                     {"sample", prediction_type::x_0},
                                                     {"v_prediction", prediction_type::velocity}})
        .value_or(x0 ? prediction_type::x_0 : prediction_type::epsilon);
}

/// The setting variance_type; without it, what the network's channels and sigma_small say. Throws format_error when the
/// setting does not fit the network's channels.
inline variance_type official_variance(official_settings& settings, const unet_config& network,
                                       std::vector<std::string>& remarks) {
    const bool small = settings.boolean("sigma_small").value_or(false);
    const bool learned = network.out_channels == 2 * network.in_channels;
    const auto fixed = small ? variance_type::fixed_small : variance_type::fixed_large;
    const auto said = settings.choice<variance_type>("variance_type", {{"learned_range", variance_type::learned_range},
                                                                       {"learned", variance_type::learned},
                                                                       {"fixed_small", variance_type::fixed_small},
                                                                       {"fixed_large", variance_type::fixed_large}});
    if (said && learned && !is_learned(*said)) {
        settings.refuse("variance_type", "learned_range or learned, as the network has channels for a variance");
    }
    return checked_variance(settings, said.value_or(learned ? variance_type::learned_range : fixed),
                            variance_type::learned_range, network, remarks);
}

/// The training schedule. `summary` becomes its name for people.
inline noise_schedule official_schedule(official_settings& settings, std::string& summary) {
    const auto legacy_steps = settings.integer("steps", 1, most_diffusion_steps);
    const int steps =
        settings.integer("diffusion_steps", 1, most_diffusion_steps).value_or(legacy_steps.value_or(1000));
    const auto name = settings.string("noise_schedule").value_or("linear");
    if (const auto betas = settings.numbers("betas")) {
        summary = "given betas";
        return tabulated(settings, "betas", [&] { return noise_schedule(*betas); });
    }
    summary = name;
    const char* counted = settings.has("diffusion_steps") ? "diffusion_steps" : "steps";
    if (name == "linear") { // too few steps make a beta above 1
        return tabulated(settings, counted, [steps] { return noise_schedule::linear(steps); });
    }
    if (name == "cosine") {
        return tabulated(settings, counted, [steps] { return noise_schedule::cosine(steps); });
    }
    if (name == "scaled_linear") {
        beta_schedule betas{.kind = beta_kind::scaled_linear, .steps = steps, .start = 0.00085, .end = 0.012};
        read_beta_ends(settings, betas);
        return tabulated(settings, "noise_schedule", [&betas] { return noise_schedule(betas); });
    }
    settings.refuse("noise_schedule", printable(name), "linear, cosine, scaled_linear, or an array under betas");
}

inline diffusion_settings read_diffusion(official_settings& settings, const unet_config& network,
                                         model_description& about) {
    diffusion_settings result;
    result.reading.prediction = official_prediction(settings);
    result.reading.variance = official_variance(settings, network, about.remarks);
    result.reading.clip = settings.boolean("clip_denoised").value_or(true);
    result.data_range = read_data_range(settings);
    result.training = official_schedule(settings, about.schedule);
    about.schedule += joined_text({", ", result.training.size(), " steps"});
    if (settings.boolean("rescale_timesteps").value_or(false)) {
        result.timestep_scale = 1000.0 / result.training.size();
    }
    return result;
}

} // namespace detail

REPAINT_COLD bool is_guided_diffusion(const checkpoint& file) {
    return detail::has_tensor(file, "input_blocks.0.0.weight") && detail::has_tensor(file, "time_embed.0.weight");
}

REPAINT_COLD family_model read_guided_diffusion(const checkpoint& file, const json_value* settings) {
    if (!is_guided_diffusion(file)) {
        throw format_error(joined_text(
            {shown(file.path), ": not a guided-diffusion U-Net, there is no tensor ",
             (detail::has_tensor(file, "input_blocks.0.0.weight") ? "time_embed.0.weight" : "input_blocks.0.0.weight"),
             " among its ", file.tensors.size(),
             (file.tensors.empty() ? ""
                                   : joined_text({" (the first is ", printable(file.tensors.begin()->first), ")"}))}));
    }
    if (!detail::has_tensor(file, "output_blocks.0.0.in_layers.0.weight")) {
        throw format_error(
            joined_text({shown(file.path),
                         ": there are input_blocks but no output_blocks, as in a classifier; a U-Net is needed"}));
    }
    family_model result;
    auto& remarks = result.description.remarks;
    result.network = detail::infer_guided_diffusion_network(file);
    detail::official_settings given(settings);
    detail::check_architecture(given, result.network);
    detail::read_attention(given, result.network, remarks);
    if (result.network.out_channels != result.network.in_channels &&
        result.network.out_channels != 2 * result.network.in_channels) {
        throw format_error(joined_text({shown(file.path), ": the network returns ", result.network.out_channels,
                                        " channels for images of ", result.network.in_channels,
                                        ", expected as many or twice as many"}));
    }
    result.diffusion = detail::read_diffusion(given, result.network, result.description);

    const auto* published = detail::find_published(result.network);
    result.description.image_size =
        given.integer("image_size").value_or(published == nullptr ? 0 : published->image_size);
    if (!given.given()) {
        remarks.emplace_back("no JSON was given: epsilon prediction and the linear schedule of 1000 steps are assumed");
    }
    // Settings of training or of a run: they change nothing here.
    for (const char* key : {"dropout", "use_checkpoint", "use_fp16", "use_kl", "rescale_learned_sigmas", "dims",
                            "conv_resample", "timestep_respacing", "in_channels", "out_channels"}) {
        given.find(key);
    }
    detail::remark_unknown({&given}, remarks);
    result.description.family = "guided-diffusion U-Net";
    return result;
}

} // namespace repaint
