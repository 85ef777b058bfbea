#pragma once

#include <cstddef>
#include <optional>
#include <vector>

#include <repaint/core/step_values.hpp>
#include <repaint/diffusion/process.hpp>
#include <repaint/diffusion/run_options.hpp>

namespace repaint {

/// All that a run needs to know besides network and images.
struct run_plan {
    sampling_system system = sampling_system::official;
    diffusion_process process;                  ///< what the network is told at each index, and the official steps
    std::optional<scheduled_process> scheduled; ///< the steps of diffusers and MONAI
    std::vector<transition> walk;               ///< in the order in which they are made
    std::size_t evaluations = 0;                ///< of the network, over the whole walk
};

} // namespace repaint
