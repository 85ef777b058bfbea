#pragma once

#include <span>
#include <stdexcept>
#include <string>
#include <vector>

#include <repaint/core/shape.hpp>
#include <repaint/error.hpp>

namespace repaint {

/// One resolution of a U-Net, each half the one before.
struct unet_level {
    int channels = 0;
    bool attention = false;
};

/// How the rows of a checkpoint's qkv weights are ordered: per head q, k, v (guided-diffusion's legacy order), or all
/// queries, then all keys, then all values (its "new" order). Shapes do not tell them apart.
enum class qkv_order { per_head, grouped };

/// The architecture of a guided-diffusion U-Net (Dhariwal and Nichol 2021, section 3), as run-time data.
struct unet_config {
    int in_channels = 3;
    int out_channels = 6;           ///< 2 * in_channels when the variance is learned
    int model_channels = 0;         ///< width of the timestep embedding; its MLP has four times as many
    std::vector<unet_level> levels; ///< from full resolution down
    int res_blocks = 2;             ///< per level on the way down; one more on the way up
    int heads = 4;                  ///< per attention block, unless head_channels is set
    int heads_up = 0;               ///< heads on the way up when they differ; 0: the same
    int head_channels = 0;          ///< width of one head; 0: use heads
    qkv_order order = qkv_order::per_head;
    bool scale_shift_norm = true; ///< the embedding scales and shifts the second norm; otherwise it is added before it
    bool resblock_updown =
        false;       ///< residual blocks resample; otherwise a strided convolution, and nearest + convolution
    int classes = 0; ///< rows of the label embedding; 0: unconditional
    int norm_groups = 32;
    float norm_epsilon = 1e-5F;

    [[nodiscard]] int embedding_channels() const { return 4 * model_channels; }

    /// Rows and columns of an image must be multiples of this.
    [[nodiscard]] int size_multiple() const { return 1 << (levels.empty() ? 0 : static_cast<int>(levels.size()) - 1); }

    /// Heads of an attention block. Throws shape_error, naming the block, when they do not divide its channels.
    [[nodiscard]] int heads_for(int channels, const std::string& name, bool up = false) const {
        const int count = head_channels > 0 ? channels / head_channels : (up && heads_up > 0 ? heads_up : heads);
        if (count < 1 || channels % count != 0 || (head_channels > 0 && channels % head_channels != 0)) {
            throw shape_error(name + ": " + std::to_string(channels) + " channels do not divide into " +
                              (head_channels > 0 ? "heads of " + std::to_string(head_channels) + " (num_head_channels)"
                                                 : std::to_string(count) + " heads (num_heads)"));
        }
        return count;
    }
};

/// Throws std::invalid_argument unless labels are given exactly when the network is class-conditional, each in range.
inline void check_labels(const unet_config& config, std::span<const int> labels) {
    if (config.classes == 0) {
        if (!labels.empty()) {
            throw std::invalid_argument("labels were given, but this network is not class-conditional");
        }
        return;
    }
    if (labels.empty()) {
        throw std::invalid_argument("this network is class-conditional: give a label from 0 to " +
                                    std::to_string(config.classes - 1) + " for each picture");
    }
    for (const int label : labels) {
        if (label < 0 || label >= config.classes) {
            throw std::invalid_argument("label " + std::to_string(label) +
                                        " is out of range, this network knows 0 to " +
                                        std::to_string(config.classes - 1));
        }
    }
}

/// Throws shape_error unless images (n, c, h, w) have the network's channels and halve evenly down to its last level.
inline void check_image_shape(const unet_config& config, const shape4& images) {
    if (images.c != config.in_channels) {
        throw shape_error("the images have " + std::to_string(images.c) + " channels, the network takes " +
                          std::to_string(config.in_channels));
    }
    const int multiple = config.size_multiple();
    if (images.h < multiple || images.w < multiple || images.h % multiple != 0 || images.w % multiple != 0) {
        throw shape_error("the network takes images whose width and height are multiples of " +
                          std::to_string(multiple) + ", got " + std::to_string(images.w) + "x" +
                          std::to_string(images.h));
    }
}

} // namespace repaint
