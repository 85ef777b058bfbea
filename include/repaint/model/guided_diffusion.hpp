#pragma once

#include <array>
#include <vector>

#include <repaint/io/json.hpp>
#include <repaint/io/stored_tensor.hpp>
#include <repaint/model/family.hpp>
#include <repaint/model/settings.hpp>
#include <repaint/model/unet_config.hpp>

/// The guided-diffusion family of checkpoints (OpenAI's, RePaint's, and everything trained with that code): the
/// architecture is read off names and shapes, the rest comes from a JSON with that code's own keys and defaults.
namespace repaint {

namespace detail {

/// A JSON object with guided-diffusion's keys (null: none).
class official_settings : public settings_reader {
public:
    explicit official_settings(const json_value* root);

    [[nodiscard]] bool given() const { return given_; }

private:
    bool given_;
};

/// Published networks whose attention settings the file does not hold (openai/guided-diffusion's README; RePaint's
/// configurations for 256x256).
struct published_network {
    const char* name;
    int image_size;
    int model_channels;
    int res_blocks;
    std::array<int, 7> channels; // zeros at the end
    int heads;
    int head_channels;
    qkv_order order;
};

inline constexpr std::array published_networks{
    published_network{"512x512", 512, 256, 2, {128, 256, 256, 512, 512, 1024, 1024}, 4, 64, qkv_order::per_head},
    published_network{"256x256", 256, 256, 2, {256, 256, 512, 512, 1024, 1024, 0}, 4, 64, qkv_order::per_head},
    published_network{"128x128", 128, 256, 2, {256, 256, 512, 768, 1024, 0, 0}, 4, 0, qkv_order::per_head},
    published_network{"64x64", 64, 192, 3, {192, 384, 576, 768, 0, 0, 0}, 4, 64, qkv_order::grouped}};

/// The sides of the levels that a list of attention_resolutions names, for images of image_size.
std::vector<int> listed_resolutions(const std::vector<double>& resolutions, int image_size, const unet_config& config);

/// The sides of the levels that attend.
std::vector<int> attention_resolutions(int image_size, const unet_config& config);

} // namespace detail

/// True when the names are those of a guided-diffusion U-Net.
bool is_guided_diffusion(const checkpoint& file);

/// Reads the model off a checkpoint and an optional JSON (`settings`, may be null). Throws format_error when the file
/// is no such network, when a setting contradicts it, or when a setting's value is not accepted.
family_model read_guided_diffusion(const checkpoint& file, const json_value* settings);

} // namespace repaint

#ifndef REPAINT_COMPILED
#include <repaint/model/guided_diffusion.ipp>
#endif
