#pragma once

#include <optional>
#include <span>

#include <repaint/config.hpp>
#include <repaint/core/host_tensor.hpp>
#include <repaint/io/new_weights.hpp>
#include <repaint/model/unet_config.hpp>
#include <repaint/model/weight_map.hpp>
#include <repaint/ops.hpp>

namespace repaint {

/// Sinusoids of a timestep: cos(t f_i), then sin(t f_i), f_i = 10000^(-i / (half - frequency_shift)), and a zero when
/// dim is odd (Vaswani et al. 2017). Cosines come first, as guided-diffusion has it, unless sine_first. Returns
/// (images, dim, 1, 1), all rows equal.
host_tensor timestep_embedding(float timestep, int dim, int images = 1, bool sine_first = false,
                               double frequency_shift = 0.0);

namespace detail {

/// Row `label` of a table (classes, e, 1, 1) for every label: (labels.size(), e, 1, 1). Zeros when the table has no
/// values. The labels are not checked.
host_tensor label_rows(const host_weights& table, std::span<const int> labels);

} // namespace detail

/// The MLP over timestep and label whose result every residual block projects.
template <network_backend B> class embedding_mlp {
public:
    /// Takes its weights under "time_embed" and, for a class-conditional network, "label_emb".
    REPAINT_SETUP embedding_mlp(B& b, const unet_config& config, weight_map& weights);

    /// silu(MLP(timestep) + label_emb[label]): (1, e, 1, 1), or (labels.size(), e, 1, 1) for a class-conditional
    /// network. Every residual block's projection begins with this SiLU, so it is applied once.
    template <executes<B> E> tensor_of<E> operator()(E& b, float timestep, std::span<const int> labels) const;

private:
    int model_channels_;
    bool sine_first_;
    double frequency_shift_;
    conv2d_weights_of<B> first_;
    conv2d_weights_of<B> second_;
    std::optional<host_weights> labels_; // a copy: the table must not keep the whole checkpoint mapped
};

template <network_backend B>
embedding_mlp<B>::embedding_mlp(B& b, const unet_config& config, weight_map& weights)
    : model_channels_(config.model_channels), sine_first_(config.sine_first), frequency_shift_(config.frequency_shift),
      first_(
          b.pack_conv2d(weights.take("time_embed.0.weight", {config.embedding_channels(), config.model_channels, 1, 1}),
                        weights.take("time_embed.0.bias", {config.embedding_channels(), 1, 1, 1}))),
      second_(b.pack_conv2d(
          weights.take("time_embed.2.weight", {config.embedding_channels(), config.embedding_channels(), 1, 1}),
          weights.take("time_embed.2.bias", {config.embedding_channels(), 1, 1, 1}))) {
    if (config.classes > 0) {
        labels_ = detail::copied(weights.take("label_emb.weight", {config.classes, config.embedding_channels(), 1, 1}));
    }
}

template <network_backend B>
template <executes<B> E>
tensor_of<E> embedding_mlp<B>::operator()(E& b, float timestep, std::span<const int> labels) const {
    const int images = labels_ ? static_cast<int>(labels.size()) : 1;
    const auto sinusoids =
        b.upload(timestep_embedding(timestep, model_channels_, images, sine_first_, frequency_shift_));
    const auto hidden = ops::linear(b, sinusoids, first_, activation::silu);
    if (!labels_) {
        return ops::linear(b, hidden, second_, activation::silu);
    }
    const auto rows = b.upload(detail::label_rows(*labels_, labels));
    return ops::linear(b, hidden, second_, activation::silu, &rows);
}

} // namespace repaint

#ifndef REPAINT_COMPILED
#include <repaint/model/timestep_embedding.ipp>
#endif
