#pragma once

#include <repaint/backend/cpu.hpp>

/// cpu_backend with direct convolutions only.
class strict_cpu_backend : public repaint::cpu_backend {
public:
    strict_cpu_backend() : repaint::cpu_backend({.strict = true}) {}
};
