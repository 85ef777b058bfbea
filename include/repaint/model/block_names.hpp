#pragma once

#include <array>
#include <cstddef>
#include <string>
#include <vector>

#include <repaint/io/stored_tensor.hpp>
#include <repaint/model/unet_config.hpp>
#include <repaint/model/weight_map.hpp>

namespace repaint {

namespace detail {

/// The words of a family whose tensors are called down_blocks.0.resnets.0.norm1.weight and so on, as in diffusers and
/// MONAI: what follows each block's own name.
struct block_words {
    const char* family = "";
    std::string first;          ///< convolution
    std::string time_first;     ///< linear layer
    std::string time_second;    ///< linear layer
    std::string conv1, conv2;   ///< of a residual block
    std::string shortcut;       ///< of a residual block
    std::string attention_norm; ///< of an attention block
    std::vector<std::string> qkv;
    std::string projection;            ///< of an attention block
    std::string down, down_conv;       ///< what halves: its name in a level, and of its convolution when it is one
    std::string up, up_conv;           ///< what doubles
    std::array<std::string, 3> middle; ///< residual, attention, residual
    std::string last_norm, last;

    [[nodiscard]] static std::string down_level(std::size_t level) { return "down_blocks." + std::to_string(level); }
    [[nodiscard]] static std::string up_level(std::size_t level, std::size_t levels);
    [[nodiscard]] static std::string residual(const std::string& level, int i);
    [[nodiscard]] static std::string attention(const std::string& level, int i);
};

/// Everything about the architecture that names and shapes tell; heads, groups and the like are left at their defaults.
/// Throws format_error, naming the tensor, when they do not describe such a U-Net.
unet_config infer_blocks(const checkpoint& file, const block_words& words);

/// What the file calls the tensors of that network.
name_map names_of_blocks(const checkpoint& file, const unet_config& config, const block_words& words);

} // namespace detail

} // namespace repaint

#ifndef REPAINT_COMPILED
#include <repaint/model/block_names.ipp>
#endif
