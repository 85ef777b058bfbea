#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <utility>

#include <repaint/concepts.hpp>
#include <repaint/core/text.hpp>
#include <repaint/error.hpp>

/// The checked face of a backend: infer the shape, verify, allocate, call. The same message on every backend, in
/// release too; the cost is a few integer comparisons against milliseconds of work.
namespace repaint::ops {

/// The shape of a convolution's result. Throws shape_error when channels, kernel or options do not fit.
inline shape4 conv2d_shape(const shape4& in, const shape4& kernel, const conv2d_options& options) {
    if (in.c != kernel.c) {
        throw shape_error(joined_text({"conv2d: input ", to_string(in), " has ", in.c, " channels, the weights ",
                                       to_string(kernel), " expect ", kernel.c}));
    }
    if (options.stride < 1 || options.padding < 0) {
        throw shape_error(joined_text({"conv2d: stride must be at least 1 and padding at least 0, got ", options.stride,
                                       " and ", options.padding}));
    }
    const int rows = in.h + 2 * options.padding - kernel.h;
    const int columns = in.w + 2 * options.padding - kernel.w;
    if (rows < 0 || columns < 0) {
        throw shape_error(joined_text({"conv2d: input ", to_string(in), " is smaller than the kernel ",
                                       to_string(kernel), " with padding ", options.padding}));
    }
    return {in.n, kernel.n, rows / options.stride + 1, columns / options.stride + 1};
}

/// conv2d as provides_conv2d describes it. Throws shape_error when channels, kernel, options or residual do not fit.
template <network_backend B>
[[nodiscard]] tensor_of<B> conv2d(B& b, const tensor_of<B>& x, const conv2d_weights_of<B>& w,
                                  const conv2d_options& options = {}, const tensor_of<B>* residual = nullptr) {
    const shape4 out = conv2d_shape(x.shape(), w.shape(), options);
    if (residual != nullptr) {
        const shape4 r = residual->shape();
        const bool everywhere = r.h == 1 && r.w == 1 && (r.n == 1 || r.n == out.n) && r.c == out.c;
        if (!everywhere && r != out) {
            throw shape_error(joined_text({"conv2d: the residual ", to_string(r), " fits neither the result ",
                                           to_string(out), " nor (1 or ", out.n, ", ", out.c, ", 1, 1)"}));
        }
    }
    auto y = b.allocate(out);
    b.conv2d(x, w, residual, options, y);
    return y;
}

/// A linear layer on (n, in, 1, 1). Throws shape_error like conv2d.
template <network_backend B>
[[nodiscard]] tensor_of<B> linear(B& b, const tensor_of<B>& x, const conv2d_weights_of<B>& w,
                                  activation then = activation::none, const tensor_of<B>* residual = nullptr) {
    return conv2d(b, x, w, {.then = then}, residual);
}

/// Throws shape_error when channels, groups or scale_shift (null: none) do not fit the input.
inline void check_group_norm(const shape4& in, int channels, const group_norm_options& options,
                             const shape4* scale_shift) {
    if (in.c != channels) {
        throw shape_error(joined_text(
            {"group_norm: input ", to_string(in), " has ", in.c, " channels, the weights expect ", channels}));
    }
    if (options.groups < 1 || in.c % options.groups != 0) {
        throw shape_error(
            joined_text({"group_norm: ", in.c, " channels do not divide into ", options.groups, " groups"}));
    }
    if (scale_shift != nullptr) {
        const shape4& s = *scale_shift;
        if ((s.n != 1 && s.n != in.n) || s.c != 2 * in.c || s.h != 1 || s.w != 1) {
            throw shape_error(joined_text({"group_norm: scale_shift ", to_string(s), " does not fit input ",
                                           to_string(in), ", expected (1 or ", in.n, ", ", 2 * in.c, ", 1, 1)"}));
        }
    }
}

/// group_norm as provides_group_norm describes it. Throws shape_error when channels, groups or scale_shift do not fit.
template <network_backend B>
[[nodiscard]] tensor_of<B> group_norm(B& b, const tensor_of<B>& x, const norm_weights_of<B>& w,
                                      const group_norm_options& options = {},
                                      const tensor_of<B>* scale_shift = nullptr) {
    const shape4 s = scale_shift == nullptr ? shape4{} : scale_shift->shape();
    check_group_norm(x.shape(), w.channels(), options, scale_shift == nullptr ? nullptr : &s);
    auto y = b.allocate(x.shape());
    b.group_norm(x, w, scale_shift, options, y);
    return y;
}

/// The shape of attention's result. Throws shape_error when the channels of qkv do not divide.
inline shape4 attention_shape(const shape4& qkv, int heads) {
    if (heads < 1 || qkv.c % 3 != 0 || (qkv.c / 3) % heads != 0) {
        throw shape_error(joined_text(
            {"attention: ", to_string(qkv), " does not divide into queries, keys and values of ", heads, " heads"}));
    }
    return {qkv.n, qkv.c / 3, qkv.h, qkv.w};
}

/// attention as provides_attention describes it. Throws shape_error when the channels do not divide.
template <network_backend B> [[nodiscard]] tensor_of<B> attention(B& b, const tensor_of<B>& qkv, int heads) {
    auto y = b.allocate(attention_shape(qkv.shape(), heads));
    b.attention(qkv, heads, y);
    return y;
}

/// Twice the size by repetition, or half of it by the mean of 2x2. Throws shape_error when odd rows are to be halved.
template <network_backend B> [[nodiscard]] tensor_of<B> resize(B& b, const tensor_of<B>& x, resampling mode) {
    const shape4 in = x.shape();
    if (mode == resampling::average_down && (in.h % 2 != 0 || in.w % 2 != 0)) {
        throw shape_error(joined_text({"resize: ", to_string(in), " cannot be halved, rows and columns must be even"}));
    }
    return b.resize(x, mode);
}

/// Joins along channels. Throws shape_error unless batch, rows and columns agree.
template <network_backend B> [[nodiscard]] tensor_of<B> concat(B& b, tensor_of<B> first, tensor_of<B> second) {
    const shape4 f = first.shape();
    const shape4 s = second.shape();
    if (f.n != s.n || f.h != s.h || f.w != s.w) {
        throw shape_error(
            joined_text({"concat: ", to_string(f), " and ", to_string(s), " differ in more than channels"}));
    }
    return b.concat(std::move(first), std::move(second));
}

/// (n, c, h, w) -> (n, c, 1, 1)
template <encoder_backend B> [[nodiscard]] tensor_of<B> mean(B& b, const tensor_of<B>& x) { return b.mean(x); }

/// (n, c, h, w) -> (n, c, 1, 1 + h w)
template <encoder_backend B> [[nodiscard]] tensor_of<B> prepend_mean(B& b, const tensor_of<B>& x) {
    return b.prepend_mean(x);
}

/// Throws shape_error unless the cotangent dy of `primitive`'s result has that result's shape.
inline void check_cotangent(const char* primitive, const shape4& dy, const shape4& result) {
    if (dy != result) {
        throw shape_error(joined_text({std::string(primitive), "_vjp: the cotangent ", to_string(dy),
                                       " does not fit the result ", to_string(result)}));
    }
}

/// The gradient with respect to an input of shape `in`. Throws shape_error like conv2d, or when dy does not fit.
template <differentiable_backend B>
[[nodiscard]] tensor_of<B> conv2d_vjp(B& b, const tensor_of<B>& dy, const conv2d_weights_of<B>& w,
                                      const conv2d_options& options, const shape4& in) {
    check_cotangent("conv2d", dy.shape(), conv2d_shape(in, w.shape(), options));
    auto dx = b.allocate(in);
    b.conv2d_vjp(dy, w, options, dx);
    return dx;
}

/// x: what f was applied to. Throws shape_error when dy does not fit.
template <differentiable_backend B>
[[nodiscard]] tensor_of<B> activation_vjp(B& b, const tensor_of<B>& x, activation f, const tensor_of<B>& dy) {
    check_cotangent("activation", dy.shape(), x.shape());
    auto dx = b.allocate(x.shape());
    b.activation_vjp(x, f, dy, dx);
    return dx;
}

/// x: the input of the forward call. Throws shape_error like group_norm, or when dy does not fit.
template <differentiable_backend B>
[[nodiscard]] tensor_of<B> group_norm_vjp(B& b, const tensor_of<B>& x, const norm_weights_of<B>& w,
                                          const tensor_of<B>* scale_shift, const group_norm_options& options,
                                          const tensor_of<B>& dy) {
    const shape4 s = scale_shift == nullptr ? shape4{} : scale_shift->shape();
    check_group_norm(x.shape(), w.channels(), options, scale_shift == nullptr ? nullptr : &s);
    check_cotangent("group_norm", dy.shape(), x.shape());
    auto dx = b.allocate(x.shape());
    b.group_norm_vjp(x, w, scale_shift, options, dy, dx);
    return dx;
}

/// qkv: the input of the forward call. Throws shape_error like attention, or when dy does not fit.
template <differentiable_backend B>
[[nodiscard]] tensor_of<B> attention_vjp(B& b, const tensor_of<B>& qkv, int heads, const tensor_of<B>& dy) {
    const shape4 in = qkv.shape();
    check_cotangent("attention", dy.shape(), attention_shape(in, heads));
    auto dqkv = b.allocate(in);
    b.attention_vjp(qkv, heads, dy, dqkv);
    return dqkv;
}

/// mode: that of the forward call. Throws shape_error when dy cannot be the result of a doubling.
template <differentiable_backend B>
[[nodiscard]] tensor_of<B> resize_vjp(B& b, const tensor_of<B>& dy, resampling mode) {
    if (mode == resampling::nearest_up && (dy.shape().h % 2 != 0 || dy.shape().w % 2 != 0)) {
        throw shape_error(joined_text({"resize_vjp: ", to_string(dy.shape()), " is not the shape of a doubled image"}));
    }
    return b.resize_vjp(dy, mode);
}

/// The first `channels` channels, and the rest. Throws shape_error unless both have at least one.
template <differentiable_backend B>
[[nodiscard]] std::pair<tensor_of<B>, tensor_of<B>> split(B& b, const tensor_of<B>& x, int channels) {
    if (channels < 1 || channels >= x.shape().c) {
        throw shape_error(
            joined_text({"split: ", to_string(x.shape()), " cannot be split after ", channels, " channels"}));
    }
    return b.split(x, channels);
}

/// The gradient with respect to an input of shape `in`. Throws shape_error when dy does not fit.
template <differentiable_backend B>
[[nodiscard]] tensor_of<B> mean_vjp(B& b, const tensor_of<B>& dy, const shape4& in) {
    check_cotangent("mean", dy.shape(), {in.n, in.c, 1, 1});
    auto dx = b.allocate(in);
    b.mean_vjp(dy, dx);
    return dx;
}

/// The gradient with respect to an input of shape `in`. Throws shape_error when dy does not fit.
template <differentiable_backend B>
[[nodiscard]] tensor_of<B> prepend_mean_vjp(B& b, const tensor_of<B>& dy, const shape4& in) {
    check_cotangent("prepend_mean", dy.shape(), {in.n, in.c, 1, 1 + in.h * in.w});
    auto dx = b.allocate(in);
    b.prepend_mean_vjp(dy, dx);
    return dx;
}

/// sum += x. Throws shape_error unless the shapes are equal.
template <differentiable_backend B> void accumulate(B& b, tensor_of<B>& sum, const tensor_of<B>& x) {
    check_cotangent("accumulate", x.shape(), sum.shape());
    b.accumulate(sum, x);
}

/// N(0, 1) by (seed of the image, draw, element). Throws shape_error unless there is one seed per image.
template <diffusion_backend B>
[[nodiscard]] tensor_of<B> normal(B& b, std::span<const std::uint64_t> seeds, std::uint64_t draw, shape4 shape) {
    if (seeds.size() != static_cast<std::size_t>(shape.n)) {
        throw shape_error(
            joined_text({"normal: ", seeds.size(), " seeds for the ", shape.n, " images of ", to_string(shape)}));
    }
    auto y = b.allocate(shape);
    b.normal(seeds, draw, y);
    return y;
}

/// One reverse step in place. A network may return channels for a variance that the step
/// does not use. Throws shape_error when prediction, z, guidance or x0 do not fit x.
template <diffusion_backend B>
void reverse_step(B& b, tensor_of<B>& x, const tensor_of<B>& prediction, const tensor_of<B>& z, const posterior& p,
                  tensor_of<B>* x0 = nullptr, const tensor_of<B>* guidance = nullptr) {
    const shape4 in = x.shape();
    const shape4 twice{in.n, 2 * in.c, in.h, in.w};
    if (prediction.shape() != twice && (is_learned(p.variance) || prediction.shape() != in)) {
        throw shape_error(
            joined_text({"reverse_step: the network returned ", to_string(prediction.shape()), " for images ",
                         to_string(in), ", a ", (is_learned(p.variance) ? "learned" : "fixed"), " variance needs ",
                         to_string(is_learned(p.variance) ? twice : in)}));
    }
    if (z.shape() != in || (x0 != nullptr && x0->shape() != in)) {
        throw shape_error(
            joined_text({"reverse_step: noise ", to_string(z.shape()), " does not fit images ", to_string(in)}));
    }
    if (guidance != nullptr && guidance->shape() != in) {
        throw shape_error(joined_text(
            {"reverse_step: the gradient ", to_string(guidance->shape()), " does not fit images ", to_string(in)}));
    }
    b.reverse_step(x, prediction, z, p, x0, guidance);
}

/// One forward step in place. Throws shape_error when z does not fit x.
template <diffusion_backend B> void forward_step(B& b, tensor_of<B>& x, const tensor_of<B>& z, mixing m) {
    if (z.shape() != x.shape()) {
        throw shape_error(
            joined_text({"forward_step: noise ", to_string(z.shape()), " does not fit images ", to_string(x.shape())}));
    }
    b.forward_step(x, z, m);
}

/// RePaint's merge in place. Throws shape_error when known, keep or z do not fit x.
template <diffusion_backend B>
void merge(B& b, tensor_of<B>& x, const tensor_of<B>& known, const tensor_of<B>& keep, const tensor_of<B>& z,
           mixing m) {
    const shape4 in = x.shape();
    const auto fits = [&in](const shape4& s, bool one_channel) {
        return (s.n == 1 || s.n == in.n) && (s.c == in.c || (one_channel && s.c == 1)) && s.h == in.h && s.w == in.w;
    };
    if (!fits(known.shape(), false) || !fits(keep.shape(), true) || z.shape() != in) {
        throw shape_error(
            joined_text({"merge: known ", to_string(known.shape()), ", keep mask ", to_string(keep.shape()),
                         " and noise ", to_string(z.shape()), " do not all fit images ", to_string(in)}));
    }
    b.merge(x, known, keep, z, m);
}

} // namespace repaint::ops
