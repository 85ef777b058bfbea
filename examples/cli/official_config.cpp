#include "official_config.hpp"

#include <algorithm>
#include <array>
#include <cstddef>
#include <map>
#include <set>
#include <stdexcept>
#include <system_error>
#include <utility>

#include <repaint/diffusion/timesteps.hpp>
#include <repaint/error.hpp>
#include <repaint/model/settings.hpp>

#include "yaml.hpp"

namespace cli {

namespace {

namespace fs = std::filesystem;
using repaint::format_error;
using repaint::in_quotes;
using repaint::json_value;
using repaint::detail::settings_reader;
using repaint::detail::settings_wording;

/// A path that a configuration gives, when it gives one.
std::optional<configured_path> path_of(settings_reader& s, const char* key) {
    auto given = s.text(key, "a path");
    if (!given) {
        return std::nullopt;
    }
    return configured_path{*given, s.name_of(key), s.place(key)};
}

/// Checks that a setting is "32,16,8", [32, 16, 8], 32 or ''.
void check_numbers(settings_reader& s, const char* key) {
    const json_value* const value = s.find(key);
    const bool fits =
        value == nullptr || value->is_number() ||
        (value->is_string() && value->as_string().find_first_not_of("0123456789., ") == std::string::npos) ||
        (value->is_array() && std::all_of(value->as_array().begin(), value->as_array().end(),
                                          [](const json_value& item) { return item.is_number(); }));
    if (!fits) {
        s.refuse(key, "numbers, as 32,16,8");
    }
}

/// A switch that must stay where all official configurations have it.
struct dead_switch {
    const char* key;
    bool must_be;
    const char* why;
};

constexpr std::array run_switches{
    dead_switch{"use_ddim", false, "and the official program has no DDIM sampler: it stops with an AttributeError"},
    dead_switch{"inpa_inj_sched_prev_cumnoise", false,
                "which calls a function that the official program does not have (get_gt_noised)"},
    dead_switch{"respace_interpolate", false,
                "which calls a function that the official program does not have (resample_betas)"},
    dead_switch{"rescale_timesteps", false, "for which the official program raises NotImplementedError"},
    dead_switch{"use_value_logger", false, "and the official program does not have that logger"},
};

constexpr std::array data_switches{
    dead_switch{"random_crop", false, "which does not work in the official program"},
    dead_switch{"random_flip", false, "which in the official program mirrors pictures by chance and is not done here"},
    dead_switch{"class_cond", false, "and the official program reads no labels from its data: use cond_y"},
    dead_switch{"return_dict", true, "which the official program cannot sample from"},
    dead_switch{"mask_loader", true, "and without masks there is nothing to inpaint"},
};

template <std::size_t N> void check_switches(settings_reader& s, const std::array<dead_switch, N>& switches) {
    for (const auto& one : switches) {
        const auto value = s.boolean(one.key);
        if (value && *value != one.must_be) {
            s.refuse_because(one.key, one.why, one.must_be ? "true" : "false");
        }
    }
}

constexpr std::array network_booleans{"class_cond",      "use_checkpoint",    "use_scale_shift_norm",
                                      "resblock_updown", "use_fp16",          "use_new_attention_order",
                                      "learn_sigma",     "sigma_small",       "use_kl",
                                      "predict_xstart",  "rescale_timesteps", "rescale_learned_sigmas",
                                      "clip_denoised"};
constexpr std::array network_counts{"num_channels", "num_res_blocks", "num_heads", "diffusion_steps"};
constexpr std::array network_widths{"num_head_channels", "num_heads_upsample"}; // or -1
constexpr std::array network_lists{"attention_resolutions", "channel_mult"};
constexpr std::array network_others{"image_size", "noise_schedule", "dropout"};
constexpr std::array classifier_booleans{"classifier_use_fp16", "classifier_use_scale_shift_norm",
                                         "classifier_resblock_updown"};
constexpr std::array classifier_counts{"classifier_width", "classifier_depth"};

/// What the official program reads and does nothing with, or what has no meaning here.
constexpr std::array ignored_by_all{"lr_kernel_n_std", "num_samples", "n_jobs", "print_estimated_vars",
                                    "latex_name",      "method_name", "name",   "debug",
                                    "n_sample"};

template <class... Lists> std::set<std::string> joined(const Lists&... lists) {
    std::set<std::string> keys;
    (keys.insert(lists.begin(), lists.end()), ...);
    return keys;
}

/// The keys of the network, of its diffusion and of its attention: types here, values where they meet the checkpoint.
void check_network(settings_reader& s) {
    for (const char* key : network_booleans) {
        s.boolean(key);
    }
    for (const char* key : network_counts) {
        s.integer(key, 1);
    }
    for (const char* key : network_widths) {
        s.integer(key, -1);
    }
    for (const char* key : network_lists) {
        check_numbers(s, key);
    }
    s.text("noise_schedule", "linear");
    s.number("dropout");
}

/// What the official notation "250", 250 or [10, 15, 20] says; all timesteps when there is nothing.
std::string respacing_of(settings_reader& s) {
    const json_value* const value = s.find("timestep_respacing");
    const auto whole = [](const json_value& item) {
        return item.is_integer() && item.as_number() >= 1.0 && item.as_number() <= 1e9;
    };
    if (value == nullptr) {
        return {};
    }
    if (value->is_string()) {
        return value->as_string();
    }
    if (whole(*value)) {
        return std::to_string(value->as_integer());
    }
    if (!value->is_array() || !std::all_of(value->as_array().begin(), value->as_array().end(), whole)) {
        s.refuse("timestep_respacing", "a count as '250', counts by section as '10,15,20', or 'ddim25'");
    }
    std::string list;
    for (const json_value& item : value->as_array()) {
        if (!list.empty()) {
            list += ',';
        }
        list += std::to_string(item.as_integer());
    }
    return list;
}

/// schedule_jump_params: t_T must be the number of timesteps, which the official program does not check.
repaint::jump_options jumps_of(settings_reader& s, const std::string& respacing) {
    const char* const accepted = "a mapping with t_T, n_sample, jump_length and jump_n_sample";
    if (s.find("schedule_jump_params") == nullptr) {
        s.missing("schedule_jump_params", accepted, "without which the official program has no steps to make");
    }
    settings_reader params = s.part("schedule_jump_params");
    const auto required = [&](const char* key) {
        const auto value = params.integer(key, 1);
        if (!value) {
            params.missing(key, "an integer of 1 or more");
        }
        return *value;
    };
    repaint::jump_options jumps;
    const int t_t = required("t_T");
    jumps.n_sample = required("n_sample");
    jumps.jump_length = required("jump_length");
    jumps.jump_n_sample = required("jump_n_sample");
    jumps.jump2_length = params.integer("jump2_length", 1).value_or(jumps.jump2_length);
    jumps.jump2_n_sample = params.integer("jump2_n_sample", 1).value_or(jumps.jump2_n_sample);
    jumps.jump3_length = params.integer("jump3_length", 1).value_or(jumps.jump3_length);
    jumps.jump3_n_sample = params.integer("jump3_n_sample", 1).value_or(jumps.jump3_n_sample);
    jumps.start_resampling = params.integer("start_resampling", 0).value_or(jumps.start_resampling);

    const int steps = s.integer("diffusion_steps").value_or(1000);
    int kept = 0;
    try {
        kept = static_cast<int>(repaint::respaced_timesteps(steps, respacing).size());
    } catch (const std::invalid_argument& wrong) {
        throw format_error(s.place("timestep_respacing") + "timestep_respacing of " + std::to_string(steps) +
                           " timesteps: " + wrong.what());
    }
    if (t_t != kept) {
        params.refuse_because("t_T",
                              "but timestep_respacing " + in_quotes(respacing) + " leaves " + std::to_string(kept) +
                                  " timesteps (the official program would start at a wrong noise level or fail)",
                              std::to_string(kept));
    }
    // A jump that is not shorter than the walk never happens.
    jumps.jump_n_sample = jumps.jump_length < kept ? jumps.jump_n_sample : 1;
    jumps.jump2_n_sample = jumps.jump2_length < kept ? jumps.jump2_n_sample : 1;
    jumps.jump3_n_sample = jumps.jump3_length < kept ? jumps.jump3_n_sample : 1;
    try {
        (void)repaint::jump_schedule(kept, jumps);
    } catch (const std::invalid_argument& wrong) {
        throw format_error(params.root()->place() + "schedule_jump_params: " + wrong.what());
    }
    return jumps;
}

/// The folders under paths. Two of the same would overwrite each other.
official_folders folders_of(settings_reader& s) {
    if (s.find("paths") == nullptr) {
        s.missing("paths", "a mapping with the folders srs, lrs, gts and gt_keep_masks");
    }
    settings_reader paths = s.part("paths");
    std::map<fs::path, std::string> used;
    const auto folder = [&](const char* key) -> std::optional<fs::path> {
        const auto given = paths.text(key, "a folder");
        if (!given) {
            return std::nullopt;
        }
        const auto [other, added] = used.emplace(fs::path(*given).lexically_normal(), key);
        if (!added) {
            paths.refuse_because(key, "the folder of " + other->second + ", too", "a folder of its own");
        }
        return fs::path(*given);
    };
    official_folders folders;
    folders.srs = folder("srs");
    folders.lrs = folder("lrs");
    folders.gts = folder("gts");
    folders.gt_keep_masks = folder("gt_keep_masks");
    if (!folders.srs) {
        paths.missing("srs", "a folder for the results");
    }
    return folders;
}

official_data data_of(settings_reader& s, const std::string& name, int image_size, std::vector<std::string>& notes) {
    official_data data;
    data.name = name;
    check_switches(s, data_switches);
    const auto required_path = [&s](const char* key, const char* accepted) {
        auto path = path_of(s, key);
        if (!path) {
            s.missing(key, accepted);
        }
        return std::move(*path);
    };
    data.gt_path = required_path("gt_path", "a folder of pictures");
    data.mask_path = required_path("mask_path", "a folder of masks, white = known");
    data.image_size = s.integer("image_size", 1, 16384).value_or(image_size);
    if (data.image_size != image_size) {
        s.refuse_because("image_size", "but the network's image_size is " + std::to_string(image_size),
                         std::to_string(image_size));
    }
    const auto batch_size = s.integer("batch_size", 1, 65536);
    if (!batch_size) {
        s.missing("batch_size", "an integer from 1 to 65536");
    }
    data.batch_size = *batch_size;
    data.offset = s.integer("offset", 0).value_or(0);
    data.max_len = s.integer("max_len", 1);
    data.drop_last = s.boolean("drop_last").value_or(false);
    data.paths = folders_of(s);
    if (!s.boolean("deterministic").value_or(false)) {
        notes.push_back(s.name_of("deterministic") +
                        " is not true: the official program shuffles, here the pictures are taken in order");
    }
    for (const char* key : {"return_dataloader", "ds_conf"}) {
        s.find(key);
    }
    return data;
}

} // namespace

fs::path configured_path::found(const fs::path& configuration, std::vector<std::string>& notes) const {
    std::error_code none;
    if (fs::exists(path, none)) {
        return path;
    }
    const fs::path beside = (configuration.parent_path() / path).lexically_normal();
    if (path.is_relative() && fs::exists(beside, none)) {
        notes.push_back(key + " is " + beside.string() + ", taken from the folder of the configuration");
        return beside;
    }
    std::string sought = ", which does not exist";
    if (path.is_relative()) {
        sought = ", which exists neither below " + repaint::shown(fs::current_path(none)) +
                 " nor below the folder of the configuration";
    }
    throw repaint::error(place + key + " is " + repaint::shown(path) + sought);
}

official_config read_official_config(const fs::path& file) {
    const json_value root = read_yaml(file);
    if (root.is_null()) {
        throw format_error(repaint::shown(file) + ": an empty configuration");
    }
    settings_reader s(root, "", settings_wording::yaml);
    official_config config;

    check_switches(s, run_switches);
    // Missing means false to the official program, which then never shows the network what is known.
    const char* const merging = "with which the official program never merges what is known into the sample";
    if (const auto value = s.boolean("inpa_inj_sched_prev"); !value) {
        s.missing("inpa_inj_sched_prev", "true", merging);
    } else if (!*value) {
        s.refuse_because("inpa_inj_sched_prev", merging, "true");
    }
    if (!s.boolean("clip_denoised")) {
        s.missing("clip_denoised", "true or false", "which is false to the official program");
    }
    if (const auto shift = s.integer("inpa_inj_time_shift"); shift && *shift != 1) {
        s.refuse_because("inpa_inj_time_shift",
                         "which takes the noise of a jump from another timestep than the one it reaches", "1");
    }

    const auto model_path = path_of(s, "model_path");
    if (!model_path) {
        s.missing("model_path", "the network's .pt or .safetensors");
    }
    config.model_path = *model_path;
    const auto image_size = s.integer("image_size", 1, 16384);
    if (!image_size) {
        s.missing("image_size", "an integer from 1 to 16384");
    }
    config.image_size = *image_size;
    check_network(s);
    config.model =
        read_yaml(file, joined(network_booleans, network_counts, network_widths, network_lists, network_others));

    // As there: guidance needs both, so a scale alone (the faces and places have one) is no guidance.
    for (const char* key : classifier_booleans) {
        s.boolean(key);
    }
    for (const char* key : classifier_counts) {
        s.integer(key, 1);
    }
    check_numbers(s, "classifier_attention_resolutions");
    if (const auto pool = s.text("classifier_pool");
        pool && *pool != "attention" && *pool != "adaptive" && *pool != "spatial" && *pool != "spatial_v2") {
        s.refuse("classifier_pool", "attention, adaptive, spatial or spatial_v2");
    }
    config.classifier_scale = s.number("classifier_scale").value_or(0.0);
    const auto classifier_path = path_of(s, "classifier_path");
    if (classifier_path && config.classifier_scale > 0.0) {
        config.classifier_path = classifier_path;
        config.classifier =
            read_yaml(file, joined(classifier_booleans, classifier_counts,
                                   std::array{"classifier_attention_resolutions", "classifier_pool", "image_size"}));
    } else if (classifier_path) {
        config.notes.push_back("classifier_path is given, but classifier_scale is not above 0: no guidance");
    }

    config.timestep_respacing = respacing_of(s);
    config.jumps = jumps_of(s, config.timestep_respacing);
    config.cond_y = s.integer("cond_y", 0);
    if (config.cond_y) {
        config.cond_y_place = s.place("cond_y");
    }
    if (const json_value* const seed = s.find("seed"); seed != nullptr) {
        if (!seed->is_integer() || seed->as_number() < 0.0) {
            s.refuse("seed", "an integer of 0 or more");
        }
        config.seed = seed->as_unsigned();
    }
    config.show_progress = s.boolean("show_progress").value_or(true);
    if (const json_value* const device = s.find("device"); device != nullptr) {
        config.notes.push_back("device is " + s.shown_value(*device) + ": here --backend chooses what computes");
    }
    if (s.boolean("use_fp16").value_or(false)) {
        config.notes.emplace_back("use_fp16 is true: the precision is the backend's, whatever this says");
    }
    for (const char* key : ignored_by_all) {
        s.find(key);
    }

    const char* const accepted = "a mapping with an entry for each data set";
    if (s.find("data") == nullptr) {
        s.missing("data", accepted);
    }
    settings_reader data = s.part("data");
    if (data.find("eval") == nullptr) {
        data.missing("eval", accepted);
    }
    settings_reader eval = data.part("eval");
    std::vector<std::string> unknown;
    const auto note_unknown = [&unknown](const settings_reader& part) {
        const auto keys = part.unknown();
        unknown.insert(unknown.end(), keys.begin(), keys.end());
    };
    for (const auto& [name, value] : eval.root()->as_object()) {
        if (value.is_null()) {
            eval.refuse(name, "a mapping of settings");
        }
        settings_reader entry = eval.part(name);
        config.data.push_back(data_of(entry, name, config.image_size, config.notes));
        note_unknown(entry);
    }
    if (config.data.empty()) {
        data.refuse_because("eval", "and has no entry", accepted);
    }
    note_unknown(s);
    note_unknown(data);
    for (const auto& key : unknown) {
        config.notes.push_back("the setting " + repaint::printable(key) + " is not known and was ignored");
    }
    return config;
}

} // namespace cli
