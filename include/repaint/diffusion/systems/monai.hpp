#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include <repaint/concepts.hpp>
#include <repaint/core/host_tensor.hpp>
#include <repaint/diffusion/conditioner.hpp>
#include <repaint/diffusion/jump_schedule.hpp>
#include <repaint/diffusion/process.hpp>
#include <repaint/diffusion/run_plan.hpp>
#include <repaint/diffusion/systems/official.hpp>
#include <repaint/diffusion/systems/scheduler.hpp>
#include <repaint/ops.hpp>

/// MONAI's inpainting tutorial and, for unconditional sampling, its DiffusionInferer.
namespace repaint {

/// The walk of the tutorial: at every timestep n_sample passes, each a step down, with a step back up between them.
/// Timestep 0 has one, which does not ask the network. timesteps: those visited, ascending. Throws
/// std::invalid_argument when an option but n_sample is not at its default, when n_sample is below 1, when the network
/// would never be asked, or when there would be more than 10 million transitions.
[[nodiscard]] std::vector<transition> monai_walk(std::span<const int> timesteps, const jump_options& options);

/// The step of MONAI's DDPMScheduler or, when the process has an eta, of its DDIMScheduler, from timestep t. The first
/// always goes to t - 1, as if every timestep was visited: with fewer, x then holds more noise than the network is told
/// next. That is MONAI's doing and kept; the second goes down by the stride. A learned variance is what the network
/// returns itself, and a learned range is interpolated between the variances, not between their logarithms. Throws
/// std::invalid_argument as scheduler_tables::ddim.
[[nodiscard]] posterior monai_step(const scheduled_process& process, int t);

/// True when that step draws: DDPM except at timestep 0, DDIM when eta is above 0, at timestep 0 too.
[[nodiscard]] bool monai_step_draws(const scheduled_process& process, int t);

/// The steps of MONAI's DiffusionInferer.sample. Throws std::invalid_argument as scheduler_tables::ddim.
[[nodiscard]] std::vector<scheduled_step> monai_steps(const scheduled_process& process);

/// The transitions of MONAI's inpainting tutorial (2d_ddpm_inpainting), whose schedulers these are: DDPMScheduler's, or
/// DDIMScheduler's when the process has an eta. A step down draws the noise of the known region first, then asks the
/// network and makes the scheduler's step, which may draw; then what is known replaces x. What the tutorial gets wrong
/// stays wrong, at the places marked below. Guidance is not part of it.
template <diffusion_backend B, class C = const known_region<B>> class monai_loop {
public:
    /// Both must outlive it. The keep mask of a known region must hold 0 and 1 only (monai_keep).
    monai_loop(const scheduled_process& process, C& condition) : process_(&process), condition_(&condition) {}

    /// False at timestep 0, too: the tutorial never makes the last step, so what is filled keeps the noise of timestep 0
    /// (a deviation of 0.01 with the usual schedule) and is not clipped.
    [[nodiscard]] bool evaluates(const transition& move) const {
        return move.to < move.from && process_->timestep(move.from) > 0;
    }

    /// x: at move.from, then at move.to. x0, when not null, receives the predicted x_0 of a reverse step.
    template <denoiser<B> D, draws_noise<B> N>
    void operator()(B& b, tensor_of<B>& x, const transition& move, bool, D& denoise, N& noise, tensor_of<B>* x0) const {
        const scheduler_tables& training = process_->training;
        if (move.to > move.from) {
            // x is at timestep t - 1 and should get the noise of t; it gets that of t - 1.
            const auto z = noise(b, x.shape());
            ops::forward_step(b, x, z, training.forward(process_->timestep(move.to) - 1));
            return;
        }
        const int t = process_->timestep(move.from);
        if (t == 0) {
            drawn_noise<B> none(b.upload(host_tensor(x.shape())));
            (*condition_)(b, x, mixing{}, none);
            return;
        }
        auto noise_of_known = noise(b, x.shape());
        const auto prediction = denoise(b, x, move.from);
        const posterior step = monai_step(*process_, t);
        if (monai_step_draws(*process_, t)) {
            ops::reverse_step(b, x, prediction, noise(b, x.shape()), step, x0);
        } else {
            ops::reverse_step(b, x, prediction, noise_of_known, step, x0); // which it does not use
        }
        // The level of t - 1 whatever timesteps are visited, as of DDPMScheduler's step.
        drawn_noise<B> same(std::move(noise_of_known));
        (*condition_)(b, x, training.marginal(t - 1), same);
    }

private:
    const scheduled_process* process_;
    C* condition_;
};

/// The keep mask as the tutorial reads it: known is what equals 1, soft values are filled.
[[nodiscard]] host_tensor monai_keep(const host_tensor& keep);

/// What MONAI has of its own, for with_system.
struct monai_system {
    /// The published settings of the tutorial: every timestep, four passes over each.
    [[nodiscard]] static inpaint_options defaults();
    /// The published settings of DiffusionInferer: every timestep.
    [[nodiscard]] static sampling_options sampling_defaults();

    [[nodiscard]] static std::vector<int> timesteps(int steps, std::string_view spec,
                                                    const scheduler_settings& scheduler) {
        return monai_timesteps(steps, spec, scheduler);
    }
    [[nodiscard]] static std::vector<int> sampling_timesteps(int steps, std::string_view spec,
                                                             const scheduler_settings& scheduler) {
        return monai_timesteps(steps, spec, scheduler);
    }
    [[nodiscard]] static std::vector<transition> walk(std::span<const int> timesteps, const jump_options& jumps) {
        return monai_walk(timesteps, jumps);
    }
    /// Timestep 0 does not ask the network.
    [[nodiscard]] static std::size_t evaluations(std::span<const int> timesteps, std::span<const transition> walk);

    /// The network's own scheduler says whether steps are DDIM's, in inpainting too.
    [[nodiscard]] static std::optional<double> eta(std::optional<double> asked, const scheduler_settings& scheduler,
                                                   bool inpainting);
    [[nodiscard]] static bool ends_clean(std::optional<double> eta, const scheduler_settings& scheduler, bool) {
        return !eta || scheduler.ends_clean;
    }
    /// Throws std::invalid_argument where a step divides by zero.
    static void finish_inpainting(run_plan& plan);
    [[nodiscard]] static std::vector<scheduled_step> sampling_steps(const scheduled_process& process) {
        return monai_steps(process);
    }

    /// Every step merges what is known, the last one exactly.
    static constexpr bool composites = false;
    static constexpr bool takes_guidance = false;
    [[nodiscard]] static host_tensor keep_mask(const host_tensor& keep) { return monai_keep(keep); }

    template <diffusion_backend B, class C>
    [[nodiscard]] static monai_loop<B, C> inpainting_loop(const run_plan& plan, C& condition, const guide<B>&) {
        return {*plan.scheduled, condition};
    }
    template <diffusion_backend B, class C>
    [[nodiscard]] static scheduler_loop<B> sampling_loop(const run_plan& plan, C&, const guide<B>&) {
        return scheduler_loop<B>(sampling_steps(*plan.scheduled));
    }
};

} // namespace repaint

#ifndef REPAINT_COMPILED
#include <repaint/diffusion/systems/monai.ipp>
#endif
