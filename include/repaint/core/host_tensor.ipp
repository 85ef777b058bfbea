#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <repaint/config.hpp>
#include <repaint/core/host_tensor.hpp>
#include <repaint/core/shape.hpp>
#include <repaint/core/text.hpp>
#include <repaint/error.hpp>

namespace repaint {

REPAINT_INLINE host_tensor::host_tensor(shape4 shape, std::vector<float> values)
    : shape_(checked(shape)), values_(std::move(values)) {
    if (values_.size() != shape_.size()) {
        throw shape_error(joined_text(
            {"host_tensor: shape ", to_string(shape_), " needs ", shape_.size(), " values, got ", values_.size()}));
    }
}

REPAINT_INLINE std::span<const float> host_tensor::image(int i) const& {
    return values().subspan(offset(i, 0, 0, 0), image_size());
}

REPAINT_INLINE const shape4& host_tensor::checked(const shape4& s) {
    if (s.n < 0 || s.c < 0 || s.h < 0 || s.w < 0) {
        throw shape_error(joined_text({"host_tensor: negative extent in ", to_string(s)}));
    }
    return s;
}

REPAINT_INLINE std::size_t host_tensor::offset(int n, int c, int h, int w) const {
    const auto row = (static_cast<std::size_t>(n) * static_cast<std::size_t>(shape_.c) + static_cast<std::size_t>(c)) *
                         static_cast<std::size_t>(shape_.h) +
                     static_cast<std::size_t>(h);
    return row * static_cast<std::size_t>(shape_.w) + static_cast<std::size_t>(w);
}

REPAINT_INLINE host_tensor image_copy(const host_tensor& images, int i) {
    const shape4 s = images.shape();
    if (i < 0 || i >= s.n) {
        throw shape_error(joined_text({"there is no image ", i, " in ", to_string(s)}));
    }
    const auto values = images.image(i);
    return {{1, s.c, s.h, s.w}, std::vector<float>(values.begin(), values.end())};
}

REPAINT_INLINE host_tensor joined(std::span<const host_tensor> batches) {
    if (batches.empty()) {
        throw shape_error("joined: there is no batch");
    }
    shape4 all = batches.front().shape();
    all.n = 0;
    std::vector<float> values;
    for (const host_tensor& batch : batches) {
        const shape4 s = batch.shape();
        if (s.c != all.c || s.h != all.h || s.w != all.w) {
            throw shape_error(joined_text({"joined: images of ", to_string(batches.front().shape()), " and ",
                                           to_string(s), " do not fit into one batch"}));
        }
        all.n += s.n;
        values.insert(values.end(), batch.values().begin(), batch.values().end());
    }
    return {all, std::move(values)};
}

REPAINT_INLINE std::size_t not_finite(std::span<const float> values) {
    constexpr std::uint32_t exponent = 0x7F800000U; // all of it set: NaN or infinite
    std::size_t count = 0;
    for (const float value : values) {
        count += (std::bit_cast<std::uint32_t>(value) & exponent) == exponent ? 1U : 0U;
    }
    return count;
}

} // namespace repaint
