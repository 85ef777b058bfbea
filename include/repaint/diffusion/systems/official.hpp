#pragma once

#include <cstddef>
#include <functional>
#include <optional>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include <repaint/concepts.hpp>
#include <repaint/diffusion/jump_schedule.hpp>
#include <repaint/diffusion/process.hpp>
#include <repaint/diffusion/run_plan.hpp>
#include <repaint/diffusion/systems/scheduler.hpp>
#include <repaint/ops.hpp>

/// The official program of RePaint and, for unconditional sampling, guided-diffusion.
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
    template <denoiser<B> D, draws_noise<B> N>
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

/// What the official program has of its own, for with_system.
struct official_system {
    /// The published settings: 250 timesteps, jumps of 10 made 10 times, 2410 evaluations.
    [[nodiscard]] static inpaint_options defaults() { return {}; }
    [[nodiscard]] static sampling_options sampling_defaults() { return {}; }

    [[nodiscard]] static std::vector<int> timesteps(int steps, std::string_view spec, const scheduler_settings&) {
        return respaced_timesteps(steps, spec);
    }
    [[nodiscard]] static std::vector<int> sampling_timesteps(int steps, std::string_view spec,
                                                             const scheduler_settings&) {
        return respaced_timesteps(steps, spec);
    }
    [[nodiscard]] static std::vector<transition> walk(std::span<const int> timesteps, const jump_options& jumps) {
        return jump_schedule(static_cast<int>(timesteps.size()), jumps);
    }
    [[nodiscard]] static std::size_t evaluations(std::span<const int>, std::span<const transition> walk) {
        return static_cast<std::size_t>(network_evaluations(walk));
    }

    /// The schedulers of the other systems have settings of their own; this one has what a run is asked for.
    [[nodiscard]] static std::optional<double> eta(std::optional<double> asked, const scheduler_settings&, bool) {
        return asked;
    }
    [[nodiscard]] static bool ends_clean(std::optional<double>, const scheduler_settings&, bool) { return true; }
    static void finish_inpainting(run_plan&) {}
    [[nodiscard]] static std::vector<scheduled_step> sampling_steps(const scheduled_process&) { return {}; }

    /// Known pixels are put back at the end when the options ask for it.
    static constexpr bool composites = true;
    static constexpr bool takes_guidance = true;
    [[nodiscard]] static host_tensor keep_mask(host_tensor keep) { return keep; }

    template <diffusion_backend B, class C>
    [[nodiscard]] static official_loop<B, C> inpainting_loop(const run_plan& plan, C& condition, guide<B> guidance) {
        return {plan.process, condition, std::move(guidance)};
    }
    template <diffusion_backend B, class C>
    [[nodiscard]] static official_loop<B, C> sampling_loop(const run_plan& plan, C& nothing_known, guide<B> guidance) {
        return {plan.process, nothing_known, std::move(guidance)};
    }
};

} // namespace repaint
