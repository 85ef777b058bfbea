#pragma once

#include <concepts>
#include <cstddef>
#include <optional>
#include <type_traits>
#include <utility>

#include <repaint/concepts.hpp>
#include <repaint/diffusion/official_loop.hpp>
#include <repaint/diffusion/process.hpp>
#include <repaint/ops.hpp>

namespace repaint {

/// Where a run stands after a transition.
struct progress {
    std::size_t position = 0;    ///< transitions done, from 1
    std::size_t positions = 0;   ///< transitions of the whole walk
    std::size_t evaluation = 0;  ///< network evaluations done
    std::size_t evaluations = 0; ///< network evaluations of the whole walk
    transition last;             ///< the transition just made
};

/// What a preview observer is shown after a network evaluation: x after the step and the predicted x_0, in backend
/// tensors.
template <memory_backend B> struct preview {
    B& backend;
    const progress& at;
    const tensor_of<B>& x;
    const tensor_of<B>& x0;
};

/// A run between two transitions: what is needed, with the state of the noise source, to go on.
template <memory_backend B> struct sampling {
    tensor_of<B> x;
    std::size_t position = 0;
};

/// x_T ~ N(0, I): the start of every walk.
template <diffusion_backend B, noise_source<B> N>
[[nodiscard]] sampling<B> start_sampling(B& b, N& noise, shape4 shape) {
    return {noise(b, shape), 0};
}

namespace detail {

/// Calls an observer; true: it asks to stop. A void observer only watches.
template <class O, class E> bool stop_requested(O& observer, const E& event) {
    if constexpr (std::is_void_v<std::invoke_result_t<O&, const E&>>) {
        observer(event);
        return false;
    } else {
        return static_cast<bool>(observer(event));
    }
}

} // namespace detail

/// Follows the walk from where `run` stands; `loop` makes the transitions (official_loop.hpp, diffusers_loop.hpp,
/// monai_loop.hpp). Observers are callables that take `const progress&` (after every transition) or `const preview<B>&`
/// (after every evaluation); one that returns true stops the run. Returns true when the walk is done. On a stop, calling
/// again with the same arguments goes on bit for bit as if nothing had happened.
template <diffusion_backend B, denoiser<B> D, noise_source<B> N, sampling_loop<B, D, N> L, walk W, class... Observers>
bool advance(B& b, sampling<B>& run, D& denoise, L& loop, N& noise, const W& steps, Observers&&... observers) {
    constexpr bool previews = (std::invocable<Observers&, const preview<B>&> || ...);
    progress at{run.position, steps.size(), 0, 0, {}};
    for (std::size_t i = 0; i < steps.size(); ++i) {
        const std::size_t evaluates = loop.evaluates(steps[i]) ? 1 : 0;
        at.evaluations += evaluates;
        at.evaluation += i < run.position ? evaluates : 0;
    }
    std::optional<tensor_of<B>> x0;
    while (run.position < steps.size()) {
        const transition move = steps[run.position];
        at.last = move;
        const bool evaluates = loop.evaluates(move);
        if constexpr (previews) {
            if (evaluates && !x0) {
                x0.emplace(b.allocate(run.x.shape()));
            }
        }
        loop(b, run.x, move, run.position == 0, denoise, noise, x0 ? &*x0 : nullptr);
        at.evaluation += evaluates ? 1 : 0;
        at.position = ++run.position;

        bool stop = false;
        [[maybe_unused]] const auto notify = [&](auto& observer) {
            using observer_type = decltype(observer);
            if constexpr (std::invocable<observer_type, const preview<B>&>) {
                if (evaluates) {
                    stop = detail::stop_requested(observer, preview<B>{b, at, run.x, *x0}) || stop;
                }
            } else {
                stop = detail::stop_requested(observer, at) || stop;
            }
        };
        (notify(observers), ...);
        if (stop) {
            break;
        }
    }
    return run.position == steps.size();
}

/// The same with the official program's transitions.
template <diffusion_backend B, denoiser<B> D, class C, noise_source<B> N, walk W, class... Observers>
requires conditioner<C, B, N>
bool advance(B& b, sampling<B>& run, D& denoise, C& condition, N& noise, const diffusion_process& process,
             const W& steps, Observers&&... observers) {
    official_loop<B, C> loop(process, condition);
    return advance(b, run, denoise, loop, noise, steps, std::forward<Observers>(observers)...);
}

/// The whole walk from noise: (n, c, h, w) in about [-1, 1]. With `unconditional` and a plain walk this is ancestral
/// sampling (Ho et al. 2020), with known_region and a jump schedule it is RePaint.
template <diffusion_backend B, denoiser<B> D, class C, noise_source<B> N, walk W, class... Observers>
requires conditioner<C, B, N>
[[nodiscard]] tensor_of<B> sample(B& b, D& denoise, C& condition, N& noise, const diffusion_process& process,
                                  const W& steps, shape4 shape, Observers&&... observers) {
    auto run = start_sampling(b, noise, shape);
    advance(b, run, denoise, condition, noise, process, steps, std::forward<Observers>(observers)...);
    return std::move(run.x);
}

} // namespace repaint
