#pragma once

#include <utility>

#include <repaint/diffusion/systems/diffusers.hpp>
#include <repaint/diffusion/systems/monai.hpp>
#include <repaint/diffusion/systems/official.hpp>

namespace repaint {

/// Calls f with the type that stands for a system: official_system, diffusers_system or monai_system. The one place
/// where the choice at run time becomes a type.
template <class F> decltype(auto) with_system(sampling_system system, F&& f) {
    switch (system) {
    case sampling_system::diffusers: return std::forward<F>(f)(diffusers_system{});
    case sampling_system::monai: return std::forward<F>(f)(monai_system{});
    default: return std::forward<F>(f)(official_system{});
    }
}

} // namespace repaint
