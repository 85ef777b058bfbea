#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include <repaint/core/shape.hpp>

namespace repaint {

/// Heads of an attention block and the channels of each. Their product, the width of queries, keys and values, may
/// differ from the channels that go in and come out.
struct attention_heads {
    int count = 1;
    int channels = 0;
};

/// One resolution of a U-Net, each half the one before.
struct unet_level {
    int channels = 0;
    bool attention = false;
    bool attention_up = attention; ///< on the way up
    int res_blocks = 0;            ///< 0: unet_config::res_blocks
    bool residual_down = false;    ///< a residual block halves what goes to the next level; so it is, too, when
    bool residual_up = false;      ///< and doubles what goes back up;   unet_config::resblock_updown says so for all
    std::optional<attention_heads> heads = std::nullopt; ///< not given: as unet_config says
};

/// How the rows of a checkpoint's qkv weights are ordered: per head q, k, v (guided-diffusion's legacy order), or all
/// queries, then all keys, then all values (its "new" order). Shapes do not tell them apart.
enum class qkv_order { per_head, grouped };

/// The architecture of a U-Net as run-time data: guided-diffusion's (Dhariwal and Nichol 2021, section 3), and what
/// diffusers' UNet2DModel and MONAI's DiffusionModelUNet have otherwise.
struct unet_config {
    int in_channels = 3;
    int out_channels = 6;           ///< 2 * in_channels when the variance is learned
    int model_channels = 0;         ///< width of the timestep's sinusoids
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

    bool sine_first = false;      ///< the sinusoids: all sines, then all cosines
    double frequency_shift = 0.0; ///< f_i = 10000^(-i / (half - frequency_shift))
    int embedding_width = 0;      ///< of the MLP over timestep and label; 0: 4 * model_channels
    bool centre_input = false;    ///< the network sees 2 x - 1
    bool pad_end_only = false;    ///< strided convolutions have a row of zeros below and a column to the right only
    bool middle = true;           ///< there is a middle block
    bool middle_attention = true; ///< and it has attention
    std::optional<int> middle_groups = std::nullopt; ///< of its norm; not given: norm_groups; 0: it has no norm
    double middle_divisor = 1.0;      ///< what the sums of the middle block with its shortcuts are divided by
    bool attention_projection = true; ///< attention ends in a linear layer

    [[nodiscard]] int embedding_channels() const;

    /// Residual blocks of a level on the way down; one more on the way up.
    [[nodiscard]] int blocks_at(std::size_t level) const;

    [[nodiscard]] bool residual_down_at(std::size_t level) const;
    [[nodiscard]] bool residual_up_at(std::size_t level) const { return resblock_updown || levels[level].residual_up; }

    /// What a step of the way down is called: block i of a level; i = blocks_at(level) is what halves.
    [[nodiscard]] std::string input_block(std::size_t level, int i) const;

    /// What a step of the way up is called: block i of a level; the last also doubles.
    [[nodiscard]] std::string output_block(std::size_t level, int i) const;

    /// Rows and columns of an image must be multiples of this.
    [[nodiscard]] int size_multiple() const;

    /// Heads of an attention block. Throws shape_error, naming the block, when they do not divide its channels.
    [[nodiscard]] int heads_for(int channels, const std::string& name, bool up = false) const;

    /// Heads of the attention blocks of a level, those of the last being the middle block's too. Throws as heads_for.
    [[nodiscard]] attention_heads attention_at(std::size_t level, const std::string& name, bool up = false) const;
};

namespace detail {

/// Throws std::invalid_argument unless every label is 0 to classes - 1. `who` knows them: "this network".
void check_label_range(std::span<const int> labels, int classes, const char* who);

} // namespace detail

/// Throws std::invalid_argument unless labels are given exactly when the network is class-conditional, each in range.
void check_labels(const unet_config& config, std::span<const int> labels);

/// Throws shape_error unless images (n, c, h, w) have the network's channels and halve evenly down to its last level.
void check_image_shape(const unet_config& config, const shape4& images);

} // namespace repaint

#ifndef REPAINT_COMPILED
#include <repaint/model/unet_config.ipp>
#endif
