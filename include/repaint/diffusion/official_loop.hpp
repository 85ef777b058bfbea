#pragma once

#include <functional>
#include <utility>

#include <repaint/concepts.hpp>
#include <repaint/diffusion/process.hpp>
#include <repaint/ops.hpp>

namespace repaint {

/// The gradient that guides a reverse step: x_t (n, c, h, w) and the index t -> (n, c, h, w), such as
/// scale * d log p(y | x_t) / d x_t (Dhariwal and Nichol 2021, algorithm 1).
template <diffusion_backend B> using guide = std::function<tensor_of<B>(B&, const tensor_of<B>&, int)>;

/// The official program's transitions (Lugmayr et al. 2022, algorithm 1, as its code has it). A reverse step at index t
/// draws its noise z first, then imposes the condition on x_t (which may draw; not before the first evaluation, when x is
/// pure noise), then asks the network and the guide, then forms x_{t-1}. A forward step adds the noise of the timestep
/// it goes to. What the official code leaves undone stays undone: the last x is not merged with the known region.
template <diffusion_backend B, class C> class official_loop {
public:
    /// Both must outlive it. A condition is a `conditioner`; an empty guide means none.
    official_loop(const diffusion_process& process, C& condition, guide<B> guidance = {})
        : process_(&process), condition_(&condition), guide_(std::move(guidance)) {}

    /// True when the transition asks the network.
    [[nodiscard]] static bool evaluates(const transition& move) { return move.to < move.from; }

    /// x: at move.from, then at move.to. x0, when not null, receives the predicted x_0 of a reverse step.
    template <denoiser<B> D, noise_source<B> N>
    requires conditioner<C, B, N>
    void operator()(B& b, tensor_of<B>& x, const transition& move, bool first, D& denoise, N& noise,
                    tensor_of<B>* x0) const {
        const auto z = noise(b, x.shape());
        if (!evaluates(move)) {
            ops::forward_step(b, x, z, process_->forward(move.to));
            return;
        }
        if (!first) {
            (*condition_)(b, x, process_->marginal(move.from), noise);
        }
        const auto prediction = denoise(b, x, move.from);
        const posterior step = process_->reverse(move.from);
        if (!guide_) {
            ops::reverse_step(b, x, prediction, z, step, x0);
            return;
        }
        const auto gradient = guide_(b, x, move.from);
        ops::reverse_step(b, x, prediction, z, step, x0, &gradient);
    }

private:
    const diffusion_process* process_;
    C* condition_;
    guide<B> guide_;
};

} // namespace repaint
