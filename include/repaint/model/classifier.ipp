#pragma once

#include <algorithm>
#include <cstddef>
#include <span>
#include <stdexcept>
#include <string>

#include <repaint/config.hpp>
#include <repaint/core/text.hpp>
#include <repaint/error.hpp>
#include <repaint/model/classifier.hpp>
#include <repaint/model/unet_config.hpp>

namespace repaint {

REPAINT_COLD std::string to_string(classifier_pool pool) {
    switch (pool) {
    case classifier_pool::adaptive: return "adaptive";
    case classifier_pool::attention: return "attention";
    case classifier_pool::spatial: return "spatial";
    case classifier_pool::spatial_v2: return "spatial_v2";
    }
    return "";
}

REPAINT_COLD void check_image_shape(const classifier_config& config, const shape4& images) {
    check_image_shape(config.body, images);
    if (config.image_size > 0 && (images.h != config.image_size || images.w != config.image_size)) {
        throw shape_error(joined_text({"the classifier takes images of ", config.image_size, "x", config.image_size,
                                       ", got ", images.w, "x", images.h}));
    }
}

REPAINT_COLD void check_labels(const classifier_config& config, std::span<const int> labels) {
    if (labels.empty()) {
        throw std::invalid_argument(joined_text(
            {"a classifier guides towards a class: give a label from 0 to ", config.classes - 1, " for each picture"}));
    }
    detail::check_label_range(labels, config.classes, "the classifier");
}

REPAINT_COLD void check_guides(const classifier_config& config, const unet_config& network) {
    if (config.body.in_channels != network.in_channels) {
        throw std::invalid_argument(
            joined_text({"the classifier takes images of ", config.body.in_channels,
                         " channels, the network that it is to guide images of ", network.in_channels}));
    }
    if (network.classes > 0 && config.classes != network.classes) {
        throw std::invalid_argument(
            joined_text({"the classifier knows ", config.classes, " classes, the network that it is to guide ",
                         network.classes, ": a label has to mean the same to both"}));
    }
}

namespace detail {

REPAINT_COLD host_tensor projected_positions(const host_weights& qkv, const host_weights& bias,
                                             const host_weights& position) {
    const auto channels = static_cast<std::size_t>(position.shape.n);
    const auto tokens = static_cast<std::size_t>(position.shape.c);
    host_tensor result({1, qkv.shape.n, 1, position.shape.c});
    if (!qkv.values || !bias.values || !position.values) {
        return result;
    }
    float* to = result.data();
    for (std::size_t row = 0; row < static_cast<std::size_t>(qkv.shape.n); ++row) {
        const float* weight = qkv.values.get() + row * channels;
        for (std::size_t token = 0; token < tokens; ++token) {
            double sum = static_cast<double>(bias.values.get()[row]);
            for (std::size_t c = 0; c < channels; ++c) {
                sum += static_cast<double>(weight[c]) * static_cast<double>(position.values.get()[c * tokens + token]);
            }
            *to++ = static_cast<float>(sum);
        }
    }
    return result;
}

REPAINT_COLD host_tensor repeated(const host_tensor& one, int images) {
    host_tensor all({images, one.shape().c, one.shape().h, one.shape().w});
    for (int n = 0; n < images; ++n) {
        std::copy(one.values().begin(), one.values().end(), all.image(n).begin());
    }
    return all;
}

} // namespace detail

} // namespace repaint
