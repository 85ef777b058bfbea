#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include <repaint/config.hpp>
#include <repaint/core/text.hpp>
#include <repaint/error.hpp>
#include <repaint/io/stored_tensor.hpp>
#include <repaint/model/block_names.hpp>
#include <repaint/model/checkpoint_names.hpp>
#include <repaint/model/unet_config.hpp>
#include <repaint/model/weight_map.hpp>

namespace repaint {

namespace detail {

REPAINT_COLD std::string block_words::up_level(std::size_t level, std::size_t levels) {
    return joined_text({"up_blocks.", levels - 1 - level});
}

REPAINT_COLD std::string block_words::residual(const std::string& level, int i) {
    return joined_text({level, ".resnets.", i});
}

REPAINT_COLD std::string block_words::attention(const std::string& level, int i) {
    return joined_text({level, ".attentions.", i});
}

inline constexpr int most_blocks_per_level = 64;

REPAINT_COLD unet_config infer_blocks(const checkpoint& file, const block_words& words) {
    const auto shape = [&](const std::string& name, std::size_t rank) {
        return required_shape(file, name, rank, words.family);
    };
    unet_config config;
    config.order = qkv_order::grouped;
    config.resblock_updown = false;
    config.in_channels = shape(joined_text({words.first, ".weight"}), 4)[1];
    const auto time = shape(joined_text({words.time_first, ".weight"}), 2);
    config.embedding_width = time[0];
    config.model_channels = time[1];
    config.out_channels = shape(joined_text({words.last, ".weight"}), 4)[0];
    if (has_tensor(file, "class_embedding.weight")) {
        config.classes = shape("class_embedding.weight", 2)[0];
    }

    const int levels = count_blocks(file, "down_blocks");
    if (levels < 1 || levels > most_levels) {
        throw format_error(joined_text({shown(file.path), ": a U-Net of ", levels,
                                        " levels (down_blocks) was found, accepted are 1 to ", most_levels}));
    }
    const auto count = static_cast<std::size_t>(levels);
    for (std::size_t i = 0; i < count; ++i) {
        const std::string down = block_words::down_level(i);
        const std::string up = block_words::up_level(i, count);
        unet_level level;
        level.res_blocks = count_blocks(file, joined_text({down, ".resnets"}));
        if (level.res_blocks > most_blocks_per_level) {
            throw format_error(joined_text({shown(file.path), ": ", down, " has ", level.res_blocks,
                                            " residual blocks (resnets), accepted are 1 to ", most_blocks_per_level}));
        }
        level.channels = shape(joined_text({block_words::residual(down, 0), words.conv1, ".weight"}), 4)[0];
        level.attention = has_prefix(file, joined_text({block_words::attention(down, 0), "."}));
        level.attention_up = has_prefix(file, joined_text({block_words::attention(up, 0), "."}));
        level.residual_down = has_tensor(file, joined_text({down, words.down, ".norm1.weight"}));
        level.residual_up = has_tensor(file, joined_text({up, words.up, ".norm1.weight"}));
        config.levels.push_back(level);
    }
    config.res_blocks = config.levels.front().res_blocks;
    config.scale_shift_norm =
        shape(joined_text({block_words::residual(block_words::down_level(0), 0), ".time_emb_proj.weight"}), 2)[0] ==
        2 * config.levels.front().channels;
    config.middle = has_prefix(file, joined_text({words.middle[0], "."}));
    config.middle_attention = has_prefix(file, joined_text({words.middle[1], "."}));
    if (config.middle_attention && !has_tensor(file, joined_text({words.middle[1], words.attention_norm, ".weight"}))) {
        config.middle_groups = 0;
    }
    return config;
}

REPAINT_COLD name_map names_of_blocks(const checkpoint& file, const unet_config& config, const block_words& words) {
    name_map names;
    const auto layer = [&](const std::string& ours, const std::vector<std::string>& theirs) {
        for (const char* part : {".weight", ".bias"}) {
            auto& in_file = names.files[ours + part];
            for (const auto& name : theirs) {
                in_file.push_back(name + part);
            }
        }
    };
    const auto residual = [&](const std::string& ours, const std::string& theirs) {
        layer(joined_text({ours, ".in_layers.0"}), {joined_text({theirs, ".norm1"})});
        layer(joined_text({ours, ".in_layers.2"}), {theirs + words.conv1});
        layer(joined_text({ours, ".emb_layers.1"}), {joined_text({theirs, ".time_emb_proj"})});
        layer(joined_text({ours, ".out_layers.0"}), {joined_text({theirs, ".norm2"})});
        layer(joined_text({ours, ".out_layers.3"}), {theirs + words.conv2});
        layer(joined_text({ours, ".skip_connection"}), {theirs + words.shortcut});
    };
    const auto attention = [&](const std::string& ours, const std::string& theirs) {
        std::vector<std::string> qkv;
        for (const auto& name : words.qkv) {
            qkv.push_back(theirs + name);
        }
        layer(joined_text({ours, ".norm"}), {theirs + words.attention_norm});
        layer(joined_text({ours, ".qkv"}), qkv);
        layer(joined_text({ours, ".proj_out"}), {theirs + words.projection});
        if (!config.attention_projection) {
            for (const char* part : {".weight", ".bias"}) {
                if (const std::string name = theirs + words.projection + part; has_tensor(file, name)) {
                    names.ignored.push_back(name);
                }
            }
        }
    };

    layer("time_embed.0", {words.time_first});
    layer("time_embed.2", {words.time_second});
    names.files["label_emb.weight"] = {"class_embedding.weight"};
    layer("input_blocks.0.0", {words.first});
    const std::size_t count = config.levels.size();
    for (std::size_t level = 0; level < count; ++level) {
        const int blocks = config.blocks_at(level);
        const std::string down = block_words::down_level(level);
        for (int i = 0; i < blocks; ++i) {
            residual(joined_text({config.input_block(level, i), ".0"}), block_words::residual(down, i));
            attention(joined_text({config.input_block(level, i), ".1"}), block_words::attention(down, i));
        }
        const std::string halves = joined_text({config.input_block(level, blocks), ".0"});
        if (config.residual_down_at(level)) {
            residual(halves, down + words.down);
        } else {
            layer(joined_text({halves, ".op"}), {down + words.down + words.down_conv});
        }

        const std::string up = block_words::up_level(level, count);
        for (int i = 0; i <= blocks; ++i) {
            residual(joined_text({config.output_block(level, i), ".0"}), block_words::residual(up, i));
            if (config.levels[level].attention_up) {
                attention(joined_text({config.output_block(level, i), ".1"}), block_words::attention(up, i));
            }
        }
        const std::string doubles =
            config.output_block(level, blocks) + (config.levels[level].attention_up ? ".2" : ".1");
        if (config.residual_up_at(level)) {
            residual(doubles, up + words.up);
        } else if (level > 0) {
            layer(joined_text({doubles, ".conv"}), {up + words.up + words.up_conv});
        }
    }
    residual("middle_block.0", words.middle[0]);
    attention("middle_block.1", words.middle[1]);
    residual("middle_block.2", words.middle[2]);
    layer("out.0", {words.last_norm});
    layer("out.2", {words.last});
    return names;
}

} // namespace detail

} // namespace repaint
