#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include <repaint/diffusion/process.hpp>
#include <repaint/model/unet.hpp>

namespace repaint {

/// What was found out about a model while reading it, for people.
struct model_description {
    std::string family; ///< "guided-diffusion U-Net"
    std::string format; ///< of the file
    std::size_t tensors = 0;
    std::uint64_t parameters = 0;
    int image_size = 0;               ///< rows and columns it was trained at; 0: the files do not say
    std::string schedule;             ///< "linear, 1000 steps"
    std::vector<std::string> remarks; ///< what was assumed, ignored or taken from where
};

/// A network that is ready to sample from.
template <class B> struct diffusion_model {
    unet<B> network;
    diffusion_settings diffusion;
    model_description description;
};

} // namespace repaint
