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
    int res_blocks = 0;            ///< on the way down; 0: unet_config::res_blocks
    bool residual_down = false;    ///< a residual block halves the rows; unet_config::resblock_updown sets it for all
    bool residual_up = false;      ///< a residual block doubles the rows; unet_config::resblock_updown sets it for all
    std::optional<attention_heads> heads = std::nullopt; ///< not given: unet_config::heads or head_channels
};

/// The order of the rows of a checkpoint's qkv weights. per_head: q, k, v of every head (guided-diffusion's legacy
/// order). grouped: all queries, all keys, all values (its "new" order). Shapes do not tell the orders apart.
enum class qkv_order { per_head, grouped };

/// The architecture of a U-Net as run-time data. It covers guided-diffusion's (Dhariwal and Nichol 2021, section 3),
/// diffusers' UNet2DModel and MONAI's DiffusionModelUNet; the defaults are guided-diffusion's.
struct unet_config {
    int in_channels = 3;
    int out_channels = 6;           ///< 2 * in_channels when the variance is learned
    int model_channels = 0;         ///< width of the timestep's sinusoids
    std::vector<unet_level> levels; ///< from full resolution down
    int res_blocks = 2;             ///< per level on the way down; one more on the way up
    int heads = 4;                  ///< per attention block, unless head_channels is set
    int heads_up = 0;               ///< per attention block on the way up; 0: heads
    int head_channels = 0;          ///< width of one head; 0: use heads
    qkv_order order = qkv_order::per_head;
    bool scale_shift_norm =
        true; ///< the embedding scales and shifts the second norm; false: it is added before the norm
    /// Residual blocks resample; false: a strided convolution halves, nearest-neighbour doubling and a convolution
    /// double.
    bool resblock_updown = false;
    int classes = 0; ///< rows of the label embedding; 0: the network is unconditional
    int norm_groups = 32;
    float norm_epsilon = 1e-5F;

    bool sine_first = false;      ///< the sinusoids: all sines, then all cosines
    double frequency_shift = 0.0; ///< f_i = 10000^(-i / (half - frequency_shift))
    int embedding_width = 0;      ///< of the MLP over timestep and label; 0: 4 * model_channels
    bool centre_input = false;    ///< the network sees 2 x - 1
    bool pad_end_only = false;    ///< strided convolutions pad one row below and one column to the right, none before
    bool middle = true;           ///< there is a middle block
    bool middle_attention = true; ///< the middle block has attention
    std::optional<int> middle_groups = std::nullopt; ///< of that attention's norm; not given: norm_groups; 0: no norm
    double middle_divisor = 1.0;                     ///< divides the sums of the middle block with its shortcuts
    bool attention_projection = true;                ///< attention ends in a linear layer

    /// Width of the MLP over timestep and label.
    [[nodiscard]] int embedding_channels() const;

    /// Residual blocks of a level on the way down; there is one more on the way up.
    [[nodiscard]] int blocks_at(std::size_t level) const;

    /// True when a residual block halves, or doubles, the rows at that level.
    [[nodiscard]] bool residual_down_at(std::size_t level) const;
    [[nodiscard]] bool residual_up_at(std::size_t level) const { return resblock_updown || levels[level].residual_up; }

    /// The name of block i of a level on the way down, "input_blocks.4". Block blocks_at(level) halves the rows.
    [[nodiscard]] std::string input_block(std::size_t level, int i) const;

    /// The name of block i of a level on the way up, "output_blocks.4". The last block also doubles the rows.
    [[nodiscard]] std::string output_block(std::size_t level, int i) const;

    /// The number that has to divide the rows and columns of an image.
    [[nodiscard]] int size_multiple() const;

    /// Heads of the attention block `name` over so many channels. up: on the way up. Throws shape_error, naming the
    /// block, when the heads do not divide the channels.
    [[nodiscard]] int heads_for(int channels, const std::string& name, bool up = false) const;

    /// Heads of the attention blocks of a level; the middle block has those of the last level. Throws as heads_for.
    [[nodiscard]] attention_heads attention_at(std::size_t level, const std::string& name, bool up = false) const;
};

namespace detail {

/// Throws std::invalid_argument unless every label is 0 to classes - 1. `who` knows them: "this network".
void check_label_range(std::span<const int> labels, int classes, const char* who);

} // namespace detail

/// Throws std::invalid_argument unless a class-conditional network has labels, each 0 to classes - 1, and any other
/// network has none.
void check_labels(const unet_config& config, std::span<const int> labels);

/// Throws shape_error unless there are images (n, c, h, w) that have the network's channels and halve evenly down to its
/// last level.
void check_image_shape(const unet_config& config, const shape4& images);

} // namespace repaint

#ifndef REPAINT_COMPILED
#include <repaint/model/unet_config.ipp>
#endif
