#pragma once

#include <cstddef>
#include <stdexcept>
#include <string>
#include <vector>

#include <repaint/config.hpp>
#include <repaint/diffusion/sampler.hpp>
#include <repaint/error.hpp>
#include <repaint/inpainter.hpp>

namespace repaint {

REPAINT_INLINE host_tensor composited(const host_tensor& image, const host_tensor& keep, const host_tensor& sample) {
    const shape4 s = image.shape();
    host_tensor result(s);
    for (int n = 0; n < s.n; ++n) {
        for (int c = 0; c < s.c; ++c) {
            const std::size_t plane = s.plane();
            const auto part = static_cast<std::size_t>(c) * plane;
            const float* known = image.image(n).data() + part;
            const float* drawn = sample.image(n).data() + part;
            const float* mask = keep.image(keep.shape().n == 1 ? 0 : n).data() + (keep.shape().c == 1 ? 0 : part);
            float* out = result.image(n).data() + part;
            for (std::size_t i = 0; i < plane; ++i) {
                out[i] = mask[i] == 1.0F
                             ? known[i]
                             : (mask[i] == 0.0F ? drawn[i] : mask[i] * known[i] + (1.0F - mask[i]) * drawn[i]);
            }
        }
    }
    return result;
}

REPAINT_INLINE void check_keep_mask(const shape4& i, const host_tensor& keep) {
    const shape4 k = keep.shape();
    if (k.h != i.h || k.w != i.w) {
        throw shape_error("the mask is " + std::to_string(k.w) + "x" + std::to_string(k.h) + ", the picture is " +
                          std::to_string(i.w) + "x" + std::to_string(i.h) + ": they must have the same size");
    }
    if ((k.n != 1 && k.n != i.n) || (k.c != 1 && k.c != i.c)) {
        throw shape_error("keep mask " + to_string(k) + " does not fit images " + to_string(i) + ", expected (1 or " +
                          std::to_string(i.n) + ", 1 or " + std::to_string(i.c) + ", " + std::to_string(i.h) + ", " +
                          std::to_string(i.w) + ")");
    }
    for (const float value : keep.values()) {
        if (!(value >= 0.0F && value <= 1.0F)) {
            throw std::invalid_argument("a keep mask holds values from 0 (fill) to 1 (known), found " +
                                        std::to_string(value));
        }
    }
}

REPAINT_INLINE std::vector<int> labels_for(const unet_config& network, std::vector<int> labels, int images) {
    if (labels.size() == 1) {
        labels.resize(static_cast<std::size_t>(images), labels.front());
    }
    check_labels(network, labels);
    if (!labels.empty() && labels.size() != static_cast<std::size_t>(images)) {
        throw std::invalid_argument(std::to_string(labels.size()) + " labels were given for " + std::to_string(images) +
                                    " images: give one, or one for each");
    }
    return labels;
}

} // namespace repaint
