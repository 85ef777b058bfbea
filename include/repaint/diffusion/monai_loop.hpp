#pragma once

#include <span>
#include <string_view>
#include <vector>

#include <repaint/concepts.hpp>
#include <repaint/diffusion/conditioner.hpp>
#include <repaint/diffusion/float_schedule.hpp>
#include <repaint/diffusion/jump_schedule.hpp>
#include <repaint/diffusion/scheduler_loop.hpp>
#include <repaint/diffusion/scheduler_settings.hpp>
#include <repaint/ops.hpp>

namespace repaint {

/// The timesteps that MONAI's schedulers visit, ascending. spec: "" for all; "300" spread over 0 ... steps - 1, both
/// ends included, as MONAI does since 1.6; "ddim300", or "300" when the settings say leading, every (steps / 300)-th
/// from 0, as MONAI Generative and MONAI up to 1.5 did. An offset moves the first. Throws std::invalid_argument, also
/// when the offset leaves too few of them.
[[nodiscard]] std::vector<int> monai_timesteps(int steps, std::string_view spec,
                                               const scheduler_settings& scheduler = {});

/// The walk of the tutorial: at every timestep n_sample passes, each a step down, with a step back up between them.
/// Timestep 0 has one, which does not ask the network. timesteps: those visited, ascending. Throws
/// std::invalid_argument when an option but n_sample is not at its default, when n_sample is below 1, when the network
/// would never be asked, or when there would be more than 10 million transitions.
[[nodiscard]] std::vector<transition> monai_walk(std::span<const int> timesteps, const jump_options& options);

/// The transitions of MONAI's inpainting tutorial (2d_ddpm_inpainting), whose schedulers these are: DDPMScheduler's, or
/// DDIMScheduler's when the process has an eta. A step down draws the noise of the known region first, then asks the
/// network and makes the scheduler's step, which may draw; then what is known replaces x. What the tutorial gets wrong
/// stays wrong, at the places marked below. Guidance is not part of it.
template <diffusion_backend B> class monai_loop {
public:
    /// Both must outlive it. The keep mask of `known` must hold 0 and 1 only (monai_keep).
    monai_loop(const scheduled_process& process, const known_region<B>& known) : process_(&process), known_(&known) {}

    /// False at timestep 0, too: the tutorial never makes the last step, so what is filled keeps the noise of timestep 0
    /// (a deviation of 0.01 with the usual schedule) and is not clipped.
    [[nodiscard]] bool evaluates(const transition& move) const {
        return move.to < move.from && process_->timestep(move.from) > 0;
    }

    /// x: at move.from, then at move.to. x0, when not null, receives the predicted x_0 of a reverse step.
    template <denoiser<B> D, noise_source<B> N>
    void operator()(B& b, tensor_of<B>& x, const transition& move, bool, D& denoise, N& noise, tensor_of<B>* x0) const {
        const float_schedule& training = process_->training;
        if (move.to > move.from) {
            // x is at timestep t - 1 and should get the noise of t; it gets that of t - 1.
            const auto z = noise(b, x.shape());
            ops::forward_step(b, x, z, training.forward(process_->timestep(move.to) - 1));
            return;
        }
        const int t = process_->timestep(move.from);
        if (t == 0) {
            known_->impose(b, x, mixing{}, b.upload(host_tensor(x.shape())));
            return;
        }
        const auto noise_of_known = noise(b, x.shape());
        const auto prediction = denoise(b, x, move.from);
        const posterior step = monai_step(*process_, t);
        if (monai_step_draws(*process_, t)) {
            ops::reverse_step(b, x, prediction, noise(b, x.shape()), step, x0);
        } else {
            ops::reverse_step(b, x, prediction, noise_of_known, step, x0); // which it does not use
        }
        // The level of t - 1 whatever timesteps are visited, as of DDPMScheduler's step.
        known_->impose(b, x, training.marginal(t - 1), noise_of_known);
    }

private:
    const scheduled_process* process_;
    const known_region<B>* known_;
};

/// The keep mask as the tutorial reads it: known is what equals 1, soft values are filled.
[[nodiscard]] host_tensor monai_keep(const host_tensor& keep);

} // namespace repaint

#ifndef REPAINT_COMPILED
#include <repaint/diffusion/monai_loop.ipp>
#endif
