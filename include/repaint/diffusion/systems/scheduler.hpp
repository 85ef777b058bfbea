#pragma once

#include <cstddef>
#include <optional>
#include <stdexcept>
#include <utility>
#include <vector>

#include <repaint/concepts.hpp>
#include <repaint/ops.hpp>

/// What the schedulers of diffusers and MONAI have in common.
namespace repaint {

/// A step, and whether it draws. A step may draw noise that it then does not use, and a replay has to follow.
struct scheduled_step {
    posterior step;
    bool draws = false;
};

/// Unconditional sampling as diffusers and MONAI do it: the network, then the step of a scheduler, at every timestep.
template <diffusion_backend B> class scheduler_loop {
public:
    /// steps: of every index, cleanest first.
    explicit scheduler_loop(std::vector<scheduled_step> steps) : steps_(std::move(steps)) {}

    [[nodiscard]] static bool evaluates(const transition& move) { return move.to < move.from; }

    /// x: at move.from, then one index lower. x0, when not null, receives the predicted x_0.
    template <denoiser<B> D, draws_noise<B> N>
    void operator()(B& b, tensor_of<B>& x, const transition& move, bool, D& denoise, N& noise, tensor_of<B>* x0) {
        const auto prediction = denoise(b, x, move.from);
        const auto& [step, draws] = steps_[static_cast<std::size_t>(move.from)];
        if (draws) {
            ops::reverse_step(b, x, prediction, noise(b, x.shape()), step, x0);
            return;
        }
        if (!zeros_ || zeros_->shape() != x.shape()) {
            zeros_ = b.upload(host_tensor(x.shape()));
        }
        ops::reverse_step(b, x, prediction, *zeros_, step, x0);
    }

private:
    std::vector<scheduled_step> steps_;
    std::optional<tensor_of<B>> zeros_;
};

/// A noise source that gives one noise that was drawn already, for a condition that belongs to the step that drew it.
template <diffusion_backend B> class drawn_noise {
public:
    explicit drawn_noise(tensor_of<B> noise) : noise_(std::move(noise)) {}

    /// The noise; a second call throws std::logic_error.
    [[nodiscard]] tensor_of<B> operator()(B&, shape4) {
        if (!noise_) {
            throw std::logic_error("a condition of this system may draw noise once a step");
        }
        tensor_of<B> noise = std::move(*noise_);
        noise_.reset();
        return noise;
    }

private:
    std::optional<tensor_of<B>> noise_;
};

} // namespace repaint
