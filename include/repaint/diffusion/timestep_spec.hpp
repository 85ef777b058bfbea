#pragma once

#include <string>
#include <utility>

namespace repaint {

/// Which of the training timesteps a run visits, in the official notation: 250 or "250" evenly spaced ones, "10,15,20"
/// by sections, "ddim25" with an integer stride, "" all of them.
struct timestep_spec {
    std::string text;

    timestep_spec(int count) : text(std::to_string(count)) {}  // NOLINT: 250 and "250" mean the same
    timestep_spec(std::string spec) : text(std::move(spec)) {} // NOLINT
    timestep_spec(const char* spec) : text(spec) {}            // NOLINT
};

} // namespace repaint
