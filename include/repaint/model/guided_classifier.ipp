#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <iterator>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include <repaint/backend/dry.hpp>
#include <repaint/config.hpp>
#include <repaint/core/text.hpp>
#include <repaint/error.hpp>
#include <repaint/io/checkpoint.hpp>
#include <repaint/io/json.hpp>
#include <repaint/model/checkpoint_names.hpp>
#include <repaint/model/classifier.hpp>
#include <repaint/model/guided_classifier.hpp>
#include <repaint/model/guided_diffusion.hpp>
#include <repaint/model/load.ipp>
#include <repaint/model/network_location.hpp>

namespace repaint {

namespace detail {

inline std::vector<int> classifier_shape(const checkpoint& file, const std::string& name, std::size_t rank) {
    return required_shape(file, name, rank, "guided-diffusion classifier");
}

/// The pool that the names of the head belong to. Throws format_error when the names are those of no pool.
inline classifier_pool pool_of(const checkpoint& file) {
    if (has_tensor(file, "out.2.positional_embedding")) {
        return classifier_pool::attention;
    }
    if (has_tensor(file, "out.3.weight")) {
        return has_tensor(file, "out.1.weight") ? classifier_pool::spatial_v2 : classifier_pool::adaptive;
    }
    if (has_tensor(file, "out.0.weight") && has_tensor(file, "out.2.weight")) {
        return classifier_pool::spatial;
    }
    throw format_error(joined_text({shown(file.path), ": there is no head of a guided-diffusion classifier, neither "
                                                      "out.2.positional_embedding nor out.3.weight nor out.2.weight"}));
}

/// True when levels of `depth` residual blocks and one halving block explain the tensors: channels change and attention
/// starts only at the first block of a level, and a halving block has no attention.
inline bool explains(const checkpoint& file, int blocks, int depth) {
    if (depth < 1 || blocks % (depth + 1) != 0 || blocks / (depth + 1) > most_levels) {
        return false;
    }
    for (int i = 1; i < blocks; ++i) {
        const std::string name = joined_text({"input_blocks.", i});
        const int within = (i - 1) % (depth + 1); // depth: the one that halves
        const bool attends = has_tensor(file, joined_text({name, ".1.qkv.weight"}));
        const bool leading = has_tensor(file, joined_text({"input_blocks.", i - within, ".1.qkv.weight"}));
        if (within == depth ? attends : attends != leading) {
            return false;
        }
        if (within != 0 && has_tensor(file, joined_text({name, ".0.skip_connection.weight"}))) {
            return false;
        }
        if (within != depth && has_tensor(file, joined_text({name, ".0.op.weight"}))) {
            return false;
        }
    }
    return true;
}

/// The numbers of residual blocks per level that explain the tensors, the likeliest first: the published 2 and 4, then
/// 1, 3, 5 and so on. Throws format_error when no number does.
inline std::vector<int> possible_depths(const checkpoint& file, int blocks) {
    std::vector<int> candidates{2, 4, 1, 3};
    for (int depth = 5; depth < blocks; ++depth) {
        candidates.push_back(depth);
    }
    for (int i = 1; i < blocks; ++i) {
        if (has_tensor(file, joined_text({"input_blocks.", i, ".0.op.weight"}))) {
            candidates = {i - 1}; // the halving block ends the first level
            break;
        }
    }
    std::vector<int> found;
    std::copy_if(candidates.begin(), candidates.end(), std::back_inserter(found),
                 [&](int depth) { return explains(file, blocks, depth); });
    if (found.empty()) {
        throw format_error(joined_text({shown(file.path), ": its ", blocks,
                                        " input_blocks do not divide into levels of a guided-diffusion classifier"}));
    }
    return found;
}

/// "1, 2 or 4"
inline std::string alternatives(std::vector<int> values) {
    std::sort(values.begin(), values.end());
    std::string text;
    for (std::size_t i = 0; i < values.size(); ++i) {
        text += i == 0 ? "" : (i + 1 == values.size() ? " or " : ", ");
        text += std::to_string(values[i]);
    }
    return text;
}

REPAINT_COLD int classifier_depth(const checkpoint& file, int blocks, int side, int image_size,
                                  official_settings& given, std::vector<std::string>& remarks) {
    std::vector<int> depths = possible_depths(file, blocks);
    if (side > 0 && image_size > 0) {
        std::vector<int> sizes;
        std::vector<int> fitting;
        for (const int depth : depths) {
            sizes.push_back(side << (blocks / (depth + 1) - 1));
            if (sizes.back() == image_size) {
                fitting.push_back(depth);
            }
        }
        if (fitting.empty()) {
            if (given.find("image_size") != nullptr) {
                given.refuse("image_size", joined_text({alternatives(sizes), ", as its attention pooling is over ",
                                                        side, "x", side, " positions"}));
            }
            throw format_error(
                joined_text({shown(file.path), ": the classifier is for pictures of ", alternatives(sizes),
                             " rows and columns, the network to guide for ", image_size}));
        }
        depths = fitting;
    }
    const auto said = given.integer("classifier_depth");
    if (said && std::find(depths.begin(), depths.end(), *said) == depths.end()) {
        given.refuse("classifier_depth",
                     joined_text({alternatives(depths), ", as its ", blocks, " input_blocks show"}));
    }
    if (!said && depths.size() > 1) {
        remarks.push_back(
            joined_text({"classifier_depth ", depths.front(),
                         " is assumed; tensors do not tell the levels apart, a JSON does (--classifier-config)"}));
    }
    return said.value_or(depths.front());
}

/// Rows and columns of the features that attention pooling was made for. Throws format_error.
inline int pooled_side(const checkpoint& file) {
    const int tokens = classifier_shape(file, "out.2.positional_embedding", 2)[1];
    const auto side = static_cast<int>(std::lround(std::sqrt(tokens - 1)));
    if (side < 1 || side * side + 1 != tokens) {
        throw format_error(joined_text({shown(file.path), ": out.2.positional_embedding has ", tokens,
                                        " positions, expected one more than a square"}));
    }
    return side;
}

/// The architecture as names and shapes tell it for a head of that pool, attention pooling over side x side positions
/// (0: there is none) and `depth` residual blocks per level.
inline classifier_config infer_guided_classifier(const checkpoint& file, classifier_pool pool, int side, int depth) {
    classifier_config result;
    result.pool = pool;
    auto& body = result.body;
    body.in_channels = classifier_shape(file, "input_blocks.0.0.weight", 4)[1];
    body.model_channels = classifier_shape(file, "time_embed.0.weight", 2)[1];
    body.out_channels = body.in_channels;
    body.head_channels = 64; // create_classifier always has heads of 64 channels
    body.res_blocks = depth;
    for (int level = 0; level < count_blocks(file, "input_blocks") / (depth + 1); ++level) {
        const std::string name = joined_text({"input_blocks.", 1 + level * (depth + 1)});
        const int channels = classifier_shape(file, joined_text({name, ".0.in_layers.2.weight"}), 4)[0];
        if (channels % body.norm_groups != 0) {
            throw format_error(
                joined_text({shown(file.path), ": ", name, " has ", channels,
                             " channels, a guided-diffusion classifier normalises in groups of ", body.norm_groups}));
        }
        body.levels.push_back({channels, has_tensor(file, joined_text({name, ".1.qkv.weight"}))});
    }
    body.resblock_updown =
        body.levels.size() > 1 && !has_tensor(file, joined_text({"input_blocks.", depth + 1, ".0.op.weight"}));
    body.scale_shift_norm =
        classifier_shape(file, "input_blocks.1.0.emb_layers.1.weight", 2)[0] == 2 * body.levels.front().channels;
    result.image_size = side == 0 ? 0 : side * body.size_multiple();
    switch (pool) {
    case classifier_pool::adaptive: result.classes = classifier_shape(file, "out.3.weight", 4)[0]; break;
    case classifier_pool::attention: result.classes = classifier_shape(file, "out.2.c_proj.weight", 3)[0]; break;
    case classifier_pool::spatial: result.classes = classifier_shape(file, "out.2.weight", 2)[0]; break;
    default: result.classes = classifier_shape(file, "out.3.weight", 2)[0]; break;
    }
    if (pool == classifier_pool::spatial || pool == classifier_pool::spatial_v2) {
        result.hidden = classifier_shape(file, "out.0.weight", 2)[0];
    }
    return result;
}

/// Throws format_error when a setting contradicts what the tensors showed. image_size: 0 when it is not known.
inline void check_classifier(official_settings& given, const classifier_config& found, int image_size) {
    const unet_config& body = found.body;
    if (image_size % body.size_multiple() != 0 && given.find("image_size") != nullptr) {
        given.refuse("image_size", joined_text({"multiples of ", body.size_multiple(), ", as the classifier has ",
                                                body.levels.size(), " levels"}));
    }
    given.expect("classifier_width", given.integer("classifier_width"), body.model_channels);
    const auto pool = given.choice<classifier_pool>("classifier_pool", {{"adaptive", classifier_pool::adaptive},
                                                                        {"attention", classifier_pool::attention},
                                                                        {"spatial", classifier_pool::spatial},
                                                                        {"spatial_v2", classifier_pool::spatial_v2}});
    if (pool) {
        given.expect("classifier_pool", std::optional(to_string(*pool)), to_string(found.pool));
    }
    given.expect("classifier_use_scale_shift_norm", given.boolean("classifier_use_scale_shift_norm"),
                 body.scale_shift_norm);
    const auto updown = given.boolean("classifier_resblock_updown");
    if (body.levels.size() > 1) {
        given.expect("classifier_resblock_updown", updown, body.resblock_updown);
    }
    const auto resolutions = given.numbers("classifier_attention_resolutions");
    if (resolutions && image_size > 0) {
        given.expect("classifier_attention_resolutions",
                     std::optional(listed_resolutions(*resolutions, image_size, body)),
                     attention_resolutions(image_size, body));
    }
}

} // namespace detail

REPAINT_COLD bool is_guided_classifier(const checkpoint& file) {
    return is_guided_diffusion(file) && !detail::has_prefix(file, "output_blocks.");
}

REPAINT_COLD std::pair<classifier_config, model_description>
read_guided_classifier(const checkpoint& file, const json_value* settings, int image_size) {
    using namespace detail;
    if (!is_guided_diffusion(file)) {
        throw format_error(joined_text(
            {tensors_of(file), " are not those of a guided-diffusion classifier, there is no tensor ",
             (has_tensor(file, "input_blocks.0.0.weight") ? "time_embed.0.weight" : "input_blocks.0.0.weight")}));
    }
    if (!is_guided_classifier(file)) {
        throw format_error(
            joined_text({shown(file.path), ": there are output_blocks, as in a U-Net; a classifier is needed"}));
    }
    official_settings given(settings);
    model_description about;
    const classifier_pool pool = pool_of(file);
    const int side = pool == classifier_pool::attention ? pooled_side(file) : 0;
    constexpr int largest_image = 65535;
    const int size = given.integer("image_size", 1, largest_image).value_or(image_size);
    const int depth = classifier_depth(file, count_blocks(file, "input_blocks"), side, size, given, about.remarks);
    classifier_config result = infer_guided_classifier(file, pool, side, depth);
    check_classifier(given, result, size > 0 ? size : result.image_size);
    given.boolean("classifier_use_fp16"); // changes nothing here
    given.find("classifier_path");
    if (given.find("classifier_scale") != nullptr) {
        about.remarks.emplace_back("the setting classifier_scale was ignored: it is the run's (--classifier-scale)");
    }
    const auto unknown = given.unknown();
    for (const auto& key : std::set<std::string>(unknown.begin(), unknown.end())) {
        if (key.starts_with("classifier")) {
            about.remarks.push_back(
                joined_text({"the setting ", printable(key), " is not known here and was ignored"}));
        }
    }
    about.family =
        joined_text({"guided-diffusion classifier, ", to_string(result.pool), " pool, ", result.classes, " classes"});
    about.image_size = size > 0 ? size : result.image_size;
    return {std::move(result), std::move(about)};
}

REPAINT_COLD opened_classifier open_classifier(const model_files& files, int image_size) {
    checkpoint file = locate_network(read_checkpoint(files.weights), files.entry);
    model_description found;
    const auto settings = detail::find_settings(files, found);
    auto [network, about] = read_guided_classifier(file, settings ? &*settings : nullptr, image_size);
    about.remarks.insert(about.remarks.begin(), found.remarks.begin(), found.remarks.end());
    detail::describe_file(file, about);
    dry_backend dry;
    weight_map names(file, weight_map::check_only);
    const classifier<dry_backend> shape_of_it(dry, network, names);
    names.finish();
    return {std::move(file), std::move(network), std::move(about)};
}

} // namespace repaint
