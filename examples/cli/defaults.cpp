#include "defaults.hpp"

namespace cli {

repaint::inpaint_options inpaint_defaults(repaint::algorithm algorithm) {
    repaint::inpaint_options options;
    options.algorithm = algorithm;
    if (algorithm == repaint::algorithm::monai) {
        options.timesteps = ""; // all
        options.jumps.n_sample = 4;
    }
    return options;
}

repaint::sampling_options sampling_defaults(repaint::algorithm algorithm, const repaint::scheduler_settings& scheduler,
                                            const std::optional<double>& eta) {
    repaint::sampling_options options;
    options.algorithm = algorithm;
    options.eta = eta;
    if (algorithm == repaint::algorithm::diffusers && (eta || scheduler.ddim)) {
        options.timesteps = 50;
    } else if (algorithm != repaint::algorithm::official) {
        options.timesteps = ""; // all
    }
    return options;
}

} // namespace cli
