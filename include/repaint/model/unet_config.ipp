#pragma once

#include <cstddef>
#include <span>
#include <stdexcept>
#include <string>

#include <repaint/config.hpp>
#include <repaint/core/shape.hpp>
#include <repaint/core/text.hpp>
#include <repaint/error.hpp>
#include <repaint/model/unet_config.hpp>

namespace repaint {

REPAINT_COLD int unet_config::embedding_channels() const {
    return embedding_width > 0 ? embedding_width : 4 * model_channels;
}

REPAINT_COLD int unet_config::blocks_at(std::size_t level) const {
    return levels[level].res_blocks > 0 ? levels[level].res_blocks : res_blocks;
}

REPAINT_COLD bool unet_config::residual_down_at(std::size_t level) const {
    return resblock_updown || levels[level].residual_down;
}

REPAINT_COLD std::string unet_config::input_block(std::size_t level, int i) const {
    int number = 1 + i;
    for (std::size_t before = 0; before < level; ++before) {
        number += blocks_at(before) + 1;
    }
    return joined_text({"input_blocks.", number});
}

REPAINT_COLD std::string unet_config::output_block(std::size_t level, int i) const {
    int number = i;
    for (std::size_t before = levels.size(); --before > level;) {
        number += blocks_at(before) + 1;
    }
    return joined_text({"output_blocks.", number});
}

REPAINT_COLD int unet_config::size_multiple() const {
    return 1 << (levels.empty() ? 0 : static_cast<int>(levels.size()) - 1);
}

REPAINT_COLD int unet_config::heads_for(int channels, const std::string& name, bool up) const {
    const int count = head_channels > 0 ? channels / head_channels : (up && heads_up > 0 ? heads_up : heads);
    if (count < 1 || channels % count != 0 || (head_channels > 0 && channels % head_channels != 0)) {
        throw shape_error(
            joined_text({name, ": ", channels, " channels do not divide into ",
                         (head_channels > 0 ? joined_text({"heads of ", head_channels, " (num_head_channels)"})
                                            : joined_text({count, " heads (num_heads)"}))}));
    }
    return count;
}

REPAINT_COLD attention_heads unet_config::attention_at(std::size_t level, const std::string& name, bool up) const {
    if (levels[level].heads) {
        return *levels[level].heads;
    }
    const int count = heads_for(levels[level].channels, name, up);
    return {count, levels[level].channels / count};
}

namespace detail {

REPAINT_COLD void check_label_range(std::span<const int> labels, int classes, const char* who) {
    for (const int label : labels) {
        if (label < 0 || label >= classes) {
            throw std::invalid_argument(
                joined_text({"label ", label, " is out of range, ", who, " knows 0 to ", classes - 1}));
        }
    }
}

} // namespace detail

REPAINT_COLD void check_labels(const unet_config& config, std::span<const int> labels) {
    if (config.classes == 0) {
        if (!labels.empty()) {
            throw std::invalid_argument("labels were given, but this network is not class-conditional");
        }
        return;
    }
    if (labels.empty()) {
        throw std::invalid_argument(joined_text(
            {"this network is class-conditional: give a label from 0 to ", config.classes - 1, " for each picture"}));
    }
    detail::check_label_range(labels, config.classes, "this network");
}

REPAINT_COLD void check_image_shape(const unet_config& config, const shape4& images) {
    if (images.n < 1) {
        throw shape_error(joined_text({"there are no images in a batch ", to_string(images)}));
    }
    if (images.c != config.in_channels) {
        throw shape_error(
            joined_text({"the images have ", images.c, " channels, the network takes ", config.in_channels}));
    }
    const int multiple = config.size_multiple();
    if (images.h < multiple || images.w < multiple || images.h % multiple != 0 || images.w % multiple != 0) {
        throw shape_error(joined_text({"the network takes images whose width and height are multiples of ", multiple,
                                       ", got ", images.w, "x", images.h}));
    }
}

} // namespace repaint
