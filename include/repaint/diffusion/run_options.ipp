#pragma once

#include <stdexcept>
#include <string>
#include <string_view>

#include <repaint/config.hpp>
#include <repaint/core/text.hpp>
#include <repaint/diffusion/run_options.hpp>

namespace repaint {

REPAINT_COLD std::string to_string(sampling_system system) {
    switch (system) {
    case sampling_system::diffusers: return "diffusers";
    case sampling_system::monai: return "monai";
    default: return "official";
    }
}

REPAINT_COLD sampling_system parse_sampling_system(std::string_view name) {
    for (const auto system : {sampling_system::official, sampling_system::diffusers, sampling_system::monai}) {
        if (to_string(system) == name) {
            return system;
        }
    }
    throw std::invalid_argument(joined_text({"the system ", quoted(name),
                                             " is not known, accepted are official, diffusers and "
                                             "monai"}));
}

} // namespace repaint
