#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <span>
#include <stdexcept>
#include <string>

#include <repaint/config.hpp>
#include <repaint/core/text.hpp>
#include <repaint/diffusion/class_guidance.hpp>
#include <repaint/model/unet_config.hpp>

namespace repaint {

REPAINT_COLD host_tensor class_cotangent(const host_tensor& logits, std::span<const int> labels, float scale) {
    const shape4 s = logits.shape();
    if (labels.size() != static_cast<std::size_t>(s.n)) {
        throw std::invalid_argument(joined_text({labels.size(), " labels were given to guide ", s.n, " images"}));
    }
    detail::check_label_range(labels, s.c, "the classifier");
    host_tensor result(s);
    for (int n = 0; n < s.n; ++n) {
        const int label = labels[static_cast<std::size_t>(n)];
        double largest = static_cast<double>(logits(n, 0, 0, 0));
        for (int c = 1; c < s.c; ++c) {
            largest = std::max(largest, static_cast<double>(logits(n, c, 0, 0)));
        }
        double sum = 0.0;
        for (int c = 0; c < s.c; ++c) {
            sum += std::exp(static_cast<double>(logits(n, c, 0, 0)) - largest);
        }
        for (int c = 0; c < s.c; ++c) {
            const double share = std::exp(static_cast<double>(logits(n, c, 0, 0)) - largest) / sum;
            result(n, c, 0, 0) = scale * static_cast<float>((c == label ? 1.0 : 0.0) - share);
        }
    }
    return result;
}

} // namespace repaint
