#include "defaults.hpp"

#include <repaint/diffusion/systems.hpp>

namespace cli {

repaint::inpaint_options inpaint_defaults(repaint::sampling_system system) {
    return repaint::with_system(system, [](auto s) { return s.defaults(); });
}

repaint::sampling_options sampling_defaults(repaint::sampling_system system,
                                            const repaint::scheduler_settings& scheduler,
                                            const std::optional<double>& eta) {
    auto options = repaint::with_system(system, [](auto s) { return s.sampling_defaults(); });
    options.eta = eta;
    if (system == repaint::sampling_system::diffusers && (eta || scheduler.ddim)) {
        options.timesteps = 50; // DDIMPipeline's own
    }
    return options;
}

} // namespace cli
