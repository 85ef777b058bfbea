#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <repaint/concepts.hpp>
#include <repaint/core/text.hpp>
#include <repaint/ops.hpp>

/// Layout, precision, threads: those of the backend behind it. Memory: what the pullback needs stays alive, the inputs of
/// norms and of attention; with tape_memory::recompute about half of that. Bad at: running what is not differentiated,
/// it only forwards.
namespace repaint {

/// What a tape keeps. keep: every value that the pullback asks for. recompute: of those only what several primitives have
/// taken (a block's input); the rest is computed a second time, on the way back.
enum class tape_memory { keep, recompute };

/// A network backend that forwards every call to B and records it; pullback() then plays the record backwards and gives
/// the gradient with respect to the tensor that was watched (reverse-mode differentiation). Networks need not know: they
/// run on it as on B, with the weights that B has packed. One evaluation per object; the backend and all weights that
/// were used must outlive it. For one thread at a time.
template <differentiable_backend B> class taped {
    struct node;

public:
    using conv2d_weights = conv2d_weights_of<B>;
    using norm_weights = norm_weights_of<B>;

    class tensor {
    public:
        tensor(tensor&&) noexcept = default;
        tensor& operator=(tensor&& other) noexcept {
            std::swap(node_, other.node_);
            return *this;
        }
        ~tensor() {
            if (node_) {
                node_->let_go();
            }
        }

        [[nodiscard]] shape4 shape() const { return node_->shape; }

    private:
        friend class taped;
        explicit tensor(std::shared_ptr<node> n) : node_(std::move(n)) {}
        std::shared_ptr<node> node_;
    };

    explicit taped(B& b, tape_memory memory = tape_memory::keep) : backend_(&b), memory_(memory) {}
    taped(const taped&) = delete;
    taped& operator=(const taped&) = delete;

    /// A tensor of the backend behind, to calculate with; nothing is taken with respect to it. It must outlive the tape.
    [[nodiscard]] tensor constant(const tensor_of<B>& x) {
        const auto n = std::make_shared<node>();
        n->shape = x.shape();
        // Owns nothing, and nothing writes to it: a primitive writes to what allocate() made.
        n->value = std::shared_ptr<tensor_of<B>>(std::shared_ptr<void>(), const_cast<tensor_of<B>*>(&x));
        n->asked_for = true;
        return tensor(n);
    }

    /// The tensor that gradients are taken with respect to. It must outlive the tape. Throws std::logic_error when there
    /// is one already.
    [[nodiscard]] tensor watch(const tensor_of<B>& x) {
        if (watched_) {
            throw std::logic_error("taped: one tensor is watched already; use a new tape for another evaluation");
        }
        tensor result = constant(x);
        result.node_->tracked = true;
        watched_ = result.node_;
        return result;
    }

    /// The value of a tensor, on the backend behind. Valid as long as the tensor.
    [[nodiscard]] const tensor_of<B>& value(const tensor& x) const { return *x.node_->value; }

    /// J^T cotangent, where J is the Jacobian of y with respect to the watched tensor: of its shape. Uses up the record.
    /// Throws std::logic_error when nothing is watched, shape_error unless the cotangent has the shape of y.
    [[nodiscard]] tensor_of<B> pullback(const tensor& y, tensor_of<B> cotangent) {
        if (!watched_) {
            throw std::logic_error("taped: pullback without a watched tensor, or for the second time");
        }
        ops::check_cotangent("taped", cotangent.shape(), y.shape());
        if (y.node_->tracked) {
            y.node_->gradient.emplace(std::move(cotangent));
        }
        while (!record_.empty()) {
            const entry last = std::move(record_.back());
            record_.pop_back();
            last.result->again = nullptr; // lets go of all that came before
            if (last.result->gradient) {
                tensor_of<B> dy = std::move(*last.result->gradient);
                last.result->gradient.reset();
                last.back(std::move(dy));
            }
        }
        const std::shared_ptr<node> x = std::move(watched_);
        return x->gradient ? std::move(*x->gradient) : backend_->upload(host_tensor(x->shape));
    }

    // ---- the primitives of a network ---------------------------------------------------------------------------------

    [[nodiscard]] tensor allocate(shape4 s) { return plain(backend_->allocate(s)); }
    [[nodiscard]] tensor upload(const host_tensor& host) { return plain(backend_->upload(host)); }
    [[nodiscard]] host_tensor download(const tensor& x) { return backend_->download(value(x)); }
    void synchronize() { backend_->synchronize(); }

    [[nodiscard]] conv2d_weights pack_conv2d(const host_weights& weights, const host_weights& bias) {
        return backend_->pack_conv2d(weights, bias);
    }
    [[nodiscard]] norm_weights pack_norm(const host_weights& gamma, const host_weights& beta) {
        return backend_->pack_norm(gamma, beta);
    }

    /// A residual that is added to every pixel must not depend on the watched tensor: std::logic_error.
    void conv2d(const tensor& x, const conv2d_weights& w, const tensor* residual, const conv2d_options& options,
                tensor& y) {
        backend_->conv2d(value(x), w, residual == nullptr ? nullptr : &value(*residual), options, *y.node_->value);
        const link in = x.node_;
        const link added = residual == nullptr ? nullptr : residual->node_;
        if (added && added->tracked && added->shape != y.shape()) {
            throw std::logic_error(joined_text({"taped: the residual ", to_string(added->shape),
                                                " that is added to every pixel of ", to_string(y.shape()),
                                                " depends on the watched tensor; its gradient is not provided for"}));
        }
        const auto again = [this, in, &w, added, shape = y.shape()](const conv2d_options& with) {
            const auto from = value_of(*in);
            const auto plus = added ? value_of(*added) : nullptr;
            auto result = backend_->allocate(shape);
            backend_->conv2d(*from, w, plus.get(), with, result);
            return result;
        };
        const bool activated = options.then != activation::none;
        recorded(
            y, {in, added}, activated ? std::vector<link>{in, added} : std::vector<link>{},
            [again, options] { return again(options); },
            [this, in, &w, added, options, again, activated](tensor_of<B> dy) {
                if (activated) {
                    conv2d_options before = options;
                    before.then = activation::none;
                    dy = ops::activation_vjp(*backend_, again(before), options.then, dy);
                }
                if (in->tracked) {
                    receive(*in, ops::conv2d_vjp(*backend_, dy, w, options, in->shape));
                }
                if (added && added->tracked) {
                    receive(*added, std::move(dy));
                }
            });
    }

    /// Throws std::logic_error when scale_shift depends on the watched tensor.
    void group_norm(const tensor& x, const norm_weights& w, const tensor* scale_shift,
                    const group_norm_options& options, tensor& y) {
        backend_->group_norm(value(x), w, scale_shift == nullptr ? nullptr : &value(*scale_shift), options,
                             *y.node_->value);
        const link in = x.node_;
        const link modulation = scale_shift == nullptr ? nullptr : scale_shift->node_;
        if (modulation && modulation->tracked) {
            throw std::logic_error(
                "taped: scale_shift depends on the watched tensor; its gradient is not provided for");
        }
        recorded(
            y, {in, modulation}, {in, modulation},
            [this, in, &w, modulation, options] {
                const auto from = value_of(*in);
                const auto with = modulation ? value_of(*modulation) : nullptr;
                auto result = backend_->allocate(in->shape);
                backend_->group_norm(*from, w, with.get(), options, result);
                return result;
            },
            [this, in, &w, modulation, options](tensor_of<B> dy) {
                const auto from = value_of(*in);
                const auto with = modulation ? value_of(*modulation) : nullptr;
                receive(*in, ops::group_norm_vjp(*backend_, *from, w, with.get(), options, dy));
            });
    }

    void attention(const tensor& qkv, int heads, tensor& y) {
        backend_->attention(value(qkv), heads, *y.node_->value);
        const link in = qkv.node_;
        recorded(
            y, {in}, {in}, [this, in, heads] { return ops::attention(*backend_, *value_of(*in), heads); },
            [this, in, heads](tensor_of<B> dy) {
                receive(*in, ops::attention_vjp(*backend_, *value_of(*in), heads, dy));
            });
    }

    [[nodiscard]] tensor resize(const tensor& x, resampling mode) {
        tensor y = plain(backend_->resize(value(x), mode));
        const link in = x.node_;
        recorded(
            y, {in}, {}, [this, in, mode] { return backend_->resize(*value_of(*in), mode); },
            [this, in, mode](tensor_of<B> dy) { receive(*in, ops::resize_vjp(*backend_, dy, mode)); });
        return y;
    }

    /// Keeps the parts, which others ask for as well, and joins them anew when the whole is asked for.
    [[nodiscard]] tensor concat(tensor first, tensor second) {
        const link a = first.node_;
        const link c = second.node_;
        const bool tracked = a->tracked || c->tracked;
        if (tracked) {
            use({a, c});
            a->pinned = true;
            c->pinned = true;
        }
        tensor y = plain(backend_->concat(taken(*a), taken(*c)));
        if (tracked) {
            finish(y, {}, {}, [this, a, c](tensor_of<B> dy) {
                auto [da, dc] = ops::split(*backend_, dy, a->shape.c);
                if (a->tracked) {
                    receive(*a, std::move(da));
                }
                if (c->tracked) {
                    receive(*c, std::move(dc));
                }
            });
            y.node_->rebuilt = true;
            y.node_->again = [this, a, c] {
                return backend_->concat(backend_->duplicate(*value_of(*a)), backend_->duplicate(*value_of(*c)));
            };
        }
        return y;
    }

    [[nodiscard]] tensor mean(const tensor& x) {
        tensor y = plain(backend_->mean(value(x)));
        const link in = x.node_;
        recorded(
            y, {in}, {}, [this, in] { return backend_->mean(*value_of(*in)); },
            [this, in](tensor_of<B> dy) { receive(*in, ops::mean_vjp(*backend_, dy, in->shape)); });
        return y;
    }

    [[nodiscard]] tensor prepend_mean(const tensor& x) {
        tensor y = plain(backend_->prepend_mean(value(x)));
        const link in = x.node_;
        recorded(
            y, {in}, {}, [this, in] { return backend_->prepend_mean(*value_of(*in)); },
            [this, in](tensor_of<B> dy) { receive(*in, ops::prepend_mean_vjp(*backend_, dy, in->shape)); });
        return y;
    }

private:
    using link = std::shared_ptr<node>;
    using recomputation = std::function<tensor_of<B>()>;

    /// What became of one tensor. Its handle is the network's; the record holds nodes.
    struct node {
        shape4 shape;
        std::shared_ptr<tensor_of<B>> value; ///< null when let go
        bool tracked = false;                ///< depends on the watched tensor
        bool asked_for = false;              ///< the pullback, or a recomputation, needs the value
        bool pinned = false;                 ///< stays in any case
        bool rebuilt = false;                ///< from pinned parts: goes in any case
        int takers = 0;                      ///< tracked primitives that took it
        recomputation again;                 ///< of the value; empty: it stays when asked for
        std::optional<tensor_of<B>> gradient;

        [[nodiscard]] bool stays() const { return pinned || (asked_for && !rebuilt && (!again || takers > 1)); }
        /// The network has dropped its handle: nobody but the record can take the value from now on.
        void let_go() {
            if (!stays()) {
                value.reset();
            }
        }
    };

    struct entry {
        link result;
        std::function<void(tensor_of<B>)> back;
    };

    tensor plain(tensor_of<B> value) {
        const auto n = std::make_shared<node>();
        n->shape = value.shape();
        n->value = std::make_shared<tensor_of<B>>(std::move(value));
        return tensor(n);
    }

    /// A tracked primitive takes these.
    void use(std::initializer_list<link> inputs) {
        for (const auto& in : inputs) {
            if (in) {
                ++in->takers;
                // Recomputations begin where there is none.
                in->asked_for = in->asked_for || (memory_ == tape_memory::recompute && !in->again);
            }
        }
    }

    /// Records a primitive when one of its inputs is tracked. needed: the inputs whose values `back` asks for.
    void recorded(tensor& y, std::initializer_list<link> inputs, const std::vector<link>& needed, recomputation again,
                  std::function<void(tensor_of<B>)> back) {
        for (const auto& in : inputs) {
            if (in && in->tracked) {
                use(inputs);
                finish(y, needed, std::move(again), std::move(back));
                return;
            }
        }
    }

    void finish(tensor& y, const std::vector<link>& needed, recomputation again,
                std::function<void(tensor_of<B>)> back) {
        y.node_->tracked = true;
        for (const auto& in : needed) {
            if (in) {
                in->asked_for = true;
            }
        }
        if (memory_ == tape_memory::recompute) {
            y.node_->again = std::move(again);
        }
        record_.push_back({y.node_, std::move(back)});
    }

    /// The value of a node whose handle is gone, computed anew if need be.
    [[nodiscard]] static std::shared_ptr<tensor_of<B>> value_of(const node& n) {
        return n.value ? n.value : std::make_shared<tensor_of<B>>(n.again());
    }

    /// The value for a primitive that takes it over: the value itself when nobody asks for it later.
    [[nodiscard]] tensor_of<B> taken(node& n) {
        if (n.stays()) {
            return backend_->duplicate(*n.value);
        }
        tensor_of<B> value = std::move(*n.value);
        n.value.reset();
        return value;
    }

    /// Adds to the gradient of a node.
    void receive(node& n, tensor_of<B> gradient) {
        if (n.gradient) {
            ops::accumulate(*backend_, *n.gradient, gradient);
        } else {
            n.gradient.emplace(std::move(gradient));
        }
    }

    B* backend_;
    tape_memory memory_;
    link watched_;
    std::vector<entry> record_;
};

} // namespace repaint
