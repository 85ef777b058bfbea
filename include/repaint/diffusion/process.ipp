#pragma once

#include <repaint/config.hpp>
#include <repaint/diffusion/process.hpp>

namespace repaint {

REPAINT_COLD posterior diffusion_process::reverse(int t) const {
    posterior p = eta ? schedule.ddim(t, reading.prediction, *eta, reading.clip)
                      : schedule.reverse(t, reading.prediction, reading.variance, reading.clip);
    p.limits = reading.limits;
    return p;
}

REPAINT_COLD posterior scheduled_process::ddim(int from, int to) const {
    posterior p = training.ddim(from, to, reading.prediction, static_cast<float>(eta.value_or(0.0)), reading.clip);
    p.limits = reading.limits;
    return p;
}

REPAINT_COLD posterior scheduled_process::ancestral(int from, int to, float beta, variance_type read_as) const {
    posterior p = training.ancestral(from, to, beta, reading.prediction, read_as, reading.clip);
    p.limits = reading.limits;
    return p;
}

REPAINT_COLD diffusion_process diffusion_settings::respaced(std::string_view spec) const {
    return {training.respaced(spec), reading, std::nullopt};
}

} // namespace repaint
