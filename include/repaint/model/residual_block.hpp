#pragma once

#include <optional>
#include <string>

#include <repaint/config.hpp>
#include <repaint/core/text.hpp>
#include <repaint/model/folded_weights.hpp>
#include <repaint/model/unet_config.hpp>
#include <repaint/model/weight_map.hpp>
#include <repaint/ops.hpp>

namespace repaint {

/// Norm, SiLU, convolution; norm, embedding, SiLU, convolution; plus the shortcut. A block that resamples does so
/// between the first SiLU and its convolution, and resamples the shortcut, too (BigGAN's up and down blocks).
template <network_backend B> class residual_block {
public:
    /// Takes its weights under `name`, e.g. "input_blocks.1.0". The sum with the shortcut is divided by the divisor.
    REPAINT_SETUP residual_block(B& b, const unet_config& config, weight_map& weights, const std::string& name, int in,
                                 int out, std::optional<resampling> resample = {}, double divisor = 1.0);

    /// embedding: silu'd, (1 or n, e, 1, 1) -> what operator() adds or scales with: (1 or n, out or 2 out, 1, 1). It
    /// depends on timestep and label only.
    template <executes<B> E> tensor_of<E> project(E& b, const tensor_of<E>& embedding) const;

    /// x: (n, in, h, w), projected: what project() returned -> (n, out, h', w')
    template <executes<B> E> tensor_of<E> operator()(E& b, const tensor_of<E>& x, const tensor_of<E>& projected) const;

private:
    group_norm_options norm_;
    bool scale_shift_;
    std::optional<resampling> resample_;
    norm_weights_of<B> norm1_;
    conv2d_weights_of<B> conv1_;
    conv2d_weights_of<B> embed_;
    norm_weights_of<B> norm2_;
    conv2d_weights_of<B> conv2_;
    std::optional<conv2d_weights_of<B>> skip_;
};

template <network_backend B>
residual_block<B>::residual_block(B& b, const unet_config& config, weight_map& weights, const std::string& name, int in,
                                  int out, std::optional<resampling> resample, double divisor)
    : norm_(group_norm_options{config.norm_groups, config.norm_epsilon, activation::silu}),
      scale_shift_(config.scale_shift_norm), resample_(resample),
      norm1_(b.pack_norm(weights.take(joined_text({name, ".in_layers.0.weight"}), {in, 1, 1, 1}),
                         weights.take(joined_text({name, ".in_layers.0.bias"}), {in, 1, 1, 1}))),
      conv1_(b.pack_conv2d(weights.take(joined_text({name, ".in_layers.2.weight"}), {out, in, 3, 3}),
                           weights.take(joined_text({name, ".in_layers.2.bias"}), {out, 1, 1, 1}))),
      embed_(b.pack_conv2d(
          weights.take(joined_text({name, ".emb_layers.1.weight"}),
                       {scale_shift_ ? 2 * out : out, config.embedding_channels(), 1, 1}),
          weights.take(joined_text({name, ".emb_layers.1.bias"}), {scale_shift_ ? 2 * out : out, 1, 1, 1}))),
      norm2_(b.pack_norm(weights.take(joined_text({name, ".out_layers.0.weight"}), {out, 1, 1, 1}),
                         weights.take(joined_text({name, ".out_layers.0.bias"}), {out, 1, 1, 1}))),
      conv2_(b.pack_conv2d(
          detail::divided(weights.take(joined_text({name, ".out_layers.3.weight"}), {out, out, 3, 3}), divisor),
          detail::divided(weights.take(joined_text({name, ".out_layers.3.bias"}), {out, 1, 1, 1}), divisor))) {
    if (in != out) {
        skip_ = b.pack_conv2d(
            detail::divided(weights.take(joined_text({name, ".skip_connection.weight"}), {out, in, 1, 1}), divisor),
            detail::divided(weights.take(joined_text({name, ".skip_connection.bias"}), {out, 1, 1, 1}), divisor));
    } else if (divisor != 1.0) {
        skip_ = b.pack_conv2d(detail::scaling(out, 1.0 / divisor, weights.gives_values()), {{out, 1, 1, 1}, nullptr});
    }
}

template <network_backend B>
template <executes<B> E>
tensor_of<E> residual_block<B>::project(E& b, const tensor_of<E>& embedding) const {
    return ops::linear(b, embedding, embed_);
}

template <network_backend B>
template <executes<B> E>
tensor_of<E> residual_block<B>::operator()(E& b, const tensor_of<E>& x, const tensor_of<E>& projected) const {
    auto h = ops::group_norm(b, x, norm1_, norm_); // (n, in,  h,  w)
    if (resample_) {
        h = ops::resize(b, h, *resample_); // (n, in,  h', w')
    }
    h = ops::conv2d(b, h, conv1_, {.padding = 1}, scale_shift_ ? nullptr : &projected); // (n, out, h', w')
    h = ops::group_norm(b, h, norm2_, norm_, scale_shift_ ? &projected : nullptr);
    if (!resample_ && !skip_) {
        return ops::conv2d(b, h, conv2_, {.padding = 1}, &x);
    }
    std::optional<tensor_of<E>> shortcut;
    if (resample_) {
        shortcut = ops::resize(b, x, *resample_); // (n, in,  h', w')
    }
    if (skip_) {
        shortcut = ops::conv2d(b, shortcut ? *shortcut : x, *skip_); // (n, out, h', w')
    }
    return ops::conv2d(b, h, conv2_, {.padding = 1}, &*shortcut);
}

} // namespace repaint
