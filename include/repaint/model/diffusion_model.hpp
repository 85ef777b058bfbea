#pragma once

#include <repaint/diffusion/process.hpp>
#include <repaint/model/model_description.hpp>
#include <repaint/model/unet.hpp>

namespace repaint {

/// A network on a backend, with everything that sampling has to know about it.
template <class B> struct diffusion_model {
    unet<B> network;
    diffusion_settings diffusion;
    model_description description;
};

/// No model: a backend that lacks a primitive can have none. The assertions are those of require_backend, which stand
/// here as well because a compiler's message is shortest where it meets them first.
template <class B>
requires(!tensor_backend<B>) struct diffusion_model<B> {
    static constexpr bool has_tensor = provides_tensor<B>;
    static_assert(has_tensor, "the backend lacks a movable, non-copyable `tensor` with shape()");
    static constexpr bool has_allocate = !has_tensor || provides_allocate<B>;
    static_assert(has_allocate, "the backend lacks allocate(shape) -> tensor");
    static constexpr bool has_upload = !has_tensor || provides_upload<B>;
    static_assert(has_upload, "the backend lacks upload(host_tensor) -> tensor");
    static constexpr bool has_download = !has_tensor || provides_download<B>;
    static_assert(has_download, "the backend lacks download(tensor) -> host_tensor");
    static constexpr bool has_synchronize = !has_tensor || provides_synchronize<B>;
    static_assert(has_synchronize, "the backend lacks synchronize()");
    static constexpr bool has_pack_conv2d = !has_tensor || provides_pack_conv2d<B>;
    static_assert(has_pack_conv2d, "the backend lacks pack_conv2d(weights, bias) -> conv2d_weights");
    static constexpr bool has_pack_norm = !has_tensor || provides_pack_norm<B>;
    static_assert(has_pack_norm, "the backend lacks pack_norm(gamma, beta) -> norm_weights");
    static constexpr bool has_conv2d = !has_tensor || provides_conv2d<B>;
    static_assert(has_conv2d, "the backend lacks conv2d(x, weights, residual*, options, y)");
    static constexpr bool has_group_norm = !has_tensor || provides_group_norm<B>;
    static_assert(has_group_norm, "the backend lacks group_norm(x, weights, scale_shift*, options, y)");
    static constexpr bool has_attention = !has_tensor || provides_attention<B>;
    static_assert(has_attention, "the backend lacks attention(qkv, heads, y)");
    static constexpr bool has_resize = !has_tensor || provides_resize<B>;
    static_assert(has_resize, "the backend lacks resize(x, mode) -> tensor");
    static constexpr bool has_concat = !has_tensor || provides_concat<B>;
    static_assert(has_concat, "the backend lacks concat(a, b) -> tensor");
    static constexpr bool has_normal = !has_tensor || provides_normal<B>;
    static_assert(has_normal, "the backend lacks normal(seeds, draw, y)");
    static constexpr bool has_reverse_step = !has_tensor || provides_reverse_step<B>;
    static_assert(has_reverse_step, "the backend lacks reverse_step(x, prediction, z, posterior, x0*, guidance*)");
    static constexpr bool has_forward_step = !has_tensor || provides_forward_step<B>;
    static_assert(has_forward_step, "the backend lacks forward_step(x, z, mixing)");
    static constexpr bool has_merge = !has_tensor || provides_merge<B>;
    static_assert(has_merge, "the backend lacks merge(x, known, keep, z, mixing)");
};

} // namespace repaint
