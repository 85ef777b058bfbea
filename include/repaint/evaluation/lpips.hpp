#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <repaint/core/host_weights.hpp>
#include <repaint/evaluation/comparison.hpp>
#include <repaint/io/checkpoint.hpp>
#include <repaint/model/weight_map.hpp>
#include <repaint/ops.hpp>

namespace repaint {

/// The weights of LPIPS with AlexNet: five convolutions, five 1x1 layers without bias, and what the pictures are
/// normalised with.
struct lpips_weights {
    std::array<host_weights, 5> kernels; ///< (out, in, k, k)
    std::array<host_weights, 5> biases;  ///< (out, 1, 1, 1)
    std::array<host_weights, 5> linear;  ///< (1, channels, 1, 1)
    std::array<float, 3> shift = {-0.030F, -0.088F, -0.188F};
    std::array<float, 3> scale = {0.458F, 0.448F, 0.450F};
};

namespace detail {

/// A convolution of AlexNet with the ReLU behind it; `pooled` when a 3x3 maximum with stride 2 comes before.
struct alexnet_stage {
    int index; ///< in torchvision's `features`
    int in;
    int out;
    int kernel;
    int stride;
    int padding;
    bool pooled;
};

/// torchvision's AlexNet, from "One weird trick for parallelizing convolutional neural networks" (Krizhevsky 2014).
inline constexpr std::array<alexnet_stage, 5> alexnet = {{{0, 3, 64, 11, 4, 2, false},
                                                          {3, 64, 192, 5, 1, 2, true},
                                                          {6, 192, 384, 3, 1, 1, true},
                                                          {8, 384, 256, 3, 1, 1, false},
                                                          {10, 256, 256, 3, 1, 1, false}}};

/// The smallest side of which every stage has something to see.
inline constexpr int alexnet_smallest_side = 31;

/// The name that a tensor of any of the accepted files has in torchvision's AlexNet or lpips' linear layers; empty for
/// what LPIPS has no use for.
inline std::string lpips_name(const std::string& name) {
    std::string_view rest = name;
    if (rest.starts_with("classifier.")) {
        return {};
    }
    if (rest.starts_with("net.")) {
        rest.remove_prefix(4);
    }
    if (rest.starts_with("slice") && rest.size() > 7 && rest[6] == '.') {
        return "features." + std::string(rest.substr(7)); // slice2.3.weight
    }
    if (rest.starts_with("lins.") && rest.size() > 6 && rest[6] == '.') {
        return "lin" + std::string(rest.substr(5)); // lins.0.model.1.weight, the same as lin0.model.1.weight
    }
    return name;
}

inline host_tensor max_pool_3x3_stride_2(const host_tensor& x) {
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

/// Every pixel's channels over their Euclidean norm + 1e-10.
inline void normalise_channels(host_tensor& x) {
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

/// map (h, w) stretched to height x width and added to sum: bilinear, the pixels' centres apart as their squares are
/// (align_corners=False).
inline void add_stretched(const std::vector<double>& map, int h, int w, std::vector<double>& sum, int height,
                          int width) {
    struct sample {
        std::size_t first;
        std::size_t second;
        double part; ///< of the second
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

/// Finds the weights of LPIPS among the tensors of one or several checkpoints, in any order: torchvision's AlexNet
/// (features.0.weight, ...; its classifier is of no use) and lpips' linear layers (lin0.model.1.weight, ...), or a whole
/// lpips.LPIPS(net='alex') (net.slice1.0.weight, ..., scaling_layer.shift). Throws format_error that names what is
/// missing, mis-shaped, left over or given twice.
inline lpips_weights find_lpips_weights(std::span<const checkpoint> parts) {
    checkpoint all;
    std::string files;
    std::map<std::string, std::size_t> origins;
    for (std::size_t part = 0; part < parts.size(); ++part) {
        files += (files.empty() ? "" : ", ") + parts[part].path.string();
        for (const auto& [given, tensor] : parts[part].tensors) {
            const std::string name = detail::lpips_name(given);
            if (name.empty()) {
                continue;
            }
            const auto [origin, added] = origins.emplace(name, part);
            if (!added && origin->second != part) {
                throw format_error(detail::shown(parts[part].path) + ": " + detail::printable(given) + " is also in " +
                                   detail::shown(parts[origin->second].path));
            }
            all.tensors.emplace(name, tensor);
        }
    }
    all.path = files;

    std::string missing;
    std::vector<std::string> needed;
    for (std::size_t i = 0; i < detail::alexnet.size(); ++i) {
        const std::string convolution = "features." + std::to_string(detail::alexnet[i].index);
        needed.insert(needed.end(), {convolution + ".weight", convolution + ".bias"});
    }
    for (std::size_t i = 0; i < detail::alexnet.size(); ++i) {
        needed.push_back("lin" + std::to_string(i) + ".model.1.weight");
    }
    for (const auto& name : needed) {
        if (all.tensors.count(name) == 0) {
            missing += (missing.empty() ? "" : ", ") + name;
        }
    }
    if (!missing.empty()) {
        throw format_error(detail::shown(all.path) + ": LPIPS also needs " + missing +
                           "; the convolutions (features) are in torchvision's AlexNet, the linear layers (lin) in "
                           "alex.pth of lpips");
    }

    weight_map weights(all);
    lpips_weights result;
    for (std::size_t i = 0; i < detail::alexnet.size(); ++i) {
        const auto& stage = detail::alexnet[i];
        auto convolution = weights["features." + std::to_string(stage.index)];
        result.kernels[i] = convolution.take("weight", {stage.out, stage.in, stage.kernel, stage.kernel});
        result.biases[i] = convolution.take("bias", {stage.out, 1, 1, 1});
        result.linear[i] = weights.take("lin" + std::to_string(i) + ".model.1.weight", {1, stage.out, 1, 1});
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

/// The same from files: what torch.save writes or .safetensors.
inline lpips_weights read_lpips_weights(std::span<const std::filesystem::path> files) {
    std::vector<checkpoint> parts;
    for (const auto& file : files) {
        parts.push_back(read_checkpoint(file));
    }
    return find_lpips_weights(parts);
}

/// What AlexNet sees in images, stage by stage, every pixel's channels of norm 1; and how much each channel counts.
struct lpips_features {
    shape4 images;
    std::array<host_tensor, 5> stages; ///< (n, channels, rows, columns)
    std::shared_ptr<const std::array<std::vector<float>, 5>> linear;
};

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

/// The distance of image i of a and image j of b; with keep (of image k) over the hole.
inline double lpips_distance(const lpips_features& a, int i, const lpips_features& b, int j, const host_tensor* keep,
                             int k) {
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

/// LPIPS of every image from features that are there already. Throws shape_error.
inline std::vector<double> lpips_distance(const lpips_features& images, const lpips_features& truth) {
    return detail::lpips_distances(images, truth, nullptr);
}

/// The same over the hole.
inline std::vector<double> lpips_distance(const lpips_features& images, const lpips_features& truth,
                                          const host_tensor& keep) {
    detail::check_hole(images.images, keep.shape(), "lpips");
    return detail::lpips_distances(images, truth, &keep);
}

/// The learned perceptual distance of images (Zhang, Isola, Efros, Shechtman and Wang 2018), version 0.1 with AlexNet:
/// lpips.LPIPS(net='alex'). Immutable after construction; may serve several backend objects of one kind.
template <network_backend B> class lpips {
public:
    lpips(B& b, const lpips_weights& weights) : shift_(weights.shift), scale_(weights.scale) {
        auto linear = std::make_shared<std::array<std::vector<float>, 5>>();
        for (std::size_t i = 0; i < detail::alexnet.size(); ++i) {
            convolutions_[i] = b.pack_conv2d(weights.kernels[i], weights.biases[i]);
            const float* values = weights.linear[i].values.get();
            (*linear)[i].assign(values, values + weights.linear[i].shape.size());
        }
        linear_ = std::move(linear);
    }

    /// images: (n, 3 or 1, h, w) in [-1, 1], grey as three equal channels. One image at a time goes through the network,
    /// all features stay: 2.6 MB for 256x256 pixels. Throws shape_error for other channels and for sides below 31.
    [[nodiscard]] lpips_features features(B& b, const host_tensor& images) const {
        const shape4& s = images.shape();
        if (s.c != 1 && s.c != 3) {
            throw shape_error("lpips: images " + to_string(s) + " must have 3 channels, or 1 for grey");
        }
        if (s.h < detail::alexnet_smallest_side || s.w < detail::alexnet_smallest_side) {
            throw shape_error("lpips: images " + to_string(s) + " are too small for AlexNet, which needs " +
                              std::to_string(detail::alexnet_smallest_side) + " pixels a side");
        }
        lpips_features result{s, {}, linear_};
        std::array<std::vector<float>, 5> values;
        std::array<shape4, 5> shapes;
        for (int i = 0; i < s.n; ++i) {
            host_tensor x = scaled(images, i);
            for (std::size_t stage = 0; stage < detail::alexnet.size(); ++stage) {
                const auto& about = detail::alexnet[stage];
                if (about.pooled) {
                    x = detail::max_pool_3x3_stride_2(x);
                }
                x = b.download(ops::conv2d(b, b.upload(x), *convolutions_[stage],
                                           {.stride = about.stride, .padding = about.padding}));
                for (float& value : x.values()) {
                    value = std::max(value, 0.0F);
                }
                values[stage].insert(values[stage].end(), x.values().begin(), x.values().end());
                shapes[stage] = x.shape();
            }
        }
        for (std::size_t stage = 0; stage < shapes.size(); ++stage) {
            shapes[stage].n = s.n;
            result.stages[stage] = host_tensor(shapes[stage], std::move(values[stage]));
            detail::normalise_channels(result.stages[stage]);
        }
        return result;
    }

    /// The distance of every image to its truth, 0 for equal ones. images: (n, 3 or 1, h, w) in [-1, 1], truth: (1 or n,
    /// c, h, w). Throws shape_error.
    [[nodiscard]] std::vector<double> operator()(B& b, const host_tensor& images, const host_tensor& truth) const {
        detail::check_comparable(images.shape(), truth.shape(), "lpips");
        return lpips_distance(features(b, images), features(b, truth));
    }

    /// The same over the hole: the mean of lpips' spatial map (spatial=True: every stage's map stretched to the picture
    /// bilinearly), in which a pixel counts 1 - keep. keep: 1 = known, (1 or n, 1 or c, h, w). NaN when there is no hole.
    [[nodiscard]] std::vector<double> operator()(B& b, const host_tensor& images, const host_tensor& truth,
                                                 const host_tensor& keep) const {
        detail::check_comparable(images.shape(), truth.shape(), "lpips");
        return lpips_distance(features(b, images), features(b, truth), keep);
    }

private:
    [[nodiscard]] host_tensor scaled(const host_tensor& images, int index) const {
        const shape4& s = images.shape();
        host_tensor x({1, 3, s.h, s.w});
        float* to = x.data();
        for (int c = 0; c < 3; ++c) {
            const float* from = detail::plane_of(images, index, c);
            const auto channel = static_cast<std::size_t>(c);
            for (std::size_t at = 0; at < s.plane(); ++at) {
                *to++ = (from[at] - shift_[channel]) / scale_[channel];
            }
        }
        return x;
    }

    std::array<std::optional<conv2d_weights_of<B>>, 5> convolutions_;
    std::shared_ptr<const std::array<std::vector<float>, 5>> linear_;
    std::array<float, 3> shift_;
    std::array<float, 3> scale_;
};

} // namespace repaint
