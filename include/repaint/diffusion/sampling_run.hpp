#pragma once

#include <concepts>
#include <cstddef>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <stdexcept>
#include <type_traits>
#include <utility>
#include <vector>

#include <repaint/concepts.hpp>
#include <repaint/core/host_tensor.hpp>
#include <repaint/core/value_range.hpp>
#include <repaint/diffusion/interfaces.hpp>
#include <repaint/diffusion/run_plan.hpp>
#include <repaint/diffusion/sampler.hpp>
#include <repaint/diffusion/systems.hpp>
#include <repaint/ops.hpp>

namespace repaint {

/// Thrown by inpainter and unconditional_sampler when an observer stopped a run. start() and advance() keep its state.
/// Not an `error`: nothing went wrong.
class cancelled : public std::exception {
public:
    [[nodiscard]] const char* what() const noexcept override { return "the run was cancelled by an observer"; }
};

/// Everything that a stopped run needs to go on: see inpainter::resume.
template <class NoiseState> struct run_state {
    host_tensor x;
    std::size_t position = 0; ///< transitions made
    NoiseState noise;
};

/// keep * image + (1 - keep) * sample, where keep = 1 gives the image's very bits and keep = 0 the sample's.
/// image, sample: (n, c, h, w); keep: (1 or n, 1 or c, h, w). Throws shape_error when they do not fit.
[[nodiscard]] host_tensor keep_known(const host_tensor& image, const host_tensor& keep, const host_tensor& sample);

/// Throws shape_error unless a keep mask of shape `keep` fits images of shape `images`.
void check_keep_shape(const shape4& images, const shape4& keep);

/// Throws shape_error unless the keep mask fits the images, std::invalid_argument when a value is outside [0, 1].
void check_keep_mask(const shape4& images, const host_tensor& keep);

namespace detail {

/// Throws shape_error unless a saved x at a position fits a run on images of a shape over so many transitions.
void check_saved(const host_tensor& x, std::size_t position, const shape4& images, std::size_t transitions);

/// Rescales images on the device from one range to another; equal ranges change nothing.
template <diffusion_backend B> void rescale(B& b, tensor_of<B>& x, const value_range& from, const value_range& to) {
    if (from == to) {
        return;
    }
    host_tensor ones(x.shape());
    for (float& value : ones.values()) {
        value = 1.0F;
    }
    const float factor = (to.high - to.low) / (from.high - from.low);
    ops::forward_step(b, x, b.upload(ones), {.signal = factor, .noise = to.low - factor * from.low});
}

/// What a run consists of, but for its noise.
template <diffusion_backend B> struct run_parts {
    B* backend = nullptr;
    std::shared_ptr<const run_plan> plan;
    std::shared_ptr<any_denoiser<B>> denoise;
    std::unique_ptr<any_condition<B>> condition; // what the loop refers to
    std::unique_ptr<any_loop<B>> loop;
    value_range range;  // of the network
    value_range images; // of what comes in and goes out
    /// What the result keeps, images and mask as they came in; none: nothing. On the host, or on the device when they
    /// came from there.
    std::optional<std::pair<host_tensor, host_tensor>> known;
    std::shared_ptr<const std::pair<tensor_of<B>, tensor_of<B>>> known_on_device;
};

/// A run between two transitions, but for its noise.
template <diffusion_backend B> class run_core {
public:
    run_core(run_parts<B> parts, const shape4& images, any_noise<B> noise, const host_tensor* x, std::size_t position);

    /// Goes on; either observer may be empty. True: the walk is done.
    bool advance(any_noise<B> noise, std::function<bool(const progress&)> watch,
                 std::function<bool(const preview<B>&)> show);

    [[nodiscard]] bool finished() const { return at_.position == parts_.plan->walk.size(); }
    [[nodiscard]] std::size_t position() const { return at_.position; }
    [[nodiscard]] host_tensor x() const { return parts_.backend->download(at_.x); }
    [[nodiscard]] host_tensor result() const;
    [[nodiscard]] tensor_of<B> device_result();

private:
    static sampling<B> begin(run_parts<B>& parts, const shape4& images, any_noise<B>& noise, const host_tensor* x,
                             std::size_t position);

    run_parts<B> parts_;
    sampling<B> at_;
};

} // namespace detail

/// One run of inpainting or unconditional sampling: it can be advanced, stopped, saved and finished. Made by start and
/// resume of inpainter and unconditional_sampler; may be moved, and outlives what made it, but not the backend, the model
/// and a denoiser that was given by reference.
template <diffusion_backend B, noise_source<B> N> class sampling_run {
public:
    using state_type = run_state<decltype(std::declval<const N&>().state())>;

    sampling_run(detail::run_parts<B> parts, const shape4& images, N noise, const state_type* from)
        : noise_(std::move(noise)),
          core_(std::move(parts), images, continued(from), from ? &from->x : nullptr, from ? from->position : 0) {}

    /// Goes on until the walk ends (returns true) or an observer stops it (returns false).
    template <class... Observers> bool advance(Observers&&... observers) {
        constexpr bool each_is_an_observer = (observer<Observers, B> && ...);
        static_assert(each_is_an_observer,
                      "an observer takes const progress& or const preview<B>&, or is a stop_token");
        if constexpr (each_is_an_observer) {
            constexpr bool watches = ((std::invocable<Observers&, const progress&> || stop_source<Observers>) || ...);
            constexpr bool shows = (std::invocable<Observers&, const preview<B>&> || ...);
            std::function<bool(const progress&)> watch;
            std::function<bool(const preview<B>&)> show;
            if constexpr (watches) {
                watch = [&](const progress& at) { return (told(observers, at) | ... | false); };
            }
            if constexpr (shows) {
                show = [&](const preview<B>& seen) { return (told(observers, seen) | ... | false); };
            }
            return core_.advance(any_noise<B>(noise_), std::move(watch), std::move(show));
        }
    }

    [[nodiscard]] bool finished() const { return core_.finished(); }

    /// What resume needs, on the host.
    [[nodiscard]] state_type state() const { return {core_.x(), core_.position(), noise_.state()}; }

    /// The images (n, c, h, w) as they stand; the known pixels are the input's where the options say composite.
    [[nodiscard]] host_tensor result() const { return core_.result(); }

    /// The images as a tensor of the backend, which the run gives away: it is over then.
    [[nodiscard]] tensor_of<B> device_result() && { return core_.device_result(); }

private:
    any_noise<B> continued(const state_type* from) {
        if (from != nullptr) {
            noise_.restore(from->noise);
        }
        return any_noise<B>(noise_);
    }

    template <class O, class E> static bool told(O& observer, const E& event) {
        if constexpr (std::invocable<O&, const E&>) {
            return detail::stop_requested(observer, event);
        } else if constexpr (stop_source<O> && std::same_as<E, progress>) {
            return observer.stop_requested();
        } else {
            return false;
        }
    }

    N noise_;
    detail::run_core<B> core_;
};

namespace detail {

/// What inpainter and unconditional_sampler have in common: a backend, a network or a denoiser of the user's own, and a
/// plan.
template <class B> class run_maker {
public:
    /// Runs that start from now on are guided, by class_guidance for one; an empty guide ends that. Throws
    /// std::invalid_argument unless the system is the official one: the others have no guidance.
    void guide_with(guide<B> guidance);

    /// Runs that start from now on make their transitions by a loop of the user's own instead of the system's. make: takes
    /// (const run_plan&, any_condition<B>&) and returns a sampling_loop, which may refer to both.
    template <class F> void step_with(F make) {
        make_loop_ = [make = std::move(make)](const run_plan& plan, any_condition<B>& condition) {
            using loop = std::remove_cvref_t<decltype(make(plan, condition))>;
            static_assert(sampling_loop<loop, B, any_denoiser<B>, any_noise<B>>,
                          "step_with: what the function returns is no sampling_loop (concepts.hpp)");
            return std::unique_ptr<any_loop<B>>(std::make_unique<held_loop<B, loop>>(make(plan, condition)));
        };
    }

    /// The process that runs follow. Its address stays the same as long as this object or one of its runs lives.
    [[nodiscard]] const diffusion_process& process() const { return plan_->process; }
    [[nodiscard]] const std::vector<transition>& walk() const { return plan_->walk; }
    /// Of the network, over the whole walk.
    [[nodiscard]] std::size_t evaluations() const { return plan_->evaluations; }

protected:
    run_maker(B& b, std::shared_ptr<const run_plan> plan, const value_range& range, const value_range& images)
        : backend_(&b), plan_(std::move(plan)), range_(range), images_(images) {}

    /// A run's parts without its loop, which follows when the condition is there.
    [[nodiscard]] run_parts<B> parts(std::shared_ptr<any_denoiser<B>> denoise) const;

    /// Gives the parts the condition, and the loop that refers to it.
    void complete(run_parts<B>& parts, std::unique_ptr<any_condition<B>> condition, bool inpainting) const;

    B* backend_;
    std::shared_ptr<const run_plan> plan_;
    value_range range_;
    value_range images_;
    guide<B> guide_;
    std::function<std::unique_ptr<any_loop<B>>(const run_plan&, any_condition<B>&)> make_loop_;
};

} // namespace detail

// ---- definitions -----------------------------------------------------------------------------------------------------

namespace detail {

template <diffusion_backend B>
run_core<B>::run_core(run_parts<B> parts, const shape4& images, any_noise<B> noise, const host_tensor* x,
                      std::size_t position)
    : parts_(std::move(parts)), at_(begin(parts_, images, noise, x, position)) {
    parts_.denoise->prepare(*parts_.backend, images);
}

template <diffusion_backend B>
sampling<B> run_core<B>::begin(run_parts<B>& parts, const shape4& images, any_noise<B>& noise, const host_tensor* x,
                               std::size_t position) {
    if (x == nullptr) {
        return start_sampling(*parts.backend, noise, images);
    }
    check_saved(*x, position, images, parts.plan->walk.size());
    return {parts.backend->upload(*x), position};
}

template <diffusion_backend B>
bool run_core<B>::advance(any_noise<B> noise, std::function<bool(const progress&)> watch,
                          std::function<bool(const preview<B>&)> show) {
    B& b = *parts_.backend;
    const auto& walk = parts_.plan->walk;
    if (show && watch) {
        return repaint::advance(b, at_, *parts_.denoise, *parts_.loop, noise, walk, watch, show);
    }
    if (show) {
        return repaint::advance(b, at_, *parts_.denoise, *parts_.loop, noise, walk, show);
    }
    if (watch) {
        return repaint::advance(b, at_, *parts_.denoise, *parts_.loop, noise, walk, watch);
    }
    return repaint::advance(b, at_, *parts_.denoise, *parts_.loop, noise, walk);
}

template <diffusion_backend B> host_tensor run_core<B>::result() const {
    host_tensor drawn = rescaled(parts_.backend->download(at_.x), parts_.range, parts_.images);
    if (parts_.known) {
        return keep_known(parts_.known->first, parts_.known->second, drawn);
    }
    if (parts_.known_on_device) {
        const auto& [image, keep] = *parts_.known_on_device;
        return keep_known(parts_.backend->download(image), parts_.backend->download(keep), drawn);
    }
    return drawn;
}

template <diffusion_backend B> tensor_of<B> run_core<B>::device_result() {
    B& b = *parts_.backend;
    if (parts_.known) {
        return b.upload(result());
    }
    rescale(b, at_.x, parts_.range, parts_.images);
    if (parts_.known_on_device) {
        const auto none = b.upload(host_tensor(at_.x.shape()));
        ops::merge(b, at_.x, parts_.known_on_device->first, parts_.known_on_device->second, none, mixing{});
    }
    return std::move(at_.x);
}

template <class B> void run_maker<B>::guide_with(guide<B> guidance) {
    if (guidance && !with_system(plan_->system, [](auto s) { return s.takes_guidance; })) {
        throw std::invalid_argument("guidance is part of the system official only");
    }
    guide_ = std::move(guidance);
}

template <class B> run_parts<B> run_maker<B>::parts(std::shared_ptr<any_denoiser<B>> denoise) const {
    run_parts<B> result;
    result.backend = backend_;
    result.plan = plan_;
    result.denoise = std::move(denoise);
    result.range = range_;
    result.images = images_;
    return result;
}

template <class B>
void run_maker<B>::complete(run_parts<B>& parts, std::unique_ptr<any_condition<B>> condition, bool inpainting) const {
    parts.condition = std::move(condition);
    any_condition<B>& known = *parts.condition;
    if (make_loop_) {
        parts.loop = make_loop_(*plan_, known);
        return;
    }
    parts.loop = with_system(plan_->system, [&](auto system) {
        const auto held = [](auto loop) {
            return std::unique_ptr<any_loop<B>>(std::make_unique<held_loop<B, decltype(loop)>>(std::move(loop)));
        };
        return inpainting ? held(system.template inpainting_loop<B>(*plan_, known, guide_))
                          : held(system.template sampling_loop<B>(*plan_, known, guide_));
    });
}

} // namespace detail

} // namespace repaint

#ifndef REPAINT_COMPILED
#include <repaint/diffusion/sampling_run.ipp>
#endif
