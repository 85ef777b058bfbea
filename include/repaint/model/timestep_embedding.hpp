#pragma once

#include <algorithm>
#include <cstddef>
#include <memory>
#include <optional>
#include <span>

#include <repaint/core/host_tensor.hpp>
#include <repaint/model/unet_config.hpp>
#include <repaint/model/weight_map.hpp>
#include <repaint/ops.hpp>

namespace repaint {

/// Sinusoids of a timestep: cos(t f_i), then sin(t f_i), f_i = 10000^(-i / (half - frequency_shift)), and a zero when
/// dim is odd (Vaswani et al. 2017; cosine first, as guided-diffusion has it, unless sine_first). Returns
/// (images, dim, 1, 1), all rows equal.
host_tensor timestep_embedding(float timestep, int dim, int images = 1, bool sine_first = false,
                               double frequency_shift = 0.0);

/// The MLP over timestep and label whose result every residual block projects.
template <network_backend B> class embedding_mlp {
public:
    embedding_mlp(B& b, const unet_config& config, weight_map& weights)
        : model_channels_(config.model_channels), sine_first_(config.sine_first),
          frequency_shift_(config.frequency_shift),
          first_(b.pack_conv2d(
              weights.take("time_embed.0.weight", {config.embedding_channels(), config.model_channels, 1, 1}),
              weights.take("time_embed.0.bias", {config.embedding_channels(), 1, 1, 1}))),
          second_(b.pack_conv2d(
              weights.take("time_embed.2.weight", {config.embedding_channels(), config.embedding_channels(), 1, 1}),
              weights.take("time_embed.2.bias", {config.embedding_channels(), 1, 1, 1}))) {
        if (config.classes > 0) {
            labels_ = copied(weights.take("label_emb.weight", {config.classes, config.embedding_channels(), 1, 1}));
        }
    }

    /// silu(MLP(timestep) + label_emb[label]): (1, e, 1, 1), or (labels.size(), e, 1, 1) for a class-conditional
    /// network. The SiLU opens every residual block's projection; it is applied once, here.
    template <executes<B> E> tensor_of<E> operator()(E& b, float timestep, std::span<const int> labels) const {
        const int images = labels_ ? static_cast<int>(labels.size()) : 1;
        const auto sinusoids =
            b.upload(timestep_embedding(timestep, model_channels_, images, sine_first_, frequency_shift_));
        const auto hidden = ops::linear(b, sinusoids, first_, activation::silu);
        if (!labels_) {
            return ops::linear(b, hidden, second_, activation::silu);
        }
        const auto rows = b.upload(label_rows(labels));
        return ops::linear(b, hidden, second_, activation::silu, &rows);
    }

private:
    /// The rows in memory of their own: what stays on the host must not keep the whole checkpoint mapped.
    static host_weights copied(const host_weights& rows) {
        if (!rows.values) {
            return rows;
        }
        const std::shared_ptr<float[]> values(new float[rows.shape.size()]);
        std::copy_n(rows.values.get(), rows.shape.size(), values.get());
        return {rows.shape, std::shared_ptr<const float>(values, values.get())};
    }

    [[nodiscard]] host_tensor label_rows(std::span<const int> labels) const {
        const int width = labels_->shape.c;
        host_tensor rows({static_cast<int>(labels.size()), width, 1, 1});
        if (labels_->values) {
            for (std::size_t i = 0; i < labels.size(); ++i) {
                const float* row =
                    labels_->values.get() + static_cast<std::size_t>(labels[i]) * static_cast<std::size_t>(width);
                std::copy_n(row, width, rows.image(static_cast<int>(i)).begin());
            }
        }
        return rows;
    }

    int model_channels_;
    bool sine_first_;
    double frequency_shift_;
    conv2d_weights_of<B> first_;
    conv2d_weights_of<B> second_;
    std::optional<host_weights> labels_;
};

} // namespace repaint

#ifndef REPAINT_COMPILED
#include <repaint/model/timestep_embedding.ipp>
#endif
