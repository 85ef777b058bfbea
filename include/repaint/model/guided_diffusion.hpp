#pragma once

#include <vector>

#include <repaint/io/json.hpp>
#include <repaint/io/stored_tensor.hpp>
#include <repaint/model/family_model.hpp>
#include <repaint/model/settings.hpp>
#include <repaint/model/unet_config.hpp>

/// The guided-diffusion family of checkpoints (OpenAI's, RePaint's, and everything trained with that code): the
/// architecture is read off names and shapes, the rest comes from a JSON with that code's own keys and defaults.
namespace repaint {

namespace detail {

/// The settings of a JSON object with guided-diffusion's keys. root: null when there is no JSON.
class official_settings : public settings_reader {
public:
    /// Throws format_error unless root is null or an object.
    explicit official_settings(const json_value* root);

    /// True when there is a JSON.
    [[nodiscard]] bool given() const { return given_; }

private:
    bool given_;
};

/// The rows of an image at the levels that a list of attention_resolutions names, for images of image_size rows.
std::vector<int> listed_resolutions(const std::vector<double>& resolutions, int image_size, const unet_config& config);

/// The rows of an image at the levels with attention, for images of image_size rows.
std::vector<int> attention_resolutions(int image_size, const unet_config& config);

} // namespace detail

/// True when the names are those of a guided-diffusion U-Net.
bool is_guided_diffusion(const checkpoint& file);

/// Reads the model off a checkpoint and a JSON. settings: null when there is no JSON. Throws format_error when the file
/// is no guided-diffusion U-Net, when a setting contradicts the tensors, or when a setting's value is not accepted.
family_model read_guided_diffusion(const checkpoint& file, const json_value* settings);

} // namespace repaint

#ifndef REPAINT_COMPILED
#include <repaint/model/guided_diffusion.ipp>
#endif
