#pragma once

#include <cstddef>
#include <stdexcept>
#include <string>

#include <repaint/config.hpp>
#include <repaint/core/shape.hpp>
#include <repaint/core/text.hpp>
#include <repaint/diffusion/sampling_run.hpp>
#include <repaint/error.hpp>

namespace repaint {

REPAINT_COLD void check_keep_shape(const shape4& i, const shape4& k) {
    if (k.h != i.h || k.w != i.w) {
        throw shape_error(joined_text(
            {"the mask is ", k.w, "x", k.h, ", the picture is ", i.w, "x", i.h, ": they must have the same size"}));
    }
    if ((k.n != 1 && k.n != i.n) || (k.c != 1 && k.c != i.c)) {
        throw shape_error(joined_text({"keep mask ", to_string(k), " does not fit images ", to_string(i),
                                       ", expected (1 or ", i.n, ", 1 or ", i.c, ", ", i.h, ", ", i.w, ")"}));
    }
}

REPAINT_COLD void check_keep_mask(const shape4& images, const host_tensor& keep) {
    check_keep_shape(images, keep.shape());
    for (const float value : keep.values()) {
        if (!(value >= 0.0F && value <= 1.0F)) {
            throw std::invalid_argument(
                joined_text({"a keep mask holds values from 0 (fill) to 1 (known), found ", value}));
        }
    }
}

REPAINT_COLD host_tensor keep_known(const host_tensor& image, const host_tensor& keep, const host_tensor& sample) {
    const shape4 s = image.shape();
    if (sample.shape() != s) {
        throw shape_error(joined_text({"keep_known: images ", to_string(s), " and samples ", to_string(sample.shape()),
                                       " must have the same shape"}));
    }
    check_keep_shape(s, keep.shape());
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

namespace detail {

REPAINT_COLD void check_saved(const host_tensor& x, std::size_t position, const shape4& images,
                              std::size_t transitions) {
    if (x.shape() != images || position > transitions) {
        throw shape_error(joined_text({"the saved state is of ", to_string(x.shape()), " at transition ", position,
                                       ", this run is of ", to_string(images), " with ", transitions, " transitions"}));
    }
}

} // namespace detail

} // namespace repaint
