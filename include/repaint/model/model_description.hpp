#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace repaint {

/// What was found out about a model while it was read, for people.
struct model_description {
    std::string family; ///< "guided-diffusion U-Net"
    std::string format; ///< of the file
    std::size_t tensors = 0;
    std::uint64_t parameters = 0;
    int image_size = 0;               ///< rows and columns of the images it was trained on; 0: the files do not say
    std::string schedule;             ///< "linear, 1000 steps"
    std::vector<std::string> remarks; ///< what was assumed, what was ignored, and where settings come from
};

} // namespace repaint
