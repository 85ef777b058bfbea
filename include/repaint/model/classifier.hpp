#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <utility>

#include <repaint/config.hpp>
#include <repaint/core/text.hpp>
#include <repaint/model/encoder.hpp>
#include <repaint/model/timestep_embedding.hpp>
#include <repaint/model/unet_config.hpp>
#include <repaint/model/weight_map.hpp>
#include <repaint/ops.hpp>

namespace repaint {

/// How a classifier makes one vector of an image's features. adaptive: the mean over the pixels. attention: attention
/// over the pixels and their mean (Radford et al. 2021). spatial: the means after every step down, then two linear
/// layers with a ReLU between them. spatial_v2: as spatial, with a norm and a SiLU instead of the ReLU.
enum class classifier_pool { adaptive, attention, spatial, spatial_v2 };

/// "adaptive", "attention", "spatial", "spatial_v2".
[[nodiscard]] std::string to_string(classifier_pool pool);

/// The architecture of a guided-diffusion classifier (Dhariwal and Nichol 2021, section 4).
struct classifier_config {
    unet_config body; ///< the way down and the middle block; out_channels is not used
    classifier_pool pool = classifier_pool::attention;
    int classes = 1000;
    int image_size = 0; ///< rows and columns of the images that attention pooling is made for; 0: any
    int hidden = 2048;  ///< width between the linear layers of spatial and spatial_v2
};

/// Throws shape_error unless images (n, c, h, w) fit the classifier.
void check_image_shape(const classifier_config& config, const shape4& images);

/// Throws std::invalid_argument unless there are labels and each is 0 to classes - 1.
void check_labels(const classifier_config& config, std::span<const int> labels);

/// Throws std::invalid_argument unless the classifier can guide the network: both take images of as many channels and,
/// when the network takes labels, know as many classes.
void check_guides(const classifier_config& config, const unet_config& network);

namespace detail {

/// qkv * position + bias, (1, 3c, 1, tokens): what the embedding of the positions adds behind the projection. qkv: (3c,
/// c, 1, 1), bias: (3c, 1, 1, 1), position: (c, tokens, 1, 1). Zeros when one of them has no values.
host_tensor projected_positions(const host_weights& qkv, const host_weights& bias, const host_weights& position);

/// A batch of one image as a batch of `images` equal ones.
host_tensor repeated(const host_tensor& one, int images);

} // namespace detail

/// The classifier of noisy images for classifier guidance: half a U-Net and a head, written over the primitives of an
/// encoder_backend. Immutable after construction.
template <encoder_backend B> class classifier {
public:
    /// Takes its weights from `weights` and packs them; weights.finish() tells what was missing, mis-shaped or left
    /// over.
    REPAINT_SETUP classifier(B& b, const classifier_config& config, weight_map& weights);

    [[nodiscard]] const classifier_config& config() const { return config_; }

    /// The embedding of one timestep, on the scale that the classifier was trained with.
    template <executes<B> E> [[nodiscard]] network_embedding<E> embed(E& b, float timestep) const;

    /// x: (n, in_channels, h, w) -> the logits of the classes, (n, classes, 1, m), in the first column. Throws
    /// shape_error as check_image_shape.
    template <executes<B> E>
    requires encoder_backend<E>
    [[nodiscard]] tensor_of<E> operator()(E& b, const tensor_of<E>& x, const network_embedding<E>& e) const;

private:
    static norm_weights_of<B> norm(B& b, weight_map& weights, const std::string& name, int channels) {
        return b.pack_norm(weights.take(joined_text({name, ".weight"}), {channels, 1, 1, 1}),
                           weights.take(joined_text({name, ".bias"}), {channels, 1, 1, 1}));
    }

    static conv2d_weights_of<B> linear(B& b, weight_map& weights, const std::string& name, int out, int in) {
        return b.pack_conv2d(weights.take(joined_text({name, ".weight"}), {out, in, 1, 1}),
                             weights.take(joined_text({name, ".bias"}), {out, 1, 1, 1}));
    }

    classifier_config config_;
    embedding_mlp<B> mlp_;
    encoder<B> body_;
    std::optional<norm_weights_of<B>> norm_;
    std::optional<conv2d_weights_of<B>> qkv_;
    std::optional<host_tensor> position_;
    std::optional<conv2d_weights_of<B>> hidden_;
    std::optional<conv2d_weights_of<B>> logits_;
};

template <encoder_backend B>
classifier<B>::classifier(B& b, const classifier_config& config, weight_map& weights)
    : config_(config), mlp_(b, config.body, weights), body_(b, config.body, weights) {
    const int channels = body_.step_channels().back();
    switch (config.pool) {
    case classifier_pool::adaptive:
        norm_ = norm(b, weights, "out.0", channels);
        logits_ = linear(b, weights, "out.3", config.classes, channels);
        break;
    case classifier_pool::attention: {
        norm_ = norm(b, weights, "out.0", channels);
        const int side = config.image_size / config.body.size_multiple();
        const auto position = weights.take("out.2.positional_embedding", {channels, 1 + side * side, 1, 1});
        const auto qkv = weights.take("out.2.qkv_proj.weight", {3 * channels, channels, 1, 1});
        const auto bias = weights.take("out.2.qkv_proj.bias", {3 * channels, 1, 1, 1});
        qkv_ = b.pack_conv2d(qkv, {bias.shape, nullptr});
        position_ = detail::projected_positions(qkv, bias, position);
        logits_ = linear(b, weights, "out.2.c_proj", config.classes, channels);
        break;
    }
    case classifier_pool::spatial:
    case classifier_pool::spatial_v2: {
        int features = channels;
        for (const int step : body_.step_channels()) {
            features += step;
        }
        hidden_ = linear(b, weights, "out.0", config.hidden, features);
        if (config.pool == classifier_pool::spatial_v2) {
            norm_ = norm(b, weights, "out.1", config.hidden);
        }
        logits_ = linear(b, weights, config.pool == classifier_pool::spatial ? "out.2" : "out.3", config.classes,
                         config.hidden);
        break;
    }
    }
}

template <encoder_backend B>
template <executes<B> E>
network_embedding<E> classifier<B>::embed(E& b, float timestep) const {
    const auto shared = mlp_(b, timestep, {});
    network_embedding<E> result;
    body_.for_each_residual(
        [&](const residual_block<B>& block) { result.projections.push_back(block.project(b, shared)); });
    return result;
}

template <encoder_backend B> template <executes<B> E>
requires encoder_backend<E> tensor_of<E> classifier<B>::operator()(E& b, const tensor_of<E>& x,
                                                                   const network_embedding<E>& e) const {
    check_image_shape(config_, x.shape());
    std::size_t next = 0;
    std::optional<tensor_of<E>> last;
    std::optional<tensor_of<E>> means; // of all steps so far, (n, c_0 + c_1 + ..., 1, 1)
    const auto gather = [&](const tensor_of<E>& step) {
        auto mean = ops::mean(b, step);
        means = means ? ops::concat(b, std::move(*means), std::move(mean)) : std::move(mean);
    };
    const bool spatial = config_.pool == classifier_pool::spatial || config_.pool == classifier_pool::spatial_v2;
    auto h = body_(b, x, e, next, [&](tensor_of<E> step) -> const tensor_of<E>& {
        if (spatial) {
            gather(step);
        }
        last = std::move(step);
        return *last;
    });
    last.reset();
    const group_norm_options normalised{config_.body.norm_groups, config_.body.norm_epsilon, activation::silu};
    switch (config_.pool) {
    case classifier_pool::adaptive:
        h = ops::group_norm(b, h, *norm_, normalised);
        return ops::linear(b, ops::mean(b, h), *logits_);
    case classifier_pool::attention: {
        h = ops::prepend_mean(b, ops::group_norm(b, h, *norm_, normalised)); // (n, c, 1, 1 + h w)
        const auto position = b.upload(detail::repeated(*position_, h.shape().n));
        h = ops::conv2d(b, h, *qkv_, {}, &position); // (n, 3c, 1, 1 + h w)
        h = ops::attention(b, h, config_.body.heads_for(h.shape().c / 3, "out.2"));
        return ops::conv2d(b, h, *logits_);
    }
    default:
        gather(h);
        h = ops::linear(b, *means, *hidden_,
                        config_.pool == classifier_pool::spatial ? activation::relu : activation::none);
        if (norm_) {
            h = ops::group_norm(b, h, *norm_, normalised);
        }
        return ops::linear(b, h, *logits_);
    }
}

} // namespace repaint

#ifndef REPAINT_COMPILED
#include <repaint/model/classifier.ipp>
#endif
