#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include <repaint/backend/dry.hpp>
#include <repaint/config.hpp>
#include <repaint/core/text.hpp>
#include <repaint/error.hpp>
#include <repaint/io/checkpoint.hpp>
#include <repaint/io/json.hpp>
#include <repaint/model/checkpoint_names.hpp>
#include <repaint/model/diffusers.hpp>
#include <repaint/model/diffusion_model.hpp>
#include <repaint/model/family_model.hpp>
#include <repaint/model/guided_diffusion.hpp>
#include <repaint/model/load.hpp>
#include <repaint/model/model_folder.hpp>
#include <repaint/model/monai.hpp>
#include <repaint/model/network_location.hpp>

namespace repaint {

namespace detail {

/// The settings that belong to a model's files; nullopt when there are none. A remark that says which file they come
/// from is put before the other remarks.
inline std::optional<json_value> find_settings(const model_files& files, model_description& about) {
    if (files.settings) {
        return files.settings;
    }
    auto config = files.config;
    if (!config) {
        std::filesystem::path beside = files.weights;
        beside.replace_extension(".json");
        std::error_code none;
        if (beside != files.weights && std::filesystem::is_regular_file(beside, none)) {
            config = beside;
        }
    }
    if (!config) {
        return std::nullopt;
    }
    about.remarks.insert(about.remarks.begin(), joined_text({"settings from ", shown(*config)}));
    return read_json(*config);
}

/// Adds to the description what the file itself tells: format, tensors, parameters, notes.
inline void describe_file(const checkpoint& file, model_description& about) {
    about.remarks.insert(about.remarks.end(), file.notes.begin(), file.notes.end());
    about.format = file.format;
    about.tensors = file.tensors.size();
    for (const auto& [name, tensor] : file.tensors) {
        about.parameters += static_cast<std::uint64_t>(tensor.numel());
    }
}

/// Throws format_error when the network of a pipeline is another class than UNet2DModel. Adds a remark when the
/// pipeline paints latents.
inline void check_pipeline(const json_value& index, std::vector<std::string>& remarks) {
    const json_value* unet = index.find("unet");
    if (unet != nullptr && unet->is_array() && unet->as_array().size() == 2 && unet->as_array()[1].is_string()) {
        const std::string& name = unet->as_array()[1].as_string();
        if (name != "UNet2DModel" && name != "UNetUnconditionalModel") {
            throw format_error(joined_text({unet->place(), "unet is ", in_quotes(name), ", accepted: UNet2DModel"}));
        }
    }
    for (const char* part : {"vae", "vqvae"}) {
        if (const json_value* codec = index.find(part); codec != nullptr && codec->is_array()) {
            remarks.push_back(joined_text({std::string("the pipeline decodes what the network paints with a "), part,
                                           ", which this library does not: pictures are of latents"}));
        }
    }
}

/// Reads the model with the reader of its family, which the names of the tensors tell. Throws format_error when they
/// are of no family.
inline family_model read_family(const checkpoint& file, const model_files& files, const model_location& where) {
    model_files around = files;
    around.weights = where.weights;
    model_description found;
    auto settings = find_settings(around, found);
    const auto given = [&settings] { return settings ? &*settings : nullptr; };
    const auto read_with_remark = [&](const std::optional<std::string>& path) {
        std::optional<json_value> json;
        if (path) {
            json = read_json(*path);
            found.remarks.push_back(
                joined_text({"settings from ", shown(std::filesystem::path(*path).lexically_normal())}));
        }
        return json;
    };
    family_model result;
    if (is_diffusers(file)) {
        const auto network = read_with_remark(where.network);
        const auto scheduler = read_with_remark(where.scheduler);
        if (where.pipeline) {
            check_pipeline(read_json(*where.pipeline), found.remarks);
        }
        result = read_diffusers(file, {network ? &*network : nullptr, scheduler ? &*scheduler : nullptr, given()});
    } else if (is_monai(file)) {
        for (std::size_t i = 0; !settings && i < where.bundle.size(); ++i) {
            auto json = read_json(where.bundle[i]);
            if (json.is_object() && bundle_network(json) != nullptr) {
                settings = std::move(json);
                found.remarks.push_back(
                    joined_text({"settings from ", shown(std::filesystem::path(where.bundle[i]).lexically_normal())}));
            }
        }
        result = read_monai(file, given());
    } else if (is_guided_diffusion(file) || has_prefix(file, "input_blocks.")) {
        result = read_guided_diffusion(file, given());
    } else {
        if (has_prefix(file, "state.0.") || has_prefix(file, "optimizer.state.0.")) {
            throw format_error(
                joined_text({shown(file.path), ": holds the state of an optimizer and no network: take the "
                                               "file of the model that was saved beside it"}));
        }
        throw format_error(
            joined_text({tensors_of(file), " are not those of a guided-diffusion U-Net, a diffusers UNet2DModel or "
                                           "a MONAI DiffusionModelUNet"}));
    }
    auto& remarks = result.description.remarks;
    remarks.insert(remarks.begin(), found.remarks.begin(), found.remarks.end());
    return result;
}

} // namespace detail

REPAINT_COLD opened_model open_model(const model_files& files) {
    const model_location where = locate_model(files.weights);
    checkpoint file = locate_network(read_checkpoint(where.weights), files.entry);
    auto read = detail::read_family(file, files, where);
    auto& about = read.description;
    about.remarks.insert(about.remarks.begin(), where.remarks.begin(), where.remarks.end());
    detail::describe_file(file, about);

    // Building on dry_backend asks for every tensor by name and shape without reading one.
    dry_backend dry;
    weight_map weights(file, weight_map::check_only, read.names);
    const unet<dry_backend> shape_of_it(dry, read.network, weights);
    weights.finish();
    return {std::move(file), std::move(read.network), std::move(read.diffusion), std::move(about),
            std::move(read.names)};
}

} // namespace repaint
