#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <repaint/core/host_weights.hpp>
#include <repaint/evaluation/comparison.hpp>
#include <repaint/io/stored_tensor.hpp>
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

/// The smallest side of an image from which every stage has an output.
inline constexpr int alexnet_smallest_side = 31;

/// Throws shape_error unless images (n, c, h, w) have 1 or 3 channels and sides of 31 or more.
void check_lpips_images(const shape4& images);

/// Image i as AlexNet takes it, (1, 3, h, w): grey three times, less `shift` and over `scale` by channel.
host_tensor lpips_input(const host_tensor& images, int i, const std::array<float, 3>& shift,
                        const std::array<float, 3>& scale);

/// The maximum over every 3x3 pixels, 2 apart: (n, c, h, w) -> (n, c, (h - 1) / 2, (w - 1) / 2).
host_tensor max_pool_3x3_stride_2(const host_tensor& x);

/// Divides every pixel's channels by their Euclidean norm + 1e-10.
void normalise_channels(host_tensor& x);

} // namespace detail

/// Finds the weights of LPIPS among the tensors of one or several checkpoints, in any order. Accepted are torchvision's
/// AlexNet (features.0.weight, ...; its classifier is not used) together with lpips' linear layers
/// (lin0.model.1.weight, ...), or a whole lpips.LPIPS(net='alex') (net.slice1.0.weight, ..., scaling_layer.shift).
/// Throws format_error that names what is missing, mis-shaped, left over or given twice.
lpips_weights find_lpips_weights(std::span<const checkpoint> parts);

/// Finds the weights of LPIPS in files, as find_lpips_weights does: .safetensors, or what torch.save writes. Throws
/// format_error.
lpips_weights read_lpips_weights(std::span<const std::string> files);

/// The activations of AlexNet for a batch of images after every stage, every pixel's channels scaled to norm 1, and how
/// much each channel counts.
struct lpips_features {
    shape4 images;
    std::array<host_tensor, 5> stages; ///< (n, channels, rows, columns)
    std::shared_ptr<const std::array<std::vector<float>, 5>> linear;
};

namespace detail {

/// The distance of image i of a to image j of b; over the hole of image k of keep when keep is not null.
double lpips_distance(const lpips_features& a, int i, const lpips_features& b, int j, const host_tensor* keep, int k);

} // namespace detail

/// The LPIPS of every image, from features: 0 for equal images. Throws shape_error unless there is one truth or one for
/// every image, of the same size.
std::vector<double> lpips_distance(const lpips_features& images, const lpips_features& truth);

/// The LPIPS of every image over the hole, from features. keep: 1 = known, (1 or n, 1 or c, h, w). NaN when there is no
/// hole. Throws shape_error.
std::vector<double> lpips_distance(const lpips_features& images, const lpips_features& truth, const host_tensor& keep);

/// The learned perceptual distance of images (Zhang, Isola, Efros, Shechtman and Wang 2018), version 0.1 with AlexNet:
/// lpips.LPIPS(net='alex'). Immutable after construction; may serve several backend objects of one kind.
template <network_backend B> class lpips {
public:
    /// Packs the weights on a backend.
    lpips(B& b, const lpips_weights& weights);

    /// images: (n, 3 or 1, h, w) in [-1, 1], grey as three equal channels. One image at a time goes through the
    /// network, all features stay: 2.6 MB for 256x256 pixels. Throws shape_error for other channels and for sides below
    /// 31.
    [[nodiscard]] lpips_features features(B& b, const host_tensor& images) const;

    /// The distance of every image to its truth, 0 for equal ones. images: (n, 3 or 1, h, w) in [-1, 1], truth: (1 or
    /// n, c, h, w). Throws shape_error.
    [[nodiscard]] std::vector<double> operator()(B& b, const host_tensor& images, const host_tensor& truth) const;

    /// The distance of every image to its truth over the hole: the mean of lpips' spatial map (spatial=True: every
    /// stage's map stretched to the picture bilinearly), in which a pixel counts 1 - keep. keep: 1 = known, (1 or n, 1
    /// or c, h, w). NaN when there is no hole. Throws shape_error.
    [[nodiscard]] std::vector<double> operator()(B& b, const host_tensor& images, const host_tensor& truth,
                                                 const host_tensor& keep) const;

private:
    std::array<std::optional<conv2d_weights_of<B>>, 5> convolutions_;
    std::shared_ptr<const std::array<std::vector<float>, 5>> linear_;
    std::array<float, 3> shift_;
    std::array<float, 3> scale_;
};

template <network_backend B>
lpips<B>::lpips(B& b, const lpips_weights& weights) : shift_(weights.shift), scale_(weights.scale) {
    auto linear = std::make_shared<std::array<std::vector<float>, 5>>();
    for (std::size_t i = 0; i < detail::alexnet.size(); ++i) {
        convolutions_[i] = b.pack_conv2d(weights.kernels[i], weights.biases[i]);
        const float* values = weights.linear[i].values.get();
        (*linear)[i].assign(values, values + weights.linear[i].shape.size());
    }
    linear_ = std::move(linear);
}

template <network_backend B> lpips_features lpips<B>::features(B& b, const host_tensor& images) const {
    const shape4& s = images.shape();
    detail::check_lpips_images(s);
    lpips_features result{s, {}, linear_};
    std::array<std::vector<float>, 5> values;
    std::array<shape4, 5> shapes;
    for (int i = 0; i < s.n; ++i) {
        host_tensor x = detail::lpips_input(images, i, shift_, scale_);
        for (std::size_t stage = 0; stage < detail::alexnet.size(); ++stage) {
            const auto& about = detail::alexnet[stage];
            if (about.pooled) {
                x = detail::max_pool_3x3_stride_2(x);
            }
            x = b.download(
                ops::conv2d(b, b.upload(x), *convolutions_[stage], {.stride = about.stride, .padding = about.padding}));
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

template <network_backend B>
std::vector<double> lpips<B>::operator()(B& b, const host_tensor& images, const host_tensor& truth) const {
    detail::check_comparable(images.shape(), truth.shape(), "lpips");
    return lpips_distance(features(b, images), features(b, truth));
}

template <network_backend B>
std::vector<double> lpips<B>::operator()(B& b, const host_tensor& images, const host_tensor& truth,
                                         const host_tensor& keep) const {
    detail::check_comparable(images.shape(), truth.shape(), "lpips");
    return lpips_distance(features(b, images), features(b, truth), keep);
}

} // namespace repaint

#ifndef REPAINT_COMPILED
#include <repaint/evaluation/lpips.ipp>
#endif
