#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <span>
#include <stdexcept>
#include <string>

#include <repaint/config.hpp>
#include <repaint/error.hpp>
#include <repaint/model/classifier.hpp>
#include <repaint/model/unet_config.hpp>
#include <repaint/ops.hpp>

namespace repaint {

REPAINT_INLINE void check_image_shape(const classifier_config& config, const shape4& images) {
    check_image_shape(config.body, images);
    if (config.image_size > 0 && (images.h != config.image_size || images.w != config.image_size)) {
        throw shape_error("the classifier takes images of " + std::to_string(config.image_size) + "x" +
                          std::to_string(config.image_size) + ", got " + std::to_string(images.w) + "x" +
                          std::to_string(images.h));
    }
}

REPAINT_INLINE void check_labels(const classifier_config& config, std::span<const int> labels) {
    const std::string known = "0 to " + std::to_string(config.classes - 1);
    if (labels.empty()) {
        throw std::invalid_argument("a classifier guides towards a class: give a label from " + known +
                                    " for each picture");
    }
    for (const int label : labels) {
        if (label < 0 || label >= config.classes) {
            throw std::invalid_argument("label " + std::to_string(label) + " is out of range, the classifier knows " +
                                        known);
        }
    }
}

REPAINT_INLINE void check_guides(const classifier_config& config, const unet_config& network) {
    if (config.body.in_channels != network.in_channels) {
        throw std::invalid_argument("the classifier takes images of " + std::to_string(config.body.in_channels) +
                                    " channels, the network that it is to guide images of " +
                                    std::to_string(network.in_channels));
    }
    if (network.classes > 0 && config.classes != network.classes) {
        throw std::invalid_argument("the classifier knows " + std::to_string(config.classes) +
                                    " classes, the network that it is to guide " + std::to_string(network.classes) +
                                    ": a label has to mean the same to both");
    }
}

} // namespace repaint
