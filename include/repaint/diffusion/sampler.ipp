#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>

#include <repaint/config.hpp>
#include <repaint/diffusion/sampler.hpp>

namespace repaint::detail {

inline double seconds_now() {
    return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

REPAINT_COLD waiting_rhythm::waiting_rhythm() : last_(seconds_now()) {}

REPAINT_COLD void waiting_rhythm::waited() {
    constexpr double aim = 0.1;
    const double now = seconds_now();
    const double each = (now - last_) / static_cast<double>(count_);
    // The first transitions make plans: what they take says little about the others.
    const double most = 2.0 * static_cast<double>(count_);
    next_ = static_cast<std::size_t>(std::max(1.0, each * most > aim ? aim / each : most));
    count_ = 0;
    last_ = now;
}

} // namespace repaint::detail
