#pragma once

#include <memory>
#include <type_traits>
#include <utility>

#include <repaint/concepts.hpp>
#include <repaint/core/host_tensor.hpp>

/// What a run is made of, behind one type each, so that a run is compiled once for a backend and not once for every
/// network, noise and step. A virtual call costs nothing beside an evaluation of a network.
namespace repaint {

/// A noise source of any kind, which it refers to.
template <diffusion_backend B> class any_noise {
public:
    template <draws_noise<B> N>
    requires(!std::same_as<N, any_noise>) explicit any_noise(N& noise)
        : noise_(&noise), draw_([](void* source, B& b, shape4 shape) { return (*static_cast<N*>(source))(b, shape); }) {
    }

    /// Fresh draws from N(0, I), (n, c, h, w).
    [[nodiscard]] tensor_of<B> operator()(B& b, shape4 shape) { return draw_(noise_, b, shape); }

private:
    void* noise_;
    tensor_of<B> (*draw_)(void*, B&, shape4);
};

/// A denoiser of any kind.
template <diffusion_backend B> class any_denoiser {
public:
    any_denoiser() = default;
    any_denoiser(const any_denoiser&) = delete;
    any_denoiser& operator=(const any_denoiser&) = delete;
    virtual ~any_denoiser() = default;

    /// x_t (n, c, h, w) and the index t -> the prediction (n, c or 2c, h, w).
    [[nodiscard]] virtual tensor_of<B> operator()(B& b, const tensor_of<B>& x, int t) = 0;

    /// Called once before a run on images of that shape.
    virtual void prepare(B&, const shape4&) {}
};

/// A conditioner of any kind.
template <diffusion_backend B> class any_condition {
public:
    any_condition() = default;
    any_condition(const any_condition&) = delete;
    any_condition& operator=(const any_condition&) = delete;
    virtual ~any_condition() = default;

    /// Imposes what is known on x, whose signal and noise are those of `level`.
    template <draws_noise<B> N> void operator()(B& b, tensor_of<B>& x, mixing level, N& noise) {
        if constexpr (std::same_as<N, any_noise<B>>) {
            impose(b, x, level, noise);
        } else {
            any_noise<B> any(noise);
            impose(b, x, level, any);
        }
    }

private:
    virtual void impose(B& b, tensor_of<B>& x, mixing level, any_noise<B>& noise) = 0;
};

/// A sampling loop of any kind.
template <diffusion_backend B> class any_loop {
public:
    any_loop() = default;
    any_loop(const any_loop&) = delete;
    any_loop& operator=(const any_loop&) = delete;
    virtual ~any_loop() = default;

    [[nodiscard]] virtual bool evaluates(const transition& move) const = 0;
    virtual void operator()(B& b, tensor_of<B>& x, const transition& move, bool first, any_denoiser<B>& denoise,
                            any_noise<B>& noise, tensor_of<B>* x0) = 0;
};

namespace detail {

/// Throws error when a prediction for index t of the process is not finite.
void check_prediction(const host_tensor& prediction, int t);

/// D: a type, whose value is held, or a reference. Whatever is not a number would become a picture all the same, since
/// what is clipped is in range: the predictions are looked at. Where looking means waiting for a device, only the first
/// of a run is.
template <diffusion_backend B, class D> class held_denoiser final : public any_denoiser<B> {
public:
    explicit held_denoiser(D&& denoise) : denoise_(std::forward<D>(denoise)) {}

    [[nodiscard]] tensor_of<B> operator()(B& b, const tensor_of<B>& x, int t) override {
        auto prediction = denoise_(b, x, t);
        if (!provides_replay<B> || !looked_) {
            check_prediction(b.download(prediction), t);
            looked_ = true;
        }
        return prediction;
    }

    void prepare(B& b, const shape4& images) override {
        looked_ = false;
        if constexpr (requires { denoise_.prepare(b, images); }) {
            denoise_.prepare(b, images);
        }
    }

private:
    D denoise_;
    bool looked_ = false;
};

template <diffusion_backend B, class C> class held_condition final : public any_condition<B> {
public:
    explicit held_condition(C condition) : condition_(std::move(condition)) {}

private:
    void impose(B& b, tensor_of<B>& x, mixing level, any_noise<B>& noise) override { condition_(b, x, level, noise); }

    C condition_;
};

template <diffusion_backend B, class L> class held_loop final : public any_loop<B> {
public:
    explicit held_loop(L loop) : loop_(std::move(loop)) {}

    [[nodiscard]] bool evaluates(const transition& move) const override { return loop_.evaluates(move); }

    void operator()(B& b, tensor_of<B>& x, const transition& move, bool first, any_denoiser<B>& denoise,
                    any_noise<B>& noise, tensor_of<B>* x0) override {
        loop_(b, x, move, first, denoise, noise, x0);
    }

private:
    L loop_;
};

} // namespace detail

} // namespace repaint

#ifndef REPAINT_COMPILED
#include <repaint/diffusion/interfaces.ipp>
#endif
