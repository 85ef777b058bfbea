#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <utility>

#include <repaint/concepts.hpp>
#include <repaint/error.hpp>

/// The checked face of a backend: infer the shape, verify, allocate, call. The same message on every backend, in
/// release too; the cost is a few integer comparisons against milliseconds of work.
namespace repaint::ops {

/// conv2d as provides_conv2d describes it. Throws shape_error when channels, kernel, options or residual do not fit.
template <network_backend B>
[[nodiscard]] tensor_of<B> conv2d(B& b, const tensor_of<B>& x, const conv2d_weights_of<B>& w,
                                  const conv2d_options& options = {}, const tensor_of<B>* residual = nullptr) {
    const shape4 in = x.shape();
    const shape4 kernel = w.shape();
    if (in.c != kernel.c) {
        throw shape_error("conv2d: input " + to_string(in) + " has " + std::to_string(in.c) +
                          " channels, the weights " + to_string(kernel) + " expect " + std::to_string(kernel.c));
    }
    if (options.stride < 1 || options.padding < 0) {
        throw shape_error("conv2d: stride must be at least 1 and padding at least 0, got " +
                          std::to_string(options.stride) + " and " + std::to_string(options.padding));
    }
    const int rows = in.h + 2 * options.padding - kernel.h;
    const int columns = in.w + 2 * options.padding - kernel.w;
    if (rows < 0 || columns < 0) {
        throw shape_error("conv2d: input " + to_string(in) + " is smaller than the kernel " + to_string(kernel) +
                          " with padding " + std::to_string(options.padding));
    }
    const shape4 out{in.n, kernel.n, rows / options.stride + 1, columns / options.stride + 1};
    if (residual != nullptr) {
        const shape4 r = residual->shape();
        const bool everywhere = r.h == 1 && r.w == 1 && (r.n == 1 || r.n == out.n) && r.c == out.c;
        if (!everywhere && r != out) {
            throw shape_error("conv2d: the residual " + to_string(r) + " fits neither the result " + to_string(out) +
                              " nor (1 or " + std::to_string(out.n) + ", " + std::to_string(out.c) + ", 1, 1)");
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

/// group_norm as provides_group_norm describes it. Throws shape_error when channels, groups or scale_shift do not fit.
template <network_backend B>
[[nodiscard]] tensor_of<B> group_norm(B& b, const tensor_of<B>& x, const norm_weights_of<B>& w,
                                      const group_norm_options& options = {},
                                      const tensor_of<B>* scale_shift = nullptr) {
    const shape4 in = x.shape();
    if (in.c != w.channels()) {
        throw shape_error("group_norm: input " + to_string(in) + " has " + std::to_string(in.c) +
                          " channels, the weights expect " + std::to_string(w.channels()));
    }
    if (options.groups < 1 || in.c % options.groups != 0) {
        throw shape_error("group_norm: " + std::to_string(in.c) + " channels do not divide into " +
                          std::to_string(options.groups) + " groups");
    }
    if (scale_shift != nullptr) {
        const shape4 s = scale_shift->shape();
        if ((s.n != 1 && s.n != in.n) || s.c != 2 * in.c || s.h != 1 || s.w != 1) {
            throw shape_error("group_norm: scale_shift " + to_string(s) + " does not fit input " + to_string(in) +
                              ", expected (1 or " + std::to_string(in.n) + ", " + std::to_string(2 * in.c) + ", 1, 1)");
        }
    }
    auto y = b.allocate(in);
    b.group_norm(x, w, scale_shift, options, y);
    return y;
}

/// attention as provides_attention describes it. Throws shape_error when the channels do not divide.
template <network_backend B> [[nodiscard]] tensor_of<B> attention(B& b, const tensor_of<B>& qkv, int heads) {
    const shape4 in = qkv.shape();
    if (heads < 1 || in.c % 3 != 0 || (in.c / 3) % heads != 0) {
        throw shape_error("attention: " + to_string(in) + " does not divide into queries, keys and values of " +
                          std::to_string(heads) + " heads");
    }
    auto y = b.allocate({in.n, in.c / 3, in.h, in.w});
    b.attention(qkv, heads, y);
    return y;
}

/// Twice the size by repetition, or half of it by the mean of 2x2. Throws shape_error when odd rows are to be halved.
template <network_backend B> [[nodiscard]] tensor_of<B> resize(B& b, const tensor_of<B>& x, resampling mode) {
    const shape4 in = x.shape();
    if (mode == resampling::average_down && (in.h % 2 != 0 || in.w % 2 != 0)) {
        throw shape_error("resize: " + to_string(in) + " cannot be halved, rows and columns must be even");
    }
    return b.resize(x, mode);
}

/// Joins along channels. Throws shape_error unless batch, rows and columns agree.
template <network_backend B> [[nodiscard]] tensor_of<B> concat(B& b, tensor_of<B> first, tensor_of<B> second) {
    const shape4 f = first.shape();
    const shape4 s = second.shape();
    if (f.n != s.n || f.h != s.h || f.w != s.w) {
        throw shape_error("concat: " + to_string(f) + " and " + to_string(s) + " differ in more than channels");
    }
    return b.concat(std::move(first), std::move(second));
}

/// N(0, 1) by (seed of the image, draw, element). Throws shape_error unless there is one seed per image.
template <diffusion_backend B>
[[nodiscard]] tensor_of<B> normal(B& b, std::span<const std::uint64_t> seeds, std::uint64_t draw, shape4 shape) {
    if (seeds.size() != static_cast<std::size_t>(shape.n)) {
        throw shape_error("normal: " + std::to_string(seeds.size()) + " seeds for the " + std::to_string(shape.n) +
                          " images of " + to_string(shape));
    }
    auto y = b.allocate(shape);
    b.normal(seeds, draw, y);
    return y;
}

/// One reverse step in place. Throws shape_error when prediction, z or x0 do not fit x.
template <diffusion_backend B>
void reverse_step(B& b, tensor_of<B>& x, const tensor_of<B>& prediction, const tensor_of<B>& z, const posterior& p,
                  tensor_of<B>* x0 = nullptr) {
    const shape4 in = x.shape();
    const shape4 expected{in.n, is_learned(p.variance) ? 2 * in.c : in.c, in.h, in.w};
    if (prediction.shape() != expected) {
        throw shape_error("reverse_step: the network returned " + to_string(prediction.shape()) + " for images " +
                          to_string(in) + ", a " + (is_learned(p.variance) ? "learned" : "fixed") + " variance needs " +
                          to_string(expected));
    }
    if (z.shape() != in || (x0 != nullptr && x0->shape() != in)) {
        throw shape_error("reverse_step: noise " + to_string(z.shape()) + " does not fit images " + to_string(in));
    }
    b.reverse_step(x, prediction, z, p, x0);
}

/// One forward step in place. Throws shape_error when z does not fit x.
template <diffusion_backend B> void forward_step(B& b, tensor_of<B>& x, const tensor_of<B>& z, mixing m) {
    if (z.shape() != x.shape()) {
        throw shape_error("forward_step: noise " + to_string(z.shape()) + " does not fit images " +
                          to_string(x.shape()));
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
        throw shape_error("merge: known " + to_string(known.shape()) + ", keep mask " + to_string(keep.shape()) +
                          " and noise " + to_string(z.shape()) + " do not all fit images " + to_string(in));
    }
    b.merge(x, known, keep, z, m);
}

} // namespace repaint::ops
