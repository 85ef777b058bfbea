#pragma once

#include <optional>

namespace repaint {

/// How the timesteps of a run are spread over those of the training (Lin et al. 2024, table 2): in equal strides from
/// the first, evenly over both ends, or in equal strides from the last.
enum class timestep_spacing { leading, linspace, trailing };

/// What a scheduler's configuration says about sampling, beside the training schedule. Unconditional sampling with the
/// algorithms diffusers and monai follows it, and inpainting with monai. RePaintScheduler has nothing of the kind, so
/// inpainting with diffusers does not, nor does the official algorithm.
struct scheduler_settings {
    std::optional<timestep_spacing> spacing = std::nullopt; ///< none: leading with diffusers, linspace with monai
    int offset = 0;         ///< added to every timestep; diffusers: of leading ones only
    bool ends_clean = true; ///< DDIM's last step leads to the clean image, else to what timestep 0 holds
    bool ddim = false;      ///< steps are DDIM's, with eta 0 unless one is given
};

} // namespace repaint
