#pragma once

#include <cstddef>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <repaint/config.hpp>
#include <repaint/core/text.hpp>
#include <repaint/error.hpp>
#include <repaint/inpainter.hpp>

namespace repaint {

REPAINT_COLD std::vector<int> labels_for(const unet_config& network, std::vector<int> labels, int images) {
    if (labels.size() == 1) {
        labels.resize(static_cast<std::size_t>(images), labels.front());
    }
    check_labels(network, labels);
    if (!labels.empty() && labels.size() != static_cast<std::size_t>(images)) {
        throw std::invalid_argument(
            joined_text({labels.size(), " labels were given for ", images, " images: give one, or one for each"}));
    }
    return labels;
}

namespace detail {

REPAINT_COLD void check_own_images(const shape4& images, const std::vector<int>& labels) {
    if (images.n < 1 || images.c < 1 || images.h < 1 || images.w < 1) {
        throw shape_error(joined_text(
            {"there is nothing to fill in images ", to_string(images), ": every extent must be 1 or more"}));
    }
    if (!labels.empty()) {
        throw std::invalid_argument("labels were given, which a denoiser of one's own takes by itself");
    }
}

} // namespace detail

} // namespace repaint
