#pragma once

#include <cmath>
#include <cstddef>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <repaint/concepts.hpp>
#include <repaint/diffusion/float_schedule.hpp>
#include <repaint/diffusion/jump_schedule.hpp>
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
[[nodiscard]] inline std::vector<int> diffusers_sampling_timesteps(int steps, std::string_view spec,
                                                                   const scheduler_settings& scheduler) {
    const int count = detail::plain_count("diffusers", steps, spec);
    std::vector<int> visited;
    switch (scheduler.spacing.value_or(timestep_spacing::leading)) {
    case timestep_spacing::linspace:
        for (const double t : detail::evenly_spaced(0.0, static_cast<double>(steps - 1), count)) {
            visited.push_back(static_cast<int>(std::nearbyint(t)));
        }
        return visited;
    case timestep_spacing::trailing:
        for (int i = count - 1; i >= 0; --i) {
            const double stride = static_cast<double>(steps) / static_cast<double>(count);
            const double step = (static_cast<double>(steps) - stride) - static_cast<double>(steps); // as numpy.arange
            visited.push_back(static_cast<int>(std::nearbyint(static_cast<double>(steps) + i * step)) - 1);
        }
        return visited;
    default: break;
    }
    visited = detail::leading_timesteps(steps, count);
    for (int& t : visited) {
        t += scheduler.offset;
    }
    if (visited.front() < 0 || visited.back() >= steps) {
        throw std::invalid_argument("an offset of " + std::to_string(scheduler.offset) + " takes " +
                                    std::to_string(count) + " timesteps to " + std::to_string(visited.front()) +
                                    " ... " + std::to_string(visited.back()) + ", the training had 0 ... " +
                                    std::to_string(steps - 1) + "; take fewer");
    }
    return visited;
}

/// The steps of diffusers' DDPMPipeline, or of its DDIMPipeline when the process has an eta: DDPM draws except at
/// timestep 0, DDIM when eta is above 0, at timestep 0 too. The variance of `learned` is what the network returns
/// itself, not its exponential. Throws std::invalid_argument as float_schedule::ddim.
[[nodiscard]] inline std::vector<scheduled_step> diffusers_steps(const scheduled_process& process) {
    const float_schedule& training = process.training;
    auto variance = process.variance;
    if (variance == variance_type::learned) {
        variance = variance_type::learned_linear;
    } else if (variance == variance_type::learned_range_linear) {
        variance = variance_type::learned_range;
    }
    std::vector<scheduled_step> steps;
    int below = -1;
    for (const int t : process.timesteps) {
        if (process.eta) {
            // By the stride, rounded down, and so not always to the timestep visited next.
            const int to = t - process.stride();
            steps.push_back({process.ddim(t, to), *process.eta > 0.0});
        } else {
            const float beta = 1.0F - training.alpha_bar(t) / training.alpha_bar(below);
            steps.push_back({process.ancestral(t, below, beta, variance), t > 0});
        }
        below = t;
    }
    return steps;
}

/// The step of MONAI's DDPMScheduler or, when the process has an eta, of its DDIMScheduler, from timestep t. The first
/// always goes to t - 1, as if every timestep was visited: with fewer, x then holds more noise than the network is told
/// next. That is MONAI's doing and kept; the second goes down by the stride. A learned variance is what the network
/// returns itself, and a learned range is interpolated between the variances, not between their logarithms. Throws
/// std::invalid_argument as float_schedule::ddim.
[[nodiscard]] inline posterior monai_step(const scheduled_process& process, int t) {
    if (process.eta) {
        return process.ddim(t, t - process.stride());
    }
    auto variance = process.variance;
    if (variance == variance_type::learned) {
        variance = variance_type::learned_linear;
    } else if (variance == variance_type::learned_range) {
        variance = variance_type::learned_range_linear;
    }
    return process.ancestral(t, t - 1, process.training.beta(t), variance);
}

/// True when that step draws: DDPM except at timestep 0, DDIM when eta is above 0, at timestep 0 too.
[[nodiscard]] inline bool monai_step_draws(const scheduled_process& process, int t) {
    return process.eta ? *process.eta > 0.0 : t > 0;
}

/// The steps of MONAI's DiffusionInferer.sample. Throws std::invalid_argument as float_schedule::ddim.
[[nodiscard]] inline std::vector<scheduled_step> monai_steps(const scheduled_process& process) {
    std::vector<scheduled_step> steps;
    for (const int t : process.timesteps) {
        steps.push_back({monai_step(process, t), monai_step_draws(process, t)});
    }
    return steps;
}

} // namespace repaint
