#pragma once

#include <array>
#include <cstddef>
#include <string>
#include <vector>

#include <repaint/core/text.hpp>
#include <repaint/io/stored_tensor.hpp>
#include <repaint/model/unet_config.hpp>
#include <repaint/model/weight_map.hpp>

namespace repaint {

namespace detail {

/// How a family names the layers inside its blocks, when the blocks themselves have the names that diffusers and MONAI
/// share (down_blocks.0.resnets.0 and so on). Each word follows a block's name; `first`, `time_*`, `middle` and `last*`
/// are whole names.
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
    std::string down, down_conv;       ///< what halves the rows: its name in a level, and that of its convolution
    std::string up, up_conv;           ///< what doubles the rows: its name in a level, and that of its convolution
    std::array<std::string, 3> middle; ///< residual, attention, residual
    std::string last_norm, last;

    [[nodiscard]] static std::string down_level(std::size_t level) { return joined_text({"down_blocks.", level}); }
    [[nodiscard]] static std::string up_level(std::size_t level, std::size_t levels);
    [[nodiscard]] static std::string residual(const std::string& level, int i);
    [[nodiscard]] static std::string attention(const std::string& level, int i);
};

/// The architecture as far as names and shapes tell it; heads, groups and the like keep their defaults. Throws
/// format_error, naming the tensor, when names and shapes do not describe a U-Net of this family.
unet_config infer_blocks(const checkpoint& file, const block_words& words);

/// The names that the file gives to the tensors of the network `config`.
name_map names_of_blocks(const checkpoint& file, const unet_config& config, const block_words& words);

} // namespace detail

} // namespace repaint

#ifndef REPAINT_COMPILED
#include <repaint/model/block_names.ipp>
#endif
