#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <repaint/error.hpp>
#include <repaint/io/json.hpp>
#include <repaint/io/stored_tensor.hpp>
#include <repaint/model/diffusion_model.hpp>
#include <repaint/model/unet_config.hpp>

/// The guided-diffusion family of checkpoints (OpenAI's, RePaint's, and everything trained with that code): the
/// architecture is read off names and shapes, the rest comes from a JSON with that code's own keys and defaults.
namespace repaint {

/// What a checkpoint and its JSON say about a model.
struct guided_diffusion_model {
    unet_config network;
    diffusion_settings diffusion;
    model_description description;
};

namespace detail {

/// The shape of a tensor that must be there. Throws format_error when it is not, or not of that rank.
inline std::vector<int> required_shape(const checkpoint& file, const std::string& name, std::size_t rank) {
    const auto found = file.tensors.find(name);
    if (found == file.tensors.end()) {
        throw format_error(file.path.string() + ": a guided-diffusion U-Net needs a tensor " + name +
                           ", the file has none");
    }
    const auto& shape = found->second.shape;
    if (shape.size() != rank) {
        throw format_error(file.path.string() + ": the tensor " + name + " has " + std::to_string(shape.size()) +
                           " dimensions, expected " + std::to_string(rank));
    }
    std::vector<int> result;
    for (const std::int64_t extent : shape) {
        if (extent < 1 || extent > 1 << 20) {
            throw format_error(file.path.string() + ": the tensor " + name + " has an extent of " +
                               std::to_string(extent) + ", accepted are 1 to 1048576");
        }
        result.push_back(static_cast<int>(extent));
    }
    return result;
}

inline bool has_tensor(const checkpoint& file, const std::string& name) { return file.tensors.contains(name); }

/// Number of blocks called prefix.0, prefix.1, ..., judged by a residual block's or a convolution's first weight.
inline int count_blocks(const checkpoint& file, const std::string& prefix) {
    int count = 0;
    while (true) {
        const std::string start = prefix + "." + std::to_string(count) + ".";
        const auto first = file.tensors.lower_bound(start);
        if (first == file.tensors.end() || !first->first.starts_with(start)) {
            return count;
        }
        ++count;
    }
}

/// Everything about the architecture that names and shapes tell. Throws format_error, naming the tensor, when they do
/// not describe a guided-diffusion U-Net.
inline unet_config infer_guided_diffusion_network(const checkpoint& file) {
    const auto block = [](const char* side, int index) { return std::string(side) + "." + std::to_string(index); };
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
                if (has_tensor(file, name + ".conv.weight") || has_tensor(file, name + ".in_layers.0.weight")) {
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
        throw format_error(file.path.string() + ": its " + std::to_string(outputs) +
                           " output_blocks do not divide into levels of a guided-diffusion U-Net");
    }
    const int levels = outputs / (config.res_blocks + 1);
    if (levels > 12) {
        throw format_error(file.path.string() + ": a U-Net of " + std::to_string(levels) +
                           " levels was found, at most 12 are accepted");
    }
    for (int level = 0; level < levels; ++level) {
        const std::string name = block("input_blocks", 1 + level * (config.res_blocks + 1));
        const int channels = required_shape(file, name + ".0.in_layers.2.weight", 4)[0];
        if (channels % config.norm_groups != 0) {
            throw format_error(file.path.string() + ": " + name + " has " + std::to_string(channels) +
                               " channels, a guided-diffusion U-Net normalises in groups of " +
                               std::to_string(config.norm_groups));
        }
        config.levels.push_back({channels, has_tensor(file, name + ".1.qkv.weight")});
    }
    config.resblock_updown =
        levels > 1 && !has_tensor(file, block("input_blocks", config.res_blocks + 1) + ".0.op.weight");
    const int embedded = required_shape(file, "input_blocks.1.0.emb_layers.1.weight", 2)[0];
    config.scale_shift_norm = embedded == 2 * config.levels.front().channels;
    return config;
}

/// A JSON object with guided-diffusion's keys. Remembers which were asked for, so that the others can be named.
class official_settings {
public:
    explicit official_settings(const json_value* root) : root_(root) {
        if (root == nullptr) {
            return;
        }
        // Some files keep the arguments of create_model and create_gaussian_diffusion apart.
        for (const auto& [key, value] : root->as_object()) {
            if ((key == "model" || key == "diffusion") && value.is_object()) {
                for (const auto& [inner, setting] : value.as_object()) {
                    values_.emplace_back(inner, &setting);
                }
            } else {
                values_.emplace_back(key, &value);
            }
        }
    }

    [[nodiscard]] bool given() const { return root_ != nullptr; }

    /// The setting under the key; null when it is not there or null.
    const json_value* find(std::string_view key) {
        known_.insert(std::string(key));
        for (const auto& [name, value] : values_) {
            if (name == key && !value->is_null()) {
                return value;
            }
        }
        return nullptr;
    }

    std::optional<int> integer(std::string_view key) {
        return read<int>(key, "an integer", [](const json_value& v) {
            const std::int64_t number = v.as_integer();
            if (number < -1'000'000'000 || number > 1'000'000'000) {
                throw format_error("out of range");
            }
            return static_cast<int>(number);
        });
    }
    std::optional<bool> boolean(std::string_view key) {
        return read<bool>(key, "true or false", [](const json_value& v) { return v.as_boolean(); });
    }
    std::optional<std::string> string(std::string_view key) {
        return read<std::string>(key, "a string", [](const json_value& v) { return v.as_string(); });
    }

    /// "1,2,2" or [1, 2, 2]; an empty string is as good as nothing.
    std::optional<std::vector<double>> numbers(std::string_view key) {
        return read<std::vector<double>>(key, "numbers, as \"1,2,2\" or [1, 2, 2]", [](const json_value& v) {
            std::vector<double> result;
            if (v.is_array()) {
                for (const json_value& item : v.as_array()) {
                    result.push_back(item.as_number());
                }
            } else if (v.is_number()) {
                result.push_back(v.as_number());
            } else {
                result = numbers_of(v.as_string());
            }
            if (!std::all_of(result.begin(), result.end(), [](double number) { return std::isfinite(number); })) {
                throw format_error("not finite");
            }
            return result;
        });
    }

    /// Throws format_error: "<file>: <key> is <...>, accepted are <...>".
    [[noreturn]] void refuse(std::string_view key, const std::string& found, const std::string& accepted) const {
        throw format_error(root_->place() + std::string(key) + " is " + found + ", accepted: " + accepted);
    }

    /// Throws format_error when a setting contradicts what the tensors say.
    template <class T> void expect(std::string_view key, const std::optional<T>& said, const T& found) const {
        if (said && *said != found) {
            throw format_error(root_->place() + std::string(key) + " is " + text(*said) +
                               ", but the checkpoint's tensors are those of a network with " + text(found));
        }
    }

    /// Keys nobody asked for.
    [[nodiscard]] std::vector<std::string> unknown() const {
        std::vector<std::string> result;
        for (const auto& [name, value] : values_) {
            if (!known_.contains(name)) {
                result.push_back(name);
            }
        }
        return result;
    }

private:
    static std::vector<double> numbers_of(const std::string& list) {
        std::vector<double> result;
        for (std::size_t at = 0; at < list.size();) {
            const std::size_t comma = std::min(list.find(',', at), list.size());
            const std::string part = list.substr(at, comma - at);
            std::size_t used = 0;
            result.push_back(std::stod(part, &used));
            if (part.find_first_not_of(' ', used) != std::string::npos) {
                throw format_error("trailing characters");
            }
            at = comma + 1;
        }
        return result;
    }

    static std::string text(bool b) { return b ? "true" : "false"; }
    static std::string text(int i) { return std::to_string(i); }
    static std::string text(const std::vector<int>& list) {
        std::string result;
        for (const int i : list) {
            result += result.empty() ? "" : ",";
            result += std::to_string(i);
        }
        return result.empty() ? "none" : result;
    }

    template <class T, class F> std::optional<T> read(std::string_view key, const char* accepted, F convert) {
        const json_value* value = find(key);
        if (value == nullptr) {
            return std::nullopt;
        }
        try {
            return convert(*value);
        } catch (const std::exception&) {
            throw format_error(value->place() + std::string(key) + " must be " + accepted);
        }
    }

    const json_value* root_;
    std::vector<std::pair<std::string, const json_value*>> values_;
    std::set<std::string> known_;
};

/// Published networks whose attention settings the file does not hold (openai/guided-diffusion's README; RePaint's
/// configurations for 256x256).
struct published_network {
    const char* name;
    int image_size;
    int model_channels;
    int res_blocks;
    std::array<int, 7> channels; // zeros at the end
    int heads;
    int head_channels;
    qkv_order order;
};

inline constexpr std::array published_networks{
    published_network{"512x512", 512, 256, 2, {128, 256, 256, 512, 512, 1024, 1024}, 4, 64, qkv_order::per_head},
    published_network{"256x256", 256, 256, 2, {256, 256, 512, 512, 1024, 1024, 0}, 4, 64, qkv_order::per_head},
    published_network{"128x128", 128, 256, 2, {256, 256, 512, 768, 1024, 0, 0}, 4, 0, qkv_order::per_head},
    published_network{"64x64", 64, 192, 3, {192, 384, 576, 768, 0, 0, 0}, 4, 64, qkv_order::grouped}};

inline const published_network* find_published(const unet_config& config) {
    for (const auto& candidate : published_networks) {
        std::array<int, 7> channels{};
        for (std::size_t i = 0; i < std::min(config.levels.size(), channels.size()); ++i) {
            channels[i] = config.levels[i].channels;
        }
        if (config.levels.size() <= channels.size() && channels == candidate.channels &&
            config.model_channels == candidate.model_channels && config.res_blocks == candidate.res_blocks &&
            config.resblock_updown && config.scale_shift_norm) {
            return &candidate;
        }
    }
    return nullptr;
}

/// Checks every architecture key that is given against what the tensors said.
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
    const auto image_size = settings.integer("image_size");
    if (image_size && (*image_size < 1 || *image_size > 65535)) {
        settings.refuse("image_size", std::to_string(*image_size), "1 to 65535");
    }
    const auto resolutions = settings.numbers("attention_resolutions");
    if (resolutions && image_size) {
        std::vector<int> said;
        std::vector<int> found;
        for (std::size_t level = 0; level < config.levels.size(); ++level) {
            const int factor = 1 << level;
            const bool listed = std::any_of(resolutions->begin(), resolutions->end(), [&](double r) {
                return r >= 1.0 && *image_size / static_cast<int>(std::min(r, 1e6)) == factor;
            });
            if (listed) {
                said.push_back(*image_size / factor);
            }
            if (config.levels[level].attention) {
                found.push_back(*image_size / factor);
            }
        }
        settings.expect("attention_resolutions", std::optional(said), found);
    }
}

/// Heads and their order: from the settings, else from the published network of this shape, else the official defaults.
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
        remarks.push_back(std::string("attention heads as in the published ") + published->name + " network");
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

inline prediction_type prediction_from(official_settings& settings) {
    const bool x0 = settings.boolean("predict_xstart").value_or(false);
    const auto name = settings.string("prediction_type");
    if (!name) {
        return x0 ? prediction_type::x_0 : prediction_type::epsilon;
    }
    if (*name == "epsilon") {
        return prediction_type::epsilon;
    }
    if (*name == "x_0" || *name == "sample") {
        return prediction_type::x_0;
    }
    if (*name == "previous_x") {
        return prediction_type::previous_x;
    }
    settings.refuse("prediction_type", *name, "epsilon, x_0, previous_x");
}

inline variance_type variance_from(official_settings& settings, bool learned) {
    const bool small = settings.boolean("sigma_small").value_or(false);
    const auto name = settings.string("variance_type");
    if (!name) {
        return learned ? variance_type::learned_range
                       : (small ? variance_type::fixed_small : variance_type::fixed_large);
    }
    constexpr std::array<std::pair<const char*, variance_type>, 4> names{
        {{"learned_range", variance_type::learned_range},
         {"learned", variance_type::learned},
         {"fixed_small", variance_type::fixed_small},
         {"fixed_large", variance_type::fixed_large}}};
    for (const auto& [text, type] : names) {
        if (*name == text) {
            if (is_learned(type) != learned) {
                settings.refuse("variance_type", *name,
                                learned ? "learned_range or learned, as the network has channels for a variance"
                                        : "fixed_small or fixed_large, as the network has no channels for a variance");
            }
            return type;
        }
    }
    settings.refuse("variance_type", *name, "learned_range, learned, fixed_small, fixed_large");
}

inline diffusion_settings read_diffusion(official_settings& settings, const unet_config& config, std::string& summary) {
    diffusion_settings result;
    result.prediction = prediction_from(settings);
    result.variance = variance_from(settings, config.out_channels == 2 * config.in_channels);
    result.clip = settings.boolean("clip_denoised").value_or(true);
    const auto legacy_steps = settings.integer("steps");
    const int steps = settings.integer("diffusion_steps").value_or(legacy_steps.value_or(1000));
    const auto betas = settings.numbers("betas");
    if (steps < 1 || steps > 1'000'000) {
        settings.refuse("diffusion_steps", std::to_string(steps), "1 to 1000000");
    }
    const std::string schedule = settings.string("noise_schedule").value_or("linear");
    const auto bound = [&](const char* key, double fallback) {
        const auto value = settings.numbers(key);
        return value && value->size() == 1 ? value->front() : fallback;
    };
    if (betas) {
        result.training = noise_schedule(*betas);
        summary = "given betas";
    } else if (schedule == "linear") {
        result.training = noise_schedule::linear(steps);
        summary = schedule;
    } else if (schedule == "cosine") {
        result.training = noise_schedule::cosine(steps);
        summary = schedule;
    } else if (schedule == "scaled_linear") {
        result.training = noise_schedule::scaled_linear(steps, bound("beta_start", 0.00085), bound("beta_end", 0.012));
        summary = schedule;
    } else {
        settings.refuse("noise_schedule", schedule, "linear, cosine, scaled_linear, or an array under betas");
    }
    summary += ", " + std::to_string(result.training.size()) + " steps";
    if (settings.boolean("rescale_timesteps").value_or(false)) {
        result.timestep_scale = 1000.0 / result.training.size();
    }
    return result;
}

} // namespace detail

/// True when the names are those of a guided-diffusion U-Net.
inline bool is_guided_diffusion(const checkpoint& file) {
    return detail::has_tensor(file, "input_blocks.0.0.weight") && detail::has_tensor(file, "time_embed.0.weight");
}

/// Reads the model off a checkpoint and an optional JSON (`settings`, may be null). Throws format_error when the file
/// is no such network, when a setting contradicts it, or when a setting's value is not accepted.
inline guided_diffusion_model read_guided_diffusion(const checkpoint& file, const json_value* settings) {
    if (!is_guided_diffusion(file)) {
        throw format_error(
            file.path.string() + ": not a guided-diffusion U-Net, there is no tensor " +
            (detail::has_tensor(file, "input_blocks.0.0.weight") ? "time_embed.0.weight" : "input_blocks.0.0.weight") +
            " among its " + std::to_string(file.tensors.size()) +
            (file.tensors.empty() ? "" : " (the first is " + file.tensors.begin()->first + ")"));
    }
    if (!detail::has_tensor(file, "output_blocks.0.0.in_layers.0.weight")) {
        throw format_error(file.path.string() +
                           ": there are input_blocks but no output_blocks, as in a classifier; a U-Net is needed");
    }
    guided_diffusion_model result;
    auto& remarks = result.description.remarks;
    result.network = detail::infer_guided_diffusion_network(file);
    detail::official_settings given(settings);
    detail::check_architecture(given, result.network);
    detail::read_attention(given, result.network, remarks);
    if (result.network.out_channels != result.network.in_channels &&
        result.network.out_channels != 2 * result.network.in_channels) {
        throw format_error(file.path.string() + ": the network returns " + std::to_string(result.network.out_channels) +
                           " channels for images of " + std::to_string(result.network.in_channels) +
                           ", expected as many or twice as many");
    }
    result.diffusion = detail::read_diffusion(given, result.network, result.description.schedule);

    const auto* published = detail::find_published(result.network);
    result.description.image_size =
        given.integer("image_size").value_or(published == nullptr ? 0 : published->image_size);
    if (!given.given()) {
        remarks.emplace_back("no JSON was given: epsilon prediction and the linear schedule of 1000 steps are assumed");
    }
    // Settings of training, or of a run, that change nothing here.
    for (const char* key : {"dropout", "use_checkpoint", "use_fp16", "use_kl", "rescale_learned_sigmas", "dims",
                            "conv_resample", "timestep_respacing", "in_channels", "out_channels"}) {
        given.find(key);
    }
    for (const auto& key : given.unknown()) {
        remarks.push_back("the setting " + key + " is not known here and was ignored");
    }
    result.description.family = "guided-diffusion U-Net";
    return result;
}

} // namespace repaint
