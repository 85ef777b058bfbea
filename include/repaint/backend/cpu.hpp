#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <utility>

#include <repaint/backend/cpu/attention.hpp>
#include <repaint/backend/cpu/attention_vjp.hpp>
#include <repaint/backend/cpu/context.hpp>
#include <repaint/backend/cpu/conv2d.hpp>
#include <repaint/backend/cpu/conv2d_vjp.hpp>
#include <repaint/backend/cpu/diffusion.hpp>
#include <repaint/backend/cpu/elementwise.hpp>
#include <repaint/backend/cpu/group_norm.hpp>
#include <repaint/backend/cpu/group_norm_vjp.hpp>
#include <repaint/backend/cpu/instruction_set.hpp>
#include <repaint/backend/cpu/mean.hpp>
#include <repaint/backend/cpu/resize.hpp>
#include <repaint/concepts.hpp>

/// Layout: blocks of sixteen channels, planar below that (cpu/layout.hpp). Precision: float32; 3x3 convolutions by
/// Winograd's method where that is cheaper, or direct ones only (cpu_options::strict). Threads: a pool of its own; the
/// object is for one thread at a time, results do not depend on the number. Memory: an arena; weights once. Bad at:
/// fewer than 16 channels.
namespace repaint {

/// How cpu_backend computes.
struct cpu_options {
    int threads = 0; ///< 0: the cores this process may use
    /// Direct convolutions only: the rounding of a plain sum, at a half to a third of the speed.
    bool strict = false;
    /// The widest that this CPU supports, unless told.
    std::optional<instruction_set> instructions = std::nullopt;
};

/// The fast backend for CPUs: own kernels, chosen at run time for AVX-512, AVX2 or neither.
class cpu_backend {
public:
    class tensor {
    public:
        [[nodiscard]] const shape4& shape() const { return values_.shape; }

    private:
        friend class cpu_backend;
        explicit tensor(detail::cpu::storage values) : values_(std::move(values)) {}
        detail::cpu::storage values_;
    };

    class conv2d_weights {
    public:
        [[nodiscard]] const shape4& shape() const { return packed_.shape; }

    private:
        friend class cpu_backend;
        explicit conv2d_weights(detail::cpu::packed_conv2d packed) : packed_(std::move(packed)) {}
        detail::cpu::packed_conv2d packed_;
    };

    class norm_weights {
    public:
        [[nodiscard]] int channels() const { return static_cast<int>(packed_.gamma.size()); }

    private:
        friend class cpu_backend;
        explicit norm_weights(detail::cpu::packed_norm packed) : packed_(std::move(packed)) {}
        detail::cpu::packed_norm packed_;
    };

    /// Throws std::invalid_argument when the number of threads is negative or the CPU lacks the instructions asked for.
    explicit cpu_backend(const cpu_options& options = {})
        : instructions_(checked(options.instructions.value_or(best_instruction_set()))), strict_(options.strict),
          pool_(std::make_unique<detail::cpu::thread_pool>(options.threads)),
          memory_(std::make_shared<detail::cpu::memory_pool>()) {}

    [[nodiscard]] int threads() const { return pool_->threads(); }
    [[nodiscard]] instruction_set instructions() const { return instructions_; }
    [[nodiscard]] bool strict() const { return strict_; }
    /// Bytes of activations and scratch that were ever needed at once, holes between them included.
    [[nodiscard]] std::size_t peak_bytes() const { return memory_->extent(); }

    [[nodiscard]] tensor allocate(shape4 s) { return tensor(new_storage(s, detail::cpu::arrangement_of(s))); }

    [[nodiscard]] tensor upload(const host_tensor& host) {
        tensor x = allocate(host.shape());
        detail::cpu::from_planar(host.data(), x.values_);
        return x;
    }

    [[nodiscard]] host_tensor download(const tensor& x) {
        host_tensor host(x.shape());
        detail::cpu::to_planar(x.values_, host.data());
        return host;
    }

    void synchronize() {}

    [[nodiscard]] conv2d_weights pack_conv2d(const host_weights& weights, const host_weights& bias) {
        return conv2d_weights(detail::cpu::pack_conv2d(*pool_, kernels(), weights, bias));
    }

    [[nodiscard]] norm_weights pack_norm(const host_weights& gamma, const host_weights& beta) {
        return norm_weights({{gamma.values.get(), gamma.values.get() + gamma.shape.size()},
                             {beta.values.get(), beta.values.get() + beta.shape.size()}});
    }

    void conv2d(const tensor& x, const conv2d_weights& w, const tensor* residual, const conv2d_options& options,
                tensor& y) {
        const as_blocked input(*this, x.values_);
        const as_blocked addend(*this, residual == nullptr ? nullptr : &residual->values_);
        in_blocked(y.values_, [&](storage& out) {
            detail::cpu::conv2d(context(), {*input, w.packed_, addend.get(), options, out});
        });
    }

    void group_norm(const tensor& x, const norm_weights& w, const tensor* scale_shift,
                    const group_norm_options& options, tensor& y) {
        const as_blocked input(*this, x.values_);
        in_blocked(y.values_, [&](storage& out) {
            detail::cpu::group_norm(context(), normalisation(*input, w, scale_shift, options), out);
        });
    }

    void attention(const tensor& qkv, int heads, tensor& y) {
        const as_blocked input(*this, qkv.values_);
        in_blocked(y.values_, [&](storage& out) { detail::cpu::attention(context(), *input, heads, out); });
    }

    [[nodiscard]] tensor resize(const tensor& x, resampling mode) {
        return mode == resampling::nearest_up ? resized(x, true, 1.0F) : resized(x, false, 0.25F);
    }

    /// No copy where the first tensor's channels fill whole blocks.
    [[nodiscard]] tensor concat(tensor first, tensor second) {
        const shape4 s = first.shape();
        const shape4 joined{s.n, s.c + second.shape().c, s.h, s.w};
        if (s.c % detail::cpu::lanes == 0 && !second.values_.planar()) {
            auto ranges = std::move(first.values_.ranges);
            for (auto& range : second.values_.ranges) {
                ranges.push_back(std::move(range));
            }
            return tensor(storage(joined, arrangement::blocked, std::move(ranges)));
        }
        tensor y = allocate(joined);
        copy_channels(first.values_, 0, s.c, y.values_, 0);
        copy_channels(second.values_, 0, second.shape().c, y.values_, s.c);
        return y;
    }

    [[nodiscard]] tensor mean(const tensor& x) {
        tensor y = allocate({x.shape().n, x.shape().c, 1, 1});
        const as_blocked input(*this, x.values_);
        in_blocked(y.values_, [&](storage& out) { detail::cpu::mean(context(), *input, out); });
        return y;
    }

    [[nodiscard]] tensor prepend_mean(const tensor& x) {
        const shape4 s = x.shape();
        tensor y = allocate({s.n, s.c, 1, 1 + s.h * s.w});
        const as_blocked input(*this, x.values_);
        in_blocked(y.values_, [&](storage& out) { detail::cpu::prepend_mean(context(), *input, out); });
        return y;
    }

    void conv2d_vjp(const tensor& dy, const conv2d_weights& w, const conv2d_options& options, tensor& dx) {
        const as_blocked cotangent(*this, dy.values_);
        in_blocked(dx.values_,
                   [&](storage& out) { detail::cpu::conv2d_vjp(context(), *cotangent, w.packed_, options, out); });
    }

    void activation_vjp(const tensor& x, activation f, const tensor& dy, tensor& dx) {
        const as_blocked input(*this, x.values_);
        const as_blocked cotangent(*this, dy.values_);
        in_blocked(dx.values_,
                   [&](storage& out) { detail::cpu::activation_vjp(context(), *input, f, *cotangent, out); });
    }

    void group_norm_vjp(const tensor& x, const norm_weights& w, const tensor* scale_shift,
                        const group_norm_options& options, const tensor& dy, tensor& dx) {
        const as_blocked input(*this, x.values_);
        const as_blocked cotangent(*this, dy.values_);
        in_blocked(dx.values_, [&](storage& out) {
            const auto with = context();
            const auto n = normalisation(*input, w, scale_shift, options);
            detail::cpu::group_norm_gradient(with, n, *cotangent, out).run();
        });
    }

    void attention_vjp(const tensor& qkv, int heads, const tensor& dy, tensor& dqkv) {
        const as_blocked input(*this, qkv.values_);
        const as_blocked cotangent(*this, dy.values_);
        in_blocked(dqkv.values_, [&](storage& out) {
            const auto with = context();
            detail::cpu::attention_gradient(with, *input, heads, *cotangent, out).run();
        });
    }

    [[nodiscard]] tensor resize_vjp(const tensor& dy, resampling mode) {
        return mode == resampling::nearest_up ? resized(dy, false, 1.0F) : resized(dy, true, 0.25F);
    }

    /// No copy where the first channels fill whole blocks.
    [[nodiscard]] std::pair<tensor, tensor> split(const tensor& x, int channels) {
        const shape4 s = x.shape();
        const int others = s.c - channels;
        if (!x.values_.planar() && channels % detail::cpu::lanes == 0) {
            return {tensor(x.values_.part(0, channels)), tensor(x.values_.part(channels, others))};
        }
        std::pair<tensor, tensor> both{allocate({s.n, channels, s.h, s.w}), allocate({s.n, others, s.h, s.w})};
        copy_channels(x.values_, 0, channels, both.first.values_, 0);
        copy_channels(x.values_, channels, others, both.second.values_, 0);
        return both;
    }

    void mean_vjp(const tensor& dy, tensor& dx) {
        const as_blocked cotangent(*this, dy.values_);
        in_blocked(dx.values_, [&](storage& out) { detail::cpu::mean_vjp(context(), *cotangent, out); });
    }

    void prepend_mean_vjp(const tensor& dy, tensor& dx) {
        const as_blocked cotangent(*this, dy.values_);
        in_blocked(dx.values_, [&](storage& out) { detail::cpu::prepend_mean_vjp(context(), *cotangent, out); });
    }

    void accumulate(tensor& sum, const tensor& x) {
        const as_blocked more(*this, x.values_);
        in_arrangement(arrangement::blocked, sum.values_, true,
                       [&](storage& all) { detail::cpu::accumulate(context(), all, *more); });
    }

    /// No copy: whoever writes to one of the two first takes memory of its own.
    [[nodiscard]] tensor duplicate(const tensor& x) { return tensor(x.values_.alias()); }

    void normal(std::span<const std::uint64_t> seeds, std::uint64_t draw, tensor& y) {
        in_planar(y.values_, false, [&](storage& out) { detail::cpu::normal(context(), seeds, draw, out); });
    }

    void reverse_step(tensor& x, const tensor& prediction, const tensor& z, const posterior& p, tensor* x0,
                      const tensor* guidance) {
        const as_planar mean(*this, prediction.values_);
        const as_planar noise(*this, z.values_);
        const as_planar gradient(*this, guidance == nullptr ? nullptr : &guidance->values_);
        in_planar(x.values_, true, [&](storage& current) {
            if (x0 == nullptr) {
                detail::cpu::reverse_step(context(), current, *mean, *noise, p, nullptr, gradient.get());
            } else {
                in_planar(x0->values_, false, [&](storage& shown) {
                    detail::cpu::reverse_step(context(), current, *mean, *noise, p, &shown, gradient.get());
                });
            }
        });
    }

    void forward_step(tensor& x, const tensor& z, mixing m) {
        const as_planar noise(*this, z.values_);
        in_planar(x.values_, true, [&](storage& current) { detail::cpu::forward_step(context(), current, *noise, m); });
    }

    void merge(tensor& x, const tensor& known, const tensor& keep, const tensor& z, mixing m) {
        const as_planar image(*this, known.values_);
        const as_planar mask(*this, keep.values_);
        const as_planar noise(*this, z.values_);
        in_planar(x.values_, true,
                  [&](storage& current) { detail::cpu::merge(context(), current, *image, *mask, *noise, m); });
    }

private:
    using storage = detail::cpu::storage;
    using arrangement = detail::cpu::arrangement;

    static instruction_set checked(instruction_set s) {
        if (!is_supported(s)) {
            throw std::invalid_argument("this CPU does not support the instruction set " + std::string(to_string(s)) +
                                        ", at most " + std::string(to_string(best_instruction_set())));
        }
        return s;
    }

    [[nodiscard]] const detail::cpu::kernel_table& kernels() const { return detail::cpu::kernels_for(instructions_); }
    [[nodiscard]] detail::cpu::context context() const { return {*pool_, kernels(), memory_, strict_}; }
    [[nodiscard]] storage new_storage(const shape4& s, arrangement a) const { return {memory_, s, a}; }

    /// A tensor in the arrangement that a primitive works on: itself, or a copy for as long as this lives.
    template <arrangement A> class arranged {
    public:
        arranged(const cpu_backend& b, const storage* x) : used_(x) {
            if (x != nullptr && x->order != A) {
                used_ = &copy_.emplace(b.rearranged(*x, A));
            }
        }
        arranged(const cpu_backend& b, const storage& x) : arranged(b, &x) {}
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

    [[nodiscard]] static detail::cpu::normalisation normalisation(const storage& x, const norm_weights& w,
                                                                  const tensor* scale_shift,
                                                                  const group_norm_options& options) {
        return {x, w.packed_, scale_shift == nullptr ? nullptr : &scale_shift->values_, options};
    }

    /// Each pixel of x times a factor to 2x2, or the sum of 2x2 times it.
    [[nodiscard]] tensor resized(const tensor& x, bool up, float factor) {
        const shape4 s = x.shape();
        tensor y = allocate(up ? shape4{s.n, s.c, 2 * s.h, 2 * s.w} : shape4{s.n, s.c, s.h / 2, s.w / 2});
        const as_blocked input(*this, x.values_);
        in_blocked(y.values_, [&](storage& out) {
            if (up) {
                detail::cpu::double_pixels(context(), *input, factor, out);
            } else {
                detail::cpu::halve_pixels(context(), *input, factor, out);
            }
        });
        return y;
    }

    /// Channels [first, first + count) of x become those of y from `to` on.
    static void copy_channels(const storage& x, int first, int count, storage& y, int to) {
        for (int n = 0; n < x.shape.n; ++n) {
            for (int c = 0; c < count; ++c) {
                const auto source = detail::cpu::channel(x, n, first + c);
                const auto target = detail::cpu::channel(y, n, to + c);
                for (std::size_t i = 0; i < x.shape.plane(); ++i) {
                    target.first[i * target.step] = source.first[i * source.step];
                }
            }
        }
    }

    [[nodiscard]] storage rearranged(const storage& x, arrangement a) const {
        storage y = new_storage(x.shape, a);
        copy(x, y);
        return y;
    }

    static void copy(const storage& x, storage& y) {
        if (!x.planar() && !y.planar()) {
            for (int n = 0; n < x.shape.n; ++n) {
                for (int block = 0; block < x.blocks(); ++block) {
                    std::copy_n(x.plane(n, block), x.shape.plane() * detail::cpu::lanes, y.plane(n, block));
                }
            }
        } else if (y.planar()) {
            detail::cpu::to_planar(x, y.data());
        } else {
            detail::cpu::from_planar(x.data(), y);
        }
    }

    /// Calls f with y in another arrangement if need be, and brings the result back; y then shares no memory. `read`: f
    /// wants y's content.
    template <class F> void in_arrangement(arrangement a, storage& y, bool read, F&& f) {
        if (y.shared()) {
            storage own = new_storage(y.shape, y.order);
            if (read) {
                copy(y, own);
            }
            y = std::move(own);
        }
        if (y.order == a) {
            f(y);
            return;
        }
        storage other = new_storage(y.shape, a);
        if (read) {
            copy(y, other);
        }
        f(other);
        copy(other, y);
    }
    template <class F> void in_blocked(storage& y, F&& f) {
        in_arrangement(arrangement::blocked, y, false, std::forward<F>(f));
    }
    template <class F> void in_planar(storage& y, bool read, F&& f) {
        in_arrangement(arrangement::planar, y, read, std::forward<F>(f));
    }

    instruction_set instructions_;
    bool strict_;
    std::unique_ptr<detail::cpu::thread_pool> pool_;
    std::shared_ptr<detail::cpu::memory_pool> memory_;
};

static_assert(tensor_backend<cpu_backend>);
static_assert(differentiable_backend<cpu_backend>);

} // namespace repaint
