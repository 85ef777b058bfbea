#pragma once

#include <string>

#include <repaint/core/shape.hpp>
#include <repaint/model/diffusion_model.hpp>

namespace cli {

/// "640x480" -> (1, channels, 480, 640). Throws std::invalid_argument.
[[nodiscard]] repaint::shape4 parse_size(const std::string& text, int channels = 1);

/// The size a model is measured at: `text` if given, else what it was trained at, else 64x64 or what its levels need.
[[nodiscard]] repaint::shape4 model_size(const std::string& text, const repaint::unet_config& network,
                                         const repaint::model_description& description);

} // namespace cli
