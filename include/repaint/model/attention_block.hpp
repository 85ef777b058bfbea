#pragma once

#include <optional>
#include <string>

#include <repaint/config.hpp>
#include <repaint/model/folded_weights.hpp>
#include <repaint/model/unet_config.hpp>
#include <repaint/model/weight_map.hpp>
#include <repaint/ops.hpp>

namespace repaint {

/// x + projection(attention(qkv(norm(x)))) over all pixels of an image.
template <network_backend B> class attention_block {
public:
    /// Takes its weights under `name`, e.g. "middle_block.1". groups: of the norm; 0: the block has no norm. The sum
    /// with x is divided by the divisor.
    REPAINT_SETUP attention_block(B& b, const unet_config& config, weight_map& weights, const std::string& name,
                                  int channels, attention_heads heads, int groups, double divisor = 1.0);

    /// (n, c, h, w) -> (n, c, h, w)
    template <executes<B> E> tensor_of<E> operator()(E& b, const tensor_of<E>& x) const;

private:
    group_norm_options norm_;
    int heads_;
    std::optional<norm_weights_of<B>> norm_weights_;
    std::optional<conv2d_weights_of<B>> qkv_;
    std::optional<conv2d_weights_of<B>> projection_;
    std::optional<conv2d_weights_of<B>> shortcut_;
};

// Members are defined outside of their class, here and in the other headers of the network, so that an explicit
// instantiation elsewhere spares who includes this the work: compilers expand members that are inline regardless.

template <network_backend B>
attention_block<B>::attention_block(B& b, const unet_config& config, weight_map& weights, const std::string& name,
                                    int channels, attention_heads heads, int groups, double divisor)
    : norm_(group_norm_options{groups, config.norm_epsilon, activation::none}), heads_(heads.count) {
    const auto take = [&](const char* part, const shape4& shape) { return weights.take(name + part, shape); };
    const auto by_role = [&](const host_weights& w) {
        return config.order == qkv_order::per_head ? detail::grouped_by_role(w, heads.count) : w;
    };
    const auto scaled = [&] {
        return b.pack_conv2d(detail::scaling(channels, 1.0 / divisor, weights.gives_values()),
                             {{channels, 1, 1, 1}, nullptr});
    };
    if (groups > 0) {
        norm_weights_ = b.pack_norm(take(".norm.weight", {channels, 1, 1, 1}), take(".norm.bias", {channels, 1, 1, 1}));
    }
    const int width = heads.count * heads.channels;
    qkv_ = b.pack_conv2d(by_role(take(".qkv.weight", {3 * width, channels, 1, 1})),
                         by_role(take(".qkv.bias", {3 * width, 1, 1, 1})));
    if (config.attention_projection) {
        projection_ = b.pack_conv2d(detail::divided(take(".proj_out.weight", {channels, width, 1, 1}), divisor),
                                    detail::divided(take(".proj_out.bias", {channels, 1, 1, 1}), divisor));
    } else {
        projection_ = scaled();
    }
    if (divisor != 1.0) {
        shortcut_ = scaled();
    }
}

template <network_backend B>
template <executes<B> E>
tensor_of<E> attention_block<B>::operator()(E& b, const tensor_of<E>& x) const {
    auto h = norm_weights_ ? ops::conv2d(b, ops::group_norm(b, x, *norm_weights_, norm_), *qkv_)
                           : ops::conv2d(b, x, *qkv_); // (n, 3 width, h, w)
    h = ops::attention(b, h, heads_);                  // (n, width, h, w)
    if (shortcut_) {
        const auto shortcut = ops::conv2d(b, x, *shortcut_);
        return ops::conv2d(b, h, *projection_, {}, &shortcut);
    }
    return ops::conv2d(b, h, *projection_, {}, &x);
}

} // namespace repaint
