#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include <repaint/concepts.hpp>
#include <repaint/diffusion/conditioner.hpp>
#include <repaint/diffusion/jump_schedule.hpp>
#include <repaint/diffusion/process.hpp>
#include <repaint/diffusion/run_plan.hpp>
#include <repaint/diffusion/systems/official.hpp>
#include <repaint/diffusion/systems/scheduler.hpp>
#include <repaint/ops.hpp>

/// RePaintPipeline of diffusers and, for unconditional sampling, its DDPMPipeline and DDIMPipeline.
namespace repaint {

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
template <diffusion_backend B, class C = const known_region<B>> class diffusers_loop {
public:
    /// Both must outlive it.
    diffusers_loop(const scheduled_process& process, C& condition) : process_(&process), condition_(&condition) {}

    [[nodiscard]] static bool evaluates(const transition& move) { return move.to < move.from; }

    /// x: at move.from, then at move.to. x0, when not null, receives the predicted x_0 of a reverse step.
    template <denoiser<B> D, draws_noise<B> N>
    void operator()(B& b, tensor_of<B>& x, const transition& move, bool, D& denoise, N& noise, tensor_of<B>* x0) const {
        const scheduler_tables& training = process_->training;
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
        auto z = noise(b, x.shape());
        const int from = process_->timestep(move.from);
        const int to = from - stride;
        ops::reverse_step(b, x, prediction, z, process_->ddim(from, to), x0);
        drawn_noise<B> same(std::move(z));
        (*condition_)(b, x, training.marginal(to), same);
    }

private:
    const scheduled_process* process_;
    C* condition_;
};

/// The steps of diffusers' DDPMPipeline, or of its DDIMPipeline when the process has an eta: DDPM draws except at
/// timestep 0, DDIM when eta is above 0, at timestep 0 too. The variance of `learned` is what the network returns
/// itself, not its exponential. Throws std::invalid_argument as scheduler_tables::ddim.
[[nodiscard]] std::vector<scheduled_step> diffusers_steps(const scheduled_process& process);

/// What diffusers has of its own, for with_system.
struct diffusers_system {
    /// The published settings of RePaintPipeline: 250 timesteps, jumps of 10 made 10 times, eta 0.
    [[nodiscard]] static inpaint_options defaults();
    /// The published settings of DDPMPipeline: every timestep.
    [[nodiscard]] static sampling_options sampling_defaults();

    [[nodiscard]] static std::vector<int> timesteps(int steps, std::string_view spec, const scheduler_settings&) {
        return diffusers_timesteps(steps, spec);
    }
    [[nodiscard]] static std::vector<int> sampling_timesteps(int steps, std::string_view spec,
                                                             const scheduler_settings& scheduler) {
        return diffusers_sampling_timesteps(steps, spec, scheduler);
    }
    [[nodiscard]] static std::vector<transition> walk(std::span<const int> timesteps, const jump_options& jumps) {
        return diffusers_walk(static_cast<int>(timesteps.size()), jumps);
    }
    [[nodiscard]] static std::size_t evaluations(std::span<const int>, std::span<const transition> walk) {
        return static_cast<std::size_t>(network_evaluations(walk));
    }

    /// RePaintScheduler knows no settings of DDIM; DDIMScheduler does.
    [[nodiscard]] static std::optional<double> eta(std::optional<double> asked, const scheduler_settings& scheduler,
                                                   bool inpainting);
    [[nodiscard]] static bool ends_clean(std::optional<double> eta, const scheduler_settings& scheduler,
                                         bool inpainting) {
        return inpainting || !eta || scheduler.ends_clean;
    }
    /// Throws std::invalid_argument where a step divides by zero.
    static void finish_inpainting(run_plan& plan);
    [[nodiscard]] static std::vector<scheduled_step> sampling_steps(const scheduled_process& process) {
        return diffusers_steps(process);
    }

    /// Every step merges what is known, the last one exactly.
    static constexpr bool composites = false;
    static constexpr bool takes_guidance = false;
    [[nodiscard]] static host_tensor keep_mask(host_tensor keep) { return keep; }

    template <diffusion_backend B, class C>
    [[nodiscard]] static diffusers_loop<B, C> inpainting_loop(const run_plan& plan, C& condition, const guide<B>&) {
        return {*plan.scheduled, condition};
    }
    template <diffusion_backend B, class C>
    [[nodiscard]] static scheduler_loop<B> sampling_loop(const run_plan& plan, C&, const guide<B>&) {
        return scheduler_loop<B>(sampling_steps(*plan.scheduled));
    }
};

} // namespace repaint

#ifndef REPAINT_COMPILED
#include <repaint/diffusion/systems/diffusers.ipp>
#endif
