#pragma once

#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <repaint/backend/cpu.hpp>
#include <repaint/backend/cpu/attention.hpp>
#include <repaint/backend/cpu/attention_vjp.hpp>
#include <repaint/backend/cpu/context.hpp>
#include <repaint/backend/cpu/conv2d.hpp>
#include <repaint/backend/cpu/conv2d_vjp.hpp>
#include <repaint/backend/cpu/convolution.hpp>
#include <repaint/backend/cpu/diffusion.hpp>
#include <repaint/backend/cpu/elementwise.hpp>
#include <repaint/backend/cpu/group_norm.hpp>
#include <repaint/backend/cpu/group_norm_vjp.hpp>
#include <repaint/backend/cpu/mean.hpp>
#include <repaint/backend/cpu/memory.hpp>
#include <repaint/backend/cpu/normalisation.hpp>
#include <repaint/backend/cpu/resize.hpp>
#include <repaint/backend/cpu/thread_pool.hpp>
#include <repaint/core/text.hpp>
#include <repaint/error.hpp>

namespace repaint {

namespace detail::cpu {

inline instruction_set supported(instruction_set s) {
    if (!is_supported(s)) {
        throw std::invalid_argument(
            joined_text({"this CPU does not support the instruction set ", std::string(to_string(s)), ", at most ",
                         std::string(to_string(best_instruction_set()))}));
    }
    return s;
}

inline storage rearranged(const context& with, const storage& x, arrangement a) {
    storage y(with.memory, x.shape, a);
    copy(x, y);
    return y;
}

/// A tensor in the arrangement that a primitive works on: the tensor itself, or a copy that lives as long as this.
template <arrangement A> class arranged {
public:
    arranged(const context& with, const storage* x) : used_(x) {
        if (x != nullptr && x->order != A) {
            used_ = &copy_.emplace(rearranged(with, *x, A));
        }
    }
    arranged(const context& with, const storage& x) : arranged(with, &x) {}
    arranged(const arranged&) = delete;
    arranged& operator=(const arranged&) = delete;
    ~arranged() = default;

    const storage& operator*() const { return *used_; }
    [[nodiscard]] const storage* get() const { return used_; }

private:
    const storage* used_;
    std::optional<storage> copy_;
};
using as_blocked = arranged<arrangement::blocked>;
using as_planar = arranged<arrangement::planar>;

/// Calls f with y in another arrangement if need be, and brings the result back; y then shares no memory. `read`: f
/// wants the content of y. An empty y is the result already.
template <class F> void in_arrangement(const context& with, arrangement a, storage& y, bool read, F&& f) {
    if (y.shape.size() == 0) {
        return;
    }
    if (y.shared()) {
        storage own(with.memory, y.shape, y.order);
        if (read) {
            copy(y, own);
        }
        y = std::move(own);
    }
    if (y.order == a) {
        f(y);
        return;
    }
    storage other(with.memory, y.shape, a);
    if (read) {
        copy(y, other);
    }
    f(other);
    copy(other, y);
}
template <class F> void in_blocked(const context& with, storage& y, F&& f) {
    in_arrangement(with, arrangement::blocked, y, false, std::forward<F>(f));
}
template <class F> void in_planar(const context& with, storage& y, bool read, F&& f) {
    in_arrangement(with, arrangement::planar, y, read, std::forward<F>(f));
}

} // namespace detail::cpu

// ---- tensors and weights

REPAINT_INLINE cpu_backend::tensor::tensor(storage values) : values_(std::move(values)) {}
REPAINT_INLINE cpu_backend::conv2d_weights::conv2d_weights(detail::cpu::packed_conv2d packed)
    : packed_(std::move(packed)) {}
REPAINT_INLINE cpu_backend::norm_weights::norm_weights(detail::cpu::packed_norm packed) : packed_(std::move(packed)) {}

REPAINT_INLINE cpu_backend::cpu_backend(const cpu_options& options)
    : instructions_(detail::cpu::supported(options.instructions.value_or(best_instruction_set()))),
      strict_(options.strict), probe_(options.probe),
      pool_(std::make_unique<detail::cpu::thread_pool>(options.threads)),
      memory_(std::make_shared<detail::cpu::memory_pool>()) {}
REPAINT_INLINE cpu_backend::cpu_backend(cpu_backend&& other) noexcept = default;
REPAINT_INLINE cpu_backend& cpu_backend::operator=(cpu_backend&& other) noexcept = default;
REPAINT_INLINE cpu_backend::~cpu_backend() = default;

REPAINT_INLINE int cpu_backend::threads() const { return pool_->threads(); }
REPAINT_INLINE std::size_t cpu_backend::peak_bytes() const { return memory_->extent(); }

REPAINT_INLINE detail::cpu::context cpu_backend::context(const cpu_call& call) const {
    const auto& kernels = detail::cpu::kernels_for(instructions_);
    return {*pool_, probe_ == nullptr ? kernels : probe_->begin(call, kernels), memory_, strict_, instructions_};
}

REPAINT_INLINE cpu_backend::tensor cpu_backend::allocate(shape4 s) {
    return tensor(storage(memory_, s, detail::cpu::arrangement_of(s)));
}

REPAINT_INLINE cpu_backend::tensor cpu_backend::view(float* values, shape4 s) {
    if (s.n < 0 || s.c < 0 || s.h < 0 || s.w < 0) {
        throw shape_error(joined_text({"view: negative extent in ", to_string(s)}));
    }
    if (values == nullptr && s.size() > 0) {
        throw std::invalid_argument(joined_text({"view: null is no memory for a tensor ", to_string(s)}));
    }
    return tensor(storage(s, values));
}

REPAINT_INLINE cpu_backend::tensor cpu_backend::upload(const host_tensor& host) {
    tensor x = allocate(host.shape());
    detail::cpu::from_planar(host.data(), x.values_);
    return x;
}

REPAINT_INLINE host_tensor cpu_backend::download(const tensor& x) {
    host_tensor host(x.shape());
    detail::cpu::to_planar(x.values_, host.data());
    return host;
}

REPAINT_INLINE cpu_backend::conv2d_weights cpu_backend::pack_conv2d(const host_weights& weights,
                                                                    const host_weights& bias) {
    return conv2d_weights(detail::cpu::pack_conv2d(*pool_, detail::cpu::kernels_for(instructions_), weights, bias));
}

REPAINT_INLINE cpu_backend::norm_weights cpu_backend::pack_norm(const host_weights& gamma, const host_weights& beta) {
    return norm_weights({{gamma.values.get(), gamma.values.get() + gamma.shape.size()},
                         {beta.values.get(), beta.values.get() + beta.shape.size()}});
}

// ---- the network

REPAINT_INLINE void cpu_backend::conv2d(const tensor& x, const conv2d_weights& w, const tensor* residual,
                                        const conv2d_options& options, tensor& y) {
    const auto with = context({cpu_primitive::conv2d, x.shape(), w.shape(), y.shape()});
    const detail::cpu::as_blocked input(with, x.values_);
    const detail::cpu::as_blocked addend(with, residual == nullptr ? nullptr : &residual->values_);
    detail::cpu::in_blocked(with, y.values_, [&](storage& out) {
        detail::cpu::conv2d(with, {*input, w.packed_, addend.get(), options, out});
    });
}

REPAINT_INLINE detail::cpu::normalisation cpu_backend::normalisation(const storage& x, const norm_weights& w,
                                                                     const tensor* scale_shift,
                                                                     const group_norm_options& options) {
    return {x, w.packed_, scale_shift == nullptr ? nullptr : &scale_shift->values_, options};
}

REPAINT_INLINE void cpu_backend::group_norm(const tensor& x, const norm_weights& w, const tensor* scale_shift,
                                            const group_norm_options& options, tensor& y) {
    const auto with = context({cpu_primitive::group_norm, x.shape(), {}, y.shape()});
    const detail::cpu::as_blocked input(with, x.values_);
    detail::cpu::in_blocked(with, y.values_, [&](storage& out) {
        detail::cpu::group_norm(with, normalisation(*input, w, scale_shift, options), out);
    });
}

REPAINT_INLINE void cpu_backend::attention(const tensor& qkv, int heads, tensor& y) {
    const auto with = context({cpu_primitive::attention, qkv.shape(), {}, y.shape()});
    const detail::cpu::as_blocked input(with, qkv.values_);
    detail::cpu::in_blocked(with, y.values_, [&](storage& out) { detail::cpu::attention(with, *input, heads, out); });
}

REPAINT_INLINE cpu_backend::tensor cpu_backend::resized(const tensor& x, bool up, float factor) {
    const shape4 s = x.shape();
    tensor y = allocate(up ? shape4{s.n, s.c, 2 * s.h, 2 * s.w} : shape4{s.n, s.c, s.h / 2, s.w / 2});
    const auto with = context({cpu_primitive::resize, s, {}, y.shape()});
    const detail::cpu::as_blocked input(with, x.values_);
    detail::cpu::in_blocked(with, y.values_, [&](storage& out) {
        if (up) {
            detail::cpu::double_pixels(with, *input, factor, out);
        } else {
            detail::cpu::halve_pixels(with, *input, factor, out);
        }
    });
    return y;
}

REPAINT_INLINE cpu_backend::tensor cpu_backend::resize(const tensor& x, resampling mode) {
    return mode == resampling::nearest_up ? resized(x, true, 1.0F) : resized(x, false, 0.25F);
}

REPAINT_INLINE cpu_backend::tensor cpu_backend::concat(tensor first, tensor second) {
    const shape4 s = first.shape();
    const shape4 joined{s.n, s.c + second.shape().c, s.h, s.w};
    if (s.c % detail::cpu::lanes == 0 && !first.values_.planar() && !second.values_.planar()) {
        auto ranges = std::move(first.values_.ranges);
        for (auto& range : second.values_.ranges) {
            ranges.push_back(std::move(range));
        }
        return tensor(storage(joined, detail::cpu::arrangement::blocked, std::move(ranges)));
    }
    tensor y = allocate(joined);
    detail::cpu::copy_channels(first.values_, 0, s.c, y.values_, 0);
    detail::cpu::copy_channels(second.values_, 0, second.shape().c, y.values_, s.c);
    return y;
}

REPAINT_INLINE cpu_backend::tensor cpu_backend::mean(const tensor& x) {
    tensor y = allocate({x.shape().n, x.shape().c, 1, 1});
    const auto with = context({cpu_primitive::other, x.shape(), {}, y.shape()});
    const detail::cpu::as_blocked input(with, x.values_);
    detail::cpu::in_blocked(with, y.values_, [&](storage& out) { detail::cpu::mean(with, *input, out); });
    return y;
}

REPAINT_INLINE cpu_backend::tensor cpu_backend::prepend_mean(const tensor& x) {
    const shape4 s = x.shape();
    tensor y = allocate({s.n, s.c, 1, 1 + s.h * s.w});
    const auto with = context({cpu_primitive::other, x.shape(), {}, y.shape()});
    const detail::cpu::as_blocked input(with, x.values_);
    detail::cpu::in_blocked(with, y.values_, [&](storage& out) { detail::cpu::prepend_mean(with, *input, out); });
    return y;
}

// ---- gradients

REPAINT_INLINE void cpu_backend::conv2d_vjp(const tensor& dy, const conv2d_weights& w, const conv2d_options& options,
                                            tensor& dx) {
    const auto with = context({cpu_primitive::gradient, dy.shape(), w.shape(), dx.shape()});
    const detail::cpu::as_blocked cotangent(with, dy.values_);
    detail::cpu::in_blocked(with, dx.values_,
                            [&](storage& out) { detail::cpu::conv2d_vjp(with, *cotangent, w.packed_, options, out); });
}

REPAINT_INLINE void cpu_backend::activation_vjp(const tensor& x, activation f, const tensor& dy, tensor& dx) {
    const auto with = context({cpu_primitive::gradient, dy.shape(), {}, dx.shape()});
    const detail::cpu::as_blocked input(with, x.values_);
    const detail::cpu::as_blocked cotangent(with, dy.values_);
    detail::cpu::in_blocked(with, dx.values_,
                            [&](storage& out) { detail::cpu::activation_vjp(with, *input, f, *cotangent, out); });
}

REPAINT_INLINE void cpu_backend::group_norm_vjp(const tensor& x, const norm_weights& w, const tensor* scale_shift,
                                                const group_norm_options& options, const tensor& dy, tensor& dx) {
    const auto with = context({cpu_primitive::gradient, dy.shape(), {}, dx.shape()});
    const detail::cpu::as_blocked input(with, x.values_);
    const detail::cpu::as_blocked cotangent(with, dy.values_);
    detail::cpu::in_blocked(with, dx.values_, [&](storage& out) {
        detail::cpu::group_norm_vjp(with, normalisation(*input, w, scale_shift, options), *cotangent, out);
    });
}

REPAINT_INLINE void cpu_backend::attention_vjp(const tensor& qkv, int heads, const tensor& dy, tensor& dqkv) {
    const auto with = context({cpu_primitive::gradient, dy.shape(), {}, dqkv.shape()});
    const detail::cpu::as_blocked input(with, qkv.values_);
    const detail::cpu::as_blocked cotangent(with, dy.values_);
    detail::cpu::in_blocked(with, dqkv.values_,
                            [&](storage& out) { detail::cpu::attention_vjp(with, *input, heads, *cotangent, out); });
}

REPAINT_INLINE cpu_backend::tensor cpu_backend::resize_vjp(const tensor& dy, resampling mode) {
    return mode == resampling::nearest_up ? resized(dy, false, 1.0F) : resized(dy, true, 0.25F);
}

REPAINT_INLINE std::pair<cpu_backend::tensor, cpu_backend::tensor> cpu_backend::split(const tensor& x, int channels) {
    const shape4 s = x.shape();
    const int others = s.c - channels;
    if (!x.values_.planar() && channels % detail::cpu::lanes == 0) {
        return {tensor(x.values_.part(0, channels)), tensor(x.values_.part(channels, others))};
    }
    std::pair<tensor, tensor> both{allocate({s.n, channels, s.h, s.w}), allocate({s.n, others, s.h, s.w})};
    detail::cpu::copy_channels(x.values_, 0, channels, both.first.values_, 0);
    detail::cpu::copy_channels(x.values_, channels, others, both.second.values_, 0);
    return both;
}

REPAINT_INLINE void cpu_backend::mean_vjp(const tensor& dy, tensor& dx) {
    const auto with = context({cpu_primitive::gradient, dy.shape(), {}, dx.shape()});
    const detail::cpu::as_blocked cotangent(with, dy.values_);
    detail::cpu::in_blocked(with, dx.values_, [&](storage& out) { detail::cpu::mean_vjp(with, *cotangent, out); });
}

REPAINT_INLINE void cpu_backend::prepend_mean_vjp(const tensor& dy, tensor& dx) {
    const auto with = context({cpu_primitive::gradient, dy.shape(), {}, dx.shape()});
    const detail::cpu::as_blocked cotangent(with, dy.values_);
    detail::cpu::in_blocked(with, dx.values_,
                            [&](storage& out) { detail::cpu::prepend_mean_vjp(with, *cotangent, out); });
}

REPAINT_INLINE void cpu_backend::accumulate(tensor& sum, const tensor& x) {
    const auto with = context({cpu_primitive::gradient, x.shape(), {}, sum.shape()});
    const detail::cpu::as_blocked more(with, x.values_);
    detail::cpu::in_arrangement(with, detail::cpu::arrangement::blocked, sum.values_, true,
                                [&](storage& all) { detail::cpu::accumulate(with, all, *more); });
}

REPAINT_INLINE cpu_backend::tensor cpu_backend::duplicate(const tensor& x) {
    return tensor(x.values_.borrowed()
                      ? detail::cpu::rearranged(context(), x.values_, detail::cpu::arrangement_of(x.shape()))
                      : x.values_.alias());
}

// ---- diffusion

REPAINT_INLINE void cpu_backend::normal(std::span<const std::uint64_t> seeds, std::uint64_t draw, tensor& y) {
    const auto with = context({cpu_primitive::diffusion, y.shape(), {}, y.shape()});
    detail::cpu::in_planar(with, y.values_, false, [&](storage& out) { detail::cpu::normal(with, seeds, draw, out); });
}

REPAINT_INLINE void cpu_backend::reverse_step(tensor& x, const tensor& prediction, const tensor& z, const posterior& p,
                                              tensor* x0, const tensor* guidance) {
    const auto with = context({cpu_primitive::diffusion, x.shape(), {}, x.shape()});
    const detail::cpu::as_planar mean(with, prediction.values_);
    const detail::cpu::as_planar noise(with, z.values_);
    const detail::cpu::as_planar gradient(with, guidance == nullptr ? nullptr : &guidance->values_);
    detail::cpu::in_planar(with, x.values_, true, [&](storage& current) {
        if (x0 == nullptr) {
            detail::cpu::reverse_step(with, current, *mean, *noise, p, nullptr, gradient.get());
        } else {
            detail::cpu::in_planar(with, x0->values_, false, [&](storage& shown) {
                detail::cpu::reverse_step(with, current, *mean, *noise, p, &shown, gradient.get());
            });
        }
    });
}

REPAINT_INLINE void cpu_backend::forward_step(tensor& x, const tensor& z, mixing m) {
    const auto with = context({cpu_primitive::diffusion, x.shape(), {}, x.shape()});
    const detail::cpu::as_planar noise(with, z.values_);
    detail::cpu::in_planar(with, x.values_, true,
                           [&](storage& current) { detail::cpu::forward_step(with, current, *noise, m); });
}

REPAINT_INLINE void cpu_backend::merge(tensor& x, const tensor& known, const tensor& keep, const tensor& z, mixing m) {
    const auto with = context({cpu_primitive::diffusion, x.shape(), {}, x.shape()});
    const detail::cpu::as_planar image(with, known.values_);
    const detail::cpu::as_planar mask(with, keep.values_);
    const detail::cpu::as_planar noise(with, z.values_);
    detail::cpu::in_planar(with, x.values_, true,
                           [&](storage& current) { detail::cpu::merge(with, current, *image, *mask, *noise, m); });
}

} // namespace repaint
