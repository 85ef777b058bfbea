#pragma once

#include <cstddef>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include <repaint/concepts.hpp>
#include <repaint/diffusion/float_schedule.hpp>
#include <repaint/diffusion/scheduler_settings.hpp>
#include <repaint/ops.hpp>

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
    template <denoiser<B> D, noise_source<B> N>
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

/// The timesteps that diffusers' DDPMScheduler and DDIMScheduler visit, ascending. spec: a plain count, "" for all. With
/// `trailing` some counts, such as 61 of 1000, make diffusers visit one timestep more, -1, by a rounding error; here they
/// do not. Throws std::invalid_argument, also when the offset leads past the last timestep.
[[nodiscard]] std::vector<int> diffusers_sampling_timesteps(int steps, std::string_view spec,
                                                            const scheduler_settings& scheduler);

/// The steps of diffusers' DDPMPipeline, or of its DDIMPipeline when the process has an eta: DDPM draws except at
/// timestep 0, DDIM when eta is above 0, at timestep 0 too. The variance of `learned` is what the network returns
/// itself, not its exponential. Throws std::invalid_argument as float_schedule::ddim.
[[nodiscard]] std::vector<scheduled_step> diffusers_steps(const scheduled_process& process);

/// The step of MONAI's DDPMScheduler or, when the process has an eta, of its DDIMScheduler, from timestep t. The first
/// always goes to t - 1, as if every timestep was visited: with fewer, x then holds more noise than the network is told
/// next. That is MONAI's doing and kept; the second goes down by the stride. A learned variance is what the network
/// returns itself, and a learned range is interpolated between the variances, not between their logarithms. Throws
/// std::invalid_argument as float_schedule::ddim.
[[nodiscard]] posterior monai_step(const scheduled_process& process, int t);

/// True when that step draws: DDPM except at timestep 0, DDIM when eta is above 0, at timestep 0 too.
[[nodiscard]] bool monai_step_draws(const scheduled_process& process, int t);

/// The steps of MONAI's DiffusionInferer.sample. Throws std::invalid_argument as float_schedule::ddim.
[[nodiscard]] std::vector<scheduled_step> monai_steps(const scheduled_process& process);

} // namespace repaint

#ifndef REPAINT_COMPILED
#include <repaint/diffusion/scheduler_loop.ipp>
#endif
