#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <repaint/config.hpp>
#include <repaint/core/text.hpp>
#include <repaint/error.hpp>
#include <repaint/evaluation/comparison.hpp>
#include <repaint/evaluation/lpips.hpp>
#include <repaint/io/bytes.hpp>
#include <repaint/io/checkpoint.hpp>
#include <repaint/model/network_location.hpp>
#include <repaint/model/weight_map.hpp>
#include <repaint/ops.hpp>

namespace repaint {

namespace detail {

/// The name in torchvision's AlexNet or lpips' linear layers of a tensor of any accepted file; empty for a tensor that
/// LPIPS does not use.
inline std::string lpips_name(const std::string& name) {
    std::string_view rest = name;
    if (rest.starts_with("classifier.")) {
        return {};
    }
    if (rest.starts_with("net.")) {
        rest.remove_prefix(4);
    }
    if (rest.starts_with("slice") && rest.size() > 7 && rest[6] == '.') {
        return joined_text({"features.", std::string(rest.substr(7))}); // slice2.3.weight
    }
    if (rest.starts_with("lins.") && rest.size() > 6 && rest[6] == '.') {
        return joined_text(
            {"lin", std::string(rest.substr(5))}); // lins.0.model.1.weight, the same as lin0.model.1.weight
    }
    return name;
}

REPAINT_INLINE void check_lpips_images(const shape4& images) {
    if (images.c != 1 && images.c != 3) {
        throw shape_error(joined_text({"lpips: images ", to_string(images), " must have 3 channels, or 1 for grey"}));
    }
    if (images.h < alexnet_smallest_side || images.w < alexnet_smallest_side) {
        throw shape_error(joined_text({"lpips: images ", to_string(images), " are too small for AlexNet, which needs ",
                                       alexnet_smallest_side, " pixels a side"}));
    }
}

REPAINT_INLINE host_tensor lpips_input(const host_tensor& images, int i, const std::array<float, 3>& shift,
                                       const std::array<float, 3>& scale) {
    const shape4& s = images.shape();
    host_tensor x({1, 3, s.h, s.w});
    float* to = x.data();
    for (int c = 0; c < 3; ++c) {
        const float* from = plane_of(images, i, c);
        const auto channel = static_cast<std::size_t>(c);
        for (std::size_t at = 0; at < s.plane(); ++at) {
            *to++ = (from[at] - shift[channel]) / scale[channel];
        }
    }
    return x;
}

REPAINT_INLINE host_tensor max_pool_3x3_stride_2(const host_tensor& x) {
    const shape4& s = x.shape();
    host_tensor y({s.n, s.c, (s.h - 3) / 2 + 1, (s.w - 3) / 2 + 1});
    const auto in_width = static_cast<std::size_t>(s.w);
    const auto width = static_cast<std::size_t>(y.shape().w);
    const auto height = static_cast<std::size_t>(y.shape().h);
    const float* from = x.data();
    float* to = y.data();
    const std::size_t planes = static_cast<std::size_t>(s.n) * static_cast<std::size_t>(s.c);
    for (std::size_t plane = 0; plane < planes; ++plane, from += s.plane()) {
        for (std::size_t i = 0; i < height; ++i) {
            for (std::size_t j = 0; j < width; ++j) {
                const float* corner = from + 2 * i * in_width + 2 * j;
                float largest = corner[0];
                for (std::size_t row = 0; row < 3; ++row) {
                    for (std::size_t column = 0; column < 3; ++column) {
                        largest = std::max(largest, corner[row * in_width + column]);
                    }
                }
                *to++ = largest;
            }
        }
    }
    return y;
}

REPAINT_INLINE void normalise_channels(host_tensor& x) {
    const shape4& s = x.shape();
    const std::size_t plane = s.plane();
    std::vector<double> factor(plane);
    for (int n = 0; n < s.n; ++n) {
        float* const first = x.image(n).data();
        float* const last = first + x.image(n).size();
        std::fill(factor.begin(), factor.end(), 0.0);
        for (const float* channel = first; channel != last; channel += plane) {
            for (std::size_t at = 0; at < plane; ++at) {
                factor[at] += static_cast<double>(channel[at]) * static_cast<double>(channel[at]);
            }
        }
        for (double& squares : factor) {
            squares = 1.0 / (std::sqrt(squares) + 1e-10);
        }
        for (float* channel = first; channel != last; channel += plane) {
            for (std::size_t at = 0; at < plane; ++at) {
                channel[at] = static_cast<float>(static_cast<double>(channel[at]) * factor[at]);
            }
        }
    }
}

/// Adds map (h, w), stretched bilinearly to height x width, to sum. Pixels are squares and their values stand in the
/// centre (align_corners=False).
inline void add_stretched(const std::vector<double>& map, int h, int w, std::vector<double>& sum, int height,
                          int width) {
    struct sample {
        std::size_t first;
        std::size_t second;
        double part; ///< the weight of the second
    };
    const auto samples = [](int from, int to) {
        std::vector<sample> result;
        for (int at = 0; at < to; ++at) {
            const double place = std::max(0.0, (at + 0.5) * from / to - 0.5);
            const auto first = static_cast<std::size_t>(place);
            result.push_back(
                {first, std::min(first + 1, static_cast<std::size_t>(from) - 1), place - static_cast<double>(first)});
        }
        return result;
    };
    const auto rows = samples(h, height);
    const auto columns = samples(w, width);
    const auto stride = static_cast<std::size_t>(w);
    auto to = sum.begin();
    for (const auto& row : rows) {
        const double* upper = map.data() + row.first * stride;
        const double* lower = map.data() + row.second * stride;
        for (const auto& column : columns) {
            const double above = upper[column.first] + column.part * (upper[column.second] - upper[column.first]);
            const double below = lower[column.first] + column.part * (lower[column.second] - lower[column.first]);
            *to++ += above + row.part * (below - above);
        }
    }
}

} // namespace detail

REPAINT_INLINE lpips_weights find_lpips_weights(std::span<const checkpoint> parts) {
    checkpoint all;
    std::string files;
    std::map<std::string, std::size_t> origins;
    for (std::size_t part = 0; part < parts.size(); ++part) {
        files += (files.empty() ? "" : ", ") + shown(parts[part].path);
        for (const auto& [given, tensor] : parts[part].tensors) {
            const std::string name = detail::lpips_name(given);
            if (name.empty()) {
                continue;
            }
            const auto [origin, added] = origins.emplace(name, part);
            if (!added && origin->second != part) {
                throw format_error(joined_text({shown(parts[part].path), ": ", printable(given), " is also in ",
                                                shown(parts[origin->second].path)}));
            }
            all.tensors.emplace(name, tensor);
        }
    }
    all.path = files;

    std::string missing;
    std::vector<std::string> needed;
    for (std::size_t i = 0; i < detail::alexnet.size(); ++i) {
        const std::string convolution = joined_text({"features.", detail::alexnet[i].index});
        needed.insert(needed.end(), {joined_text({convolution, ".weight"}), joined_text({convolution, ".bias"})});
    }
    for (std::size_t i = 0; i < detail::alexnet.size(); ++i) {
        needed.push_back(joined_text({"lin", i, ".model.1.weight"}));
    }
    for (const auto& name : needed) {
        if (all.tensors.count(name) == 0) {
            missing += (missing.empty() ? "" : ", ") + name;
        }
    }
    if (!missing.empty()) {
        throw format_error(
            joined_text({shown(all.path), ": LPIPS also needs ", missing,
                         "; the convolutions (features) are in torchvision's AlexNet, the linear layers (lin) in "
                         "alex.pth of lpips"}));
    }

    weight_map weights(all);
    lpips_weights result;
    for (std::size_t i = 0; i < detail::alexnet.size(); ++i) {
        const auto& stage = detail::alexnet[i];
        auto convolution = weights[joined_text({"features.", stage.index})];
        result.kernels[i] = convolution.take("weight", {stage.out, stage.in, stage.kernel, stage.kernel});
        result.biases[i] = convolution.take("bias", {stage.out, 1, 1, 1});
        result.linear[i] = weights.take(joined_text({"lin", i, ".model.1.weight"}), {1, stage.out, 1, 1});
    }
    for (const auto& [name, values] :
         {std::pair("scaling_layer.shift", &result.shift), std::pair("scaling_layer.scale", &result.scale)}) {
        if (weights.has(name)) {
            const auto given = weights.take(name, {1, 3, 1, 1});
            if (given.values != nullptr) {
                std::copy_n(given.values.get(), values->size(), values->begin());
            }
        }
    }
    weights.finish();
    return result;
}

REPAINT_INLINE lpips_weights read_lpips_weights(std::span<const std::string> files) {
    std::vector<checkpoint> parts;
    for (const auto& file : files) {
        parts.push_back(locate_network(read_checkpoint(file))); // which strips a prefix, if all names carry one
    }
    return find_lpips_weights(parts);
}

namespace detail {

/// The weighted squared distance of two images' features at every pixel of a stage.
inline std::vector<double> lpips_stage(const lpips_features& a, int i, const lpips_features& b, int j,
                                       std::size_t stage) {
    const float* x = a.stages[stage].image(i).data();
    const float* y = b.stages[stage].image(j).data();
    const std::size_t plane = a.stages[stage].shape().plane();
    std::vector<double> map(plane, 0.0);
    for (const float weight : (*a.linear)[stage]) {
        for (std::size_t at = 0; at < plane; ++at) {
            const double difference = static_cast<double>(x[at]) - static_cast<double>(y[at]);
            map[at] += static_cast<double>(weight) * difference * difference;
        }
        x += plane;
        y += plane;
    }
    return map;
}

REPAINT_INLINE double lpips_distance(const lpips_features& a, int i, const lpips_features& b, int j,
                                     const host_tensor* keep, int k) {
    const shape4& s = a.images;
    double sum = 0.0;
    std::vector<double> stretched(keep == nullptr ? 0 : s.plane(), 0.0);
    for (std::size_t stage = 0; stage < a.stages.size(); ++stage) {
        const auto map = lpips_stage(a, i, b, j, stage);
        const shape4& m = a.stages[stage].shape();
        if (keep != nullptr) {
            add_stretched(map, m.h, m.w, stretched, s.h, s.w);
            continue;
        }
        double total = 0.0;
        for (const double value : map) {
            total += value;
        }
        sum += total / static_cast<double>(map.size());
    }
    if (keep == nullptr) {
        return sum;
    }
    weighted_mean mean;
    for (int c = 0; c < keep->shape().c; ++c) {
        const float* known = plane_of(*keep, k, c);
        for (std::size_t at = 0; at < stretched.size(); ++at) {
            mean.add(stretched[at], hole_weight(known, at));
        }
    }
    return mean.value();
}

inline std::vector<double> lpips_distances(const lpips_features& images, const lpips_features& truth,
                                           const host_tensor* keep) {
    check_comparable(images.images, truth.images, "lpips");
    std::vector<double> result;
    for (int i = 0; i < images.images.n; ++i) {
        result.push_back(lpips_distance(images, i, truth, truth.images.n == 1 ? 0 : i, keep, i));
    }
    return result;
}

} // namespace detail

REPAINT_INLINE std::vector<double> lpips_distance(const lpips_features& images, const lpips_features& truth) {
    return detail::lpips_distances(images, truth, nullptr);
}

REPAINT_INLINE std::vector<double> lpips_distance(const lpips_features& images, const lpips_features& truth,
                                                  const host_tensor& keep) {
    detail::check_hole(images.images, keep.shape(), "lpips");
    return detail::lpips_distances(images, truth, &keep);
}

} // namespace repaint
