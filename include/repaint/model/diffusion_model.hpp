#pragma once

#include <repaint/diffusion/process.hpp>
#include <repaint/model/model_description.hpp>
#include <repaint/model/unet.hpp>

namespace repaint {

/// A network on a backend, with everything that sampling has to know about it.
template <class B> struct diffusion_model {
    unet<B> network;
    diffusion_settings diffusion;
    model_description description;
};

} // namespace repaint
