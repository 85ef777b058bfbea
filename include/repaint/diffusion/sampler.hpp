#pragma once

#include <concepts>
#include <cstddef>
#include <optional>
#include <type_traits>
#include <utility>

#include <repaint/concepts.hpp>
#include <repaint/diffusion/process.hpp>
#include <repaint/diffusion/systems/official.hpp>
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
template <diffusion_backend B, draws_noise<B> N>
[[nodiscard]] sampling<B> start_sampling(B& b, N& noise, shape4 shape) {
    return {noise(b, shape), 0};
}

/// What can ask a run to stop: std::stop_token, for one.
template <class S> concept stop_source = requires(const S& s) {
    { s.stop_requested() } -> std::convertible_to<bool>;
};

/// What may watch a run: a callable that takes `const progress&` (after every transition) or `const preview<B>&` (after
/// every evaluation) and stops the run by returning true, or a stop_source.
template <class O, class B>
concept observer = std::invocable<O&, const progress&> || std::invocable < O&,
        const preview<B>
& > || stop_source<O>;

/// True for a backend that returns before its work is done.
template <class B> constexpr bool enqueues() {
    if constexpr (requires { B::enqueues; }) {
        return B::enqueues;
    } else {
        return false;
    }
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

/// When to wait for a backend that enqueues, so that its observers hear of work that is done: often enough that about a
/// tenth of a second of work waits in its queue.
class waiting_rhythm {
public:
    waiting_rhythm();

    /// To be asked after every transition: whether to wait now, and then call waited().
    [[nodiscard]] bool is_time() { return ++count_ >= next_; }
    void waited();

private:
    double last_; // seconds
    std::size_t count_ = 0;
    std::size_t next_ = 1;
};

} // namespace detail

/// Follows the walk from where `run` stands; `loop` makes the transitions (diffusion/systems/). Observers: see above.
/// Returns true when the walk is done, false when an observer stopped it: calling again with the same arguments then
/// goes on bit for bit as if nothing had happened. On a backend that enqueues, observers of progress are told of work
/// that is done, and so not of every transition.
template <diffusion_backend B, denoiser<B> D, draws_noise<B> N, sampling_loop<B, D, N> L, walk W,
          observer<B>... Observers>
bool advance(B& b, sampling<B>& run, D& denoise, L& loop, N& noise, const W& steps, Observers&&... observers) {
    constexpr bool previews = (std::invocable<Observers&, const preview<B>&> || ...);
    progress at{run.position, steps.size(), 0, 0, {}};
    for (std::size_t i = 0; i < steps.size(); ++i) {
        const std::size_t evaluates = loop.evaluates(steps[i]) ? 1 : 0;
        at.evaluations += evaluates;
        at.evaluation += i < run.position ? evaluates : 0;
    }
    [[maybe_unused]] std::conditional_t<enqueues<B>(), detail::waiting_rhythm, int> rhythm{};
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

        bool tell = true;
        if constexpr (enqueues<B>() && sizeof...(Observers) > 0) {
            tell = rhythm.is_time() || at.position == at.positions;
            if (tell) {
                b.synchronize();
                rhythm.waited();
            }
        }
        bool stop = false;
        [[maybe_unused]] const auto notify = [&](auto& observer) {
            using observer_type = decltype(observer);
            if constexpr (std::invocable<observer_type, const preview<B>&>) {
                if (evaluates) {
                    stop = detail::stop_requested(observer, preview<B>{b, at, run.x, *x0}) || stop;
                }
            } else if constexpr (std::invocable<observer_type, const progress&>) {
                stop = (tell && detail::stop_requested(observer, at)) || stop;
            } else {
                stop = observer.stop_requested() || stop;
            }
        };
        (notify(observers), ...);
        if (stop) {
            break;
        }
    }
    return run.position == steps.size();
}

/// Follows the walk with the official program's transitions.
template <diffusion_backend B, denoiser<B> D, class C, draws_noise<B> N, walk W, observer<B>... Observers>
requires conditioner<C, B, N>
bool advance(B& b, sampling<B>& run, D& denoise, C& condition, N& noise, const diffusion_process& process,
             const W& steps, Observers&&... observers) {
    official_loop<B, C> loop(process, condition);
    return advance(b, run, denoise, loop, noise, steps, std::forward<Observers>(observers)...);
}

/// The whole walk from noise: (n, c, h, w) in about [-1, 1]. With `unconditional` and a plain walk this is ancestral
/// sampling (Ho et al. 2020), with known_region and a jump schedule it is RePaint.
template <diffusion_backend B, class D, class C, class N, walk W, observer<B>... Observers>
requires denoiser<D, B> && conditioner<C, B, std::remove_reference_t<N>>
[[nodiscard]] tensor_of<B> sample(B& b, D&& denoise, C&& condition, N&& noise, const diffusion_process& process,
                                  const W& steps, shape4 shape, Observers&&... observers) {
    auto run = start_sampling(b, noise, shape);
    advance(b, run, denoise, condition, noise, process, steps, std::forward<Observers>(observers)...);
    return std::move(run.x);
}

} // namespace repaint

#ifndef REPAINT_COMPILED
#include <repaint/diffusion/sampler.ipp>
#endif
