#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <numbers>
#include <stdexcept>
#include <vector>

#include <repaint/config.hpp>
#include <repaint/core/host_tensor.hpp>
#include <repaint/core/text.hpp>
#include <repaint/error.hpp>
#include <repaint/image/mask_shaping.hpp>

namespace repaint {

namespace detail {

/// The lower envelope of parabolas f[q] + (p - q)^2, sampled at p = 0, 1, ...: in place over `length` values that lie
/// `stride` apart. `places` and `from` are scratch of length and length + 1 values.
inline void lower_envelope(std::int64_t* values, std::size_t length, std::size_t stride, std::vector<std::int64_t>& f,
                           std::vector<std::size_t>& places, std::vector<double>& from) {
    constexpr std::int64_t far = std::numeric_limits<std::int64_t>::max();
    std::size_t count = 0;
    for (std::size_t q = 0; q < length; ++q) {
        f[q] = values[q * stride];
        if (f[q] == far) {
            continue;
        }
        const auto height = [&](std::size_t at) {
            return static_cast<double>(f[at]) + static_cast<double>(at) * static_cast<double>(at);
        };
        double begin = -std::numeric_limits<double>::infinity();
        while (count > 0) {
            const std::size_t last = places[count - 1];
            begin = (height(q) - height(last)) / (2.0 * (static_cast<double>(q) - static_cast<double>(last)));
            if (begin > from[count - 1]) {
                break;
            }
            --count;
            begin = -std::numeric_limits<double>::infinity();
        }
        places[count] = q;
        from[count] = begin;
        ++count;
    }
    if (count == 0) {
        return;
    }
    std::size_t k = 0;
    for (std::size_t p = 0; p < length; ++p) {
        while (k + 1 < count && from[k + 1] < static_cast<double>(p)) {
            ++k;
        }
        const auto apart = static_cast<std::int64_t>(p) - static_cast<std::int64_t>(places[k]);
        values[p * stride] = apart * apart + f[places[k]];
    }
}

/// Calls f(values of a plane, squared distances from what is not wholly known) for every plane of a mask.
template <class F> void for_each_hole(host_tensor& keep, F&& f) {
    const shape4& s = keep.shape();
    const std::size_t plane = s.plane();
    for (std::size_t begin = 0; begin < keep.size(); begin += plane) {
        float* values = keep.data() + begin;
        std::vector<bool> hole(plane);
        for (std::size_t i = 0; i < plane; ++i) {
            hole[i] = values[i] < 1.0F;
        }
        f(values, squared_distances(hole, s.w, s.h));
    }
}

inline void check_width(const char* what, double pixels) {
    if (!(pixels >= 0.0 && pixels <= 1e6)) {
        throw std::invalid_argument(
            joined_text({what, ": the width must be 0 to 1000000 pixels, got ", shortest_text(pixels)}));
    }
}

} // namespace detail

REPAINT_INLINE std::vector<std::int64_t> squared_distances(const std::vector<bool>& marked, int width, int height) {
    const auto w = static_cast<std::size_t>(std::max(width, 0));
    const auto h = static_cast<std::size_t>(std::max(height, 0));
    if (marked.size() != w * h) {
        throw shape_error(
            joined_text({"squared_distances: ", marked.size(), " pixels are not ", width, " x ", height}));
    }
    constexpr std::int64_t far = std::numeric_limits<std::int64_t>::max();
    std::vector<std::int64_t> distances(marked.size());
    for (std::size_t i = 0; i < marked.size(); ++i) {
        distances[i] = marked[i] ? 0 : far;
    }
    const std::size_t longest = std::max(w, h);
    std::vector<std::int64_t> f(longest);
    std::vector<std::size_t> places(longest);
    std::vector<double> from(longest + 1);
    for (std::size_t x = 0; x < w && h > 0; ++x) {
        detail::lower_envelope(distances.data() + x, h, w, f, places, from);
    }
    for (std::size_t y = 0; y < h && w > 0; ++y) {
        detail::lower_envelope(distances.data() + y * w, w, 1, f, places, from);
    }
    return distances;
}

REPAINT_INLINE host_tensor thresholded(host_tensor keep, float threshold) {
    if (!(threshold > 0.0F && threshold <= 1.0F)) {
        throw std::invalid_argument(joined_text({"thresholded: the threshold must be above 0 and at most 1, got ",
                                                 shortest_text(static_cast<double>(threshold))}));
    }
    for (float& value : keep.values()) {
        value = value >= threshold ? 1.0F : 0.0F;
    }
    return keep;
}

REPAINT_INLINE host_tensor grown(host_tensor keep, double pixels) {
    detail::check_width("grown", pixels);
    const auto reach = static_cast<std::int64_t>(std::floor(pixels * pixels));
    if (reach == 0) {
        return keep;
    }
    detail::for_each_hole(keep, [&](float* values, const std::vector<std::int64_t>& distances) {
        for (std::size_t i = 0; i < distances.size(); ++i) {
            if (distances[i] <= reach) {
                values[i] = 0.0F;
            }
        }
    });
    return keep;
}

REPAINT_INLINE host_tensor feathered(host_tensor keep, double pixels) {
    detail::check_width("feathered", pixels);
    if (pixels == 0.0) {
        return keep;
    }
    detail::for_each_hole(keep, [&](float* values, const std::vector<std::int64_t>& distances) {
        for (std::size_t i = 0; i < distances.size(); ++i) {
            const double part = std::sqrt(static_cast<double>(distances[i])) / (pixels + 1.0);
            if (part < 1.0) {
                const double rise = 0.5 - 0.5 * std::cos(std::numbers::pi * part);
                values[i] = std::min(values[i], static_cast<float>(rise));
            }
        }
    });
    return keep;
}

} // namespace repaint
