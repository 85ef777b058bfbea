#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

/// Which of the training timesteps a run visits: what it is asked, and what each system makes of that.
namespace repaint {

/// Which of the training timesteps a run visits, in the official notation: 250 or "250" evenly spaced ones, "10,15,20"
/// by sections, "ddim25" with an integer stride, "" all of them.
struct timestep_spec {
    std::string text;

    timestep_spec(int count) : text(std::to_string(count)) {}  // NOLINT: 250 and "250" mean the same
    timestep_spec(std::string spec) : text(std::move(spec)) {} // NOLINT
    timestep_spec(const char* spec) : text(spec) {}            // NOLINT
};

/// How the timesteps of a run are spread over those of the training (Lin et al. 2024, table 2): in equal strides from
/// the first, evenly over both ends, or in equal strides from the last.
enum class timestep_spacing { leading, linspace, trailing };

/// What a scheduler's configuration says about sampling, beside the training schedule. Unconditional sampling with the
/// systems diffusers and monai follows it, and inpainting with monai. RePaintScheduler has nothing of the kind, so
/// inpainting with diffusers does not, nor does the official system.
struct scheduler_settings {
    std::optional<timestep_spacing> spacing = std::nullopt; ///< none: leading with diffusers, linspace with monai
    int offset = 0;         ///< added to every timestep; diffusers: of leading ones only
    bool ends_clean = true; ///< DDIM's last step leads to the clean image, else to what timestep 0 holds
    bool ddim = false;      ///< steps are DDIM's, with eta 0 unless one is given
};

/// The timesteps of a schedule of `steps` that a respacing keeps, ascending. spec: "" keeps all; "250" or "10,15,20"
/// spread that many evenly over each of as many equal sections, both ends included; "ddim25" takes every k-th, starting
/// at 0. Positions are rounded half to even from an accumulated float64 stride (Nichol and Dhariwal 2021). Throws
/// std::invalid_argument when spec is none of these or asks for more timesteps than there are.
[[nodiscard]] std::vector<int> respaced_timesteps(int steps, std::string_view spec);

/// The timesteps that RePaintScheduler visits, ascending: every (steps / count)-th, from 0; the last ones are left out.
/// spec: a plain count, more than there are being all, as "" is. Throws std::invalid_argument.
[[nodiscard]] std::vector<int> diffusers_timesteps(int steps, std::string_view spec);

/// The timesteps that diffusers' DDPMScheduler and DDIMScheduler visit, ascending. spec: a plain count, "" for all. With
/// `trailing` some counts, such as 61 of 1000, make diffusers visit one timestep more, -1, by a rounding error; here they
/// do not. Throws std::invalid_argument, also when the offset leads past the last timestep.
[[nodiscard]] std::vector<int> diffusers_sampling_timesteps(int steps, std::string_view spec,
                                                            const scheduler_settings& scheduler);

/// The timesteps that MONAI's schedulers visit, ascending. spec: "" for all; "300" spread over 0 ... steps - 1, both
/// ends included, as MONAI does since 1.6; "ddim300", or "300" when the settings say leading, every (steps / 300)-th
/// from 0, as MONAI Generative and MONAI up to 1.5 did. An offset moves the first. Throws std::invalid_argument, also
/// when the offset leaves too few of them.
[[nodiscard]] std::vector<int> monai_timesteps(int steps, std::string_view spec,
                                               const scheduler_settings& scheduler = {});

} // namespace repaint

#ifndef REPAINT_COMPILED
#include <repaint/diffusion/timesteps.ipp>
#endif
