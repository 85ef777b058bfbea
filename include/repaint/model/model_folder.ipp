#pragma once

#include <algorithm>
#include <array>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include <repaint/config.hpp>
#include <repaint/core/text.hpp>
#include <repaint/error.hpp>
#include <repaint/io/bytes.hpp>
#include <repaint/model/model_folder.hpp>

namespace repaint {

namespace detail {

inline bool is_file(const std::filesystem::path& path) {
    std::error_code none;
    return std::filesystem::is_regular_file(path, none);
}

inline bool is_folder(const std::filesystem::path& path) {
    std::error_code none;
    return std::filesystem::is_directory(path, none);
}

inline std::optional<std::filesystem::path> first_file(const std::vector<std::filesystem::path>& candidates) {
    const auto found = std::find_if(candidates.begin(), candidates.end(), is_file);
    return found == candidates.end() ? std::nullopt : std::optional(*found);
}

/// The files of a folder whose names pass, in alphabetical order. Empty when the folder cannot be listed.
template <class F> std::vector<std::filesystem::path> files_in(const std::filesystem::path& folder, F&& passes) {
    std::vector<std::filesystem::path> result;
    std::error_code failed;
    for (std::filesystem::directory_iterator at(folder, failed), end; !failed && at != end; at.increment(failed)) {
        if (is_file(at->path()) && passes(at->path().filename().string())) {
            result.push_back(at->path());
        }
    }
    std::sort(result.begin(), result.end());
    return result;
}

inline bool is_weights_name(std::string_view name) {
    constexpr std::array<std::string_view, 5> endings{".safetensors", ".bin", ".pt", ".pth", ".ckpt"};
    return std::any_of(endings.begin(), endings.end(), [&](std::string_view end) { return name.ends_with(end); });
}

/// Finds the settings around the weights of a diffusers network.
inline void add_diffusers_settings(model_location& found, const std::filesystem::path& folder) {
    const auto above = folder / "..";
    found.network = first_file({folder / "config.json"});
    found.scheduler = first_file({folder / "scheduler_config.json", folder / "scheduler" / "scheduler_config.json",
                                  above / "scheduler" / "scheduler_config.json"});
    found.pipeline = first_file({folder / "model_index.json"});
    if (!found.pipeline && folder.filename() == "unet") {
        found.pipeline = first_file({above / "model_index.json"});
    }
}

/// The weights in a folder that save_pretrained wrote; nullopt when there are none. Throws format_error when there are
/// several variants (fp16, non_ema) and no plain file.
inline std::optional<std::filesystem::path> diffusers_weights(const std::filesystem::path& folder,
                                                              std::vector<std::string>& remarks) {
    const std::string stem = "diffusion_pytorch_model";
    if (auto plain = first_file(
            {folder / (joined_text({stem, ".safetensors"})), folder / (joined_text({stem, ".safetensors.index.json"})),
             folder / (joined_text({stem, ".bin"})), folder / (joined_text({stem, ".bin.index.json"}))})) {
        return plain;
    }
    const auto variants = files_in(folder, [&](const std::string& name) {
        const bool shard = name.find("-of-") != std::string::npos;
        const bool index = name.find(".index.") != std::string::npos && name.ends_with(".json");
        return name.starts_with(joined_text({stem, "."})) && !shard && (index || is_weights_name(name));
    });
    if (variants.empty()) {
        return std::nullopt;
    }
    if (variants.size() > 1) {
        throw format_error(joined_text({shown(folder), ": has ", variants.size(),
                                        " variants of diffusion_pytorch_model (", shown(variants.front().filename()),
                                        ", ", shown(variants[1].filename()), "): give one of the files"}));
    }
    remarks.push_back(joined_text({"the weights are the variant ", shown(variants.front().filename())}));
    return variants.front();
}

inline model_location locate_bundle(const std::filesystem::path& folder) {
    model_location found;
    const auto candidates = files_in(folder / "models", is_weights_name);
    const auto usual = first_file(
        {folder / "models" / "model.pt", folder / "models" / "model.pth", folder / "models" / "model.safetensors"});
    if (!usual && candidates.size() != 1) {
        throw format_error(
            joined_text({shown(folder), ": a MONAI bundle needs its weights as models/model.pt, there are ",
                         candidates.size(), " other files of weights"}));
    }
    found.weights = usual ? *usual : candidates.front();
    return found;
}

inline void add_bundle_settings(model_location& found, const std::filesystem::path& folder) {
    const auto configs = folder / "configs";
    for (const char* first : {"inference.json", "train.json"}) {
        if (is_file(configs / first)) {
            found.bundle.push_back(configs / first);
        }
    }
    for (const auto& other : files_in(configs, [](const std::string& name) {
             return name.ends_with(".json") && name != "inference.json" && name != "train.json" &&
                    name != "metadata.json" && name != "logging.json";
         })) {
        found.bundle.push_back(other);
    }
}

} // namespace detail

REPAINT_COLD model_location locate_model(const std::string& given) {
    using namespace detail;
    namespace fs = std::filesystem;
    fs::path path = given;
    const std::string name = path.filename().string();
    if ((name == "config.json" || name == "model_index.json") && is_file(path)) {
        path = path.has_parent_path() ? path.parent_path() : fs::path(".");
    }
    model_location found;
    if (!is_folder(path)) {
        found.weights = path;
        const fs::path folder = path.has_parent_path() ? path.parent_path() : fs::path(".");
        add_diffusers_settings(found, folder);
        if (folder.filename() == "models") {
            add_bundle_settings(found, folder / "..");
        }
        return found;
    }
    const fs::path network = is_folder(path / "unet") ? path / "unet" : path;
    if (auto weights = diffusers_weights(network, found.remarks)) {
        found.weights = *weights;
        add_diffusers_settings(found, network);
        if (network != path) {
            found.pipeline = first_file({path / "model_index.json"});
            if (const auto flat = first_file({path / "scheduler_config.json"}); !found.scheduler && flat) {
                found.scheduler = flat;
            }
        }
        return found;
    }
    if (is_folder(path / "models")) {
        found = locate_bundle(path);
        add_bundle_settings(found, path);
        return found;
    }
    const auto weights = files_in(path, is_weights_name);
    if (weights.size() == 1) {
        found.weights = weights.front();
        add_diffusers_settings(found, path);
        return found;
    }
    throw format_error(
        joined_text({shown(given), ": this folder holds no model, accepted are folders with "
                                   "diffusion_pytorch_model.safetensors or .bin, in unet/ or directly (diffusers), "
                                   "with models/model.pt (a MONAI bundle), or with one file of weights"}));
}

} // namespace repaint
