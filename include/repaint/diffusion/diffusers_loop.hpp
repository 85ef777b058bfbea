#pragma once

#include <string_view>
#include <vector>

#include <repaint/concepts.hpp>
#include <repaint/diffusion/conditioner.hpp>
#include <repaint/diffusion/float_schedule.hpp>
#include <repaint/diffusion/jump_schedule.hpp>
#include <repaint/ops.hpp>

namespace repaint {

/// The timesteps that RePaintScheduler visits, ascending: every (steps / count)-th, from 0; the last ones are left out.
/// spec: a plain count, more than there are being all, as "" is. Throws std::invalid_argument.
[[nodiscard]] std::vector<int> diffusers_timesteps(int steps, std::string_view spec);

/// The walk of RePaintScheduler over timesteps - 1 ... 0 and out to -1. It is the official one a level lower: jumps
/// turn at the clean image and at the levels below those where the official walk turns, and the first turn may be from
/// -1. Jumps that are as long as the walk are not made, where the official program fails. Only jump_length and
/// jump_n_sample are known here. Throws std::invalid_argument naming another option that is not at its default, or as
/// jump_schedule.
[[nodiscard]] std::vector<transition> diffusers_walk(int timesteps, const jump_options& options = {});

/// The transitions of diffusers' RePaintPipeline (RePaintScheduler since 0.33, which equals 0.10 to 0.31). A reverse
/// step asks the network, draws one noise, makes DDIM's step with it (eta 0 unless given: then the draw serves the known
/// region alone), and merges the result with what is known, noised by the same draw to the level reached; the last
/// result is known exactly. What the scheduler does not look at does not count here either: the variance that a network
/// has learned, and its channels. Its predictions are read as diffusers' DDIMScheduler reads them; RePaintScheduler
/// itself takes every prediction for epsilon.
template <diffusion_backend B> class diffusers_loop {
public:
    /// Both must outlive it.
    diffusers_loop(const scheduled_process& process, const known_region<B>& known)
        : process_(&process), known_(&known) {}

    [[nodiscard]] static bool evaluates(const transition& move) { return move.to < move.from; }

    /// x: at move.from, then at move.to. x0, when not null, receives the predicted x_0 of a reverse step.
    template <denoiser<B> D, noise_source<B> N>
    void operator()(B& b, tensor_of<B>& x, const transition& move, bool, D& denoise, N& noise, tensor_of<B>* x0) const {
        const float_schedule& training = process_->training;
        const int stride = process_->stride();
        if (!evaluates(move)) {
            // As many training steps as lie between two visited timesteps, but those from the upper one on instead of
            // those up to it: with every timestep visited the two are one, with fewer x gets noisier than the network
            // is then told.
            for (int i = 0; i < stride; ++i) {
                const auto z = noise(b, x.shape());
                ops::forward_step(b, x, z, training.forward(process_->timestep(move.to) + i));
            }
            return;
        }
        const auto prediction = denoise(b, x, move.from);
        const auto z = noise(b, x.shape());
        const int from = process_->timestep(move.from);
        const int to = from - stride;
        ops::reverse_step(b, x, prediction, z, process_->ddim(from, to), x0);
        known_->impose(b, x, training.marginal(to), z);
    }

private:
    const scheduled_process* process_;
    const known_region<B>* known_;
};

} // namespace repaint

#ifndef REPAINT_COMPILED
#include <repaint/diffusion/diffusers_loop.ipp>
#endif
