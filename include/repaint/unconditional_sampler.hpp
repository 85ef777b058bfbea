#pragma once

#include <memory>
#include <utility>

#include <repaint/concepts.hpp>
#include <repaint/core/host_tensor.hpp>
#include <repaint/diffusion/conditioner.hpp>
#include <repaint/diffusion/planning.hpp>
#include <repaint/diffusion/run_options.hpp>
#include <repaint/diffusion/run_plan.hpp>
#include <repaint/diffusion/sampling_run.hpp>
#include <repaint/inpainter.hpp>
#include <repaint/model/diffusion_model.hpp>

namespace repaint {

/// Draws images from a trained diffusion model: ancestral sampling (Ho et al. 2020) or DDIM (Song et al. 2021) as
/// guided-diffusion's p_sample_loop and ddim_sample_loop, as diffusers' DDPMPipeline and DDIMPipeline, or as MONAI's
/// DiffusionInferer with its DDPMScheduler and DDIMScheduler have it. Refers to the backend, the model and what is given
/// as an lvalue, all of which must outlive it and its runs. May be moved and copied; its runs do not refer to it.
template <class B> class unconditional_sampler : public detail::run_maker<B> {
public:
    /// A trained network. Throws std::invalid_argument when options do not fit together.
    unconditional_sampler(B& b, const diffusion_model<B>& model, sampling_options options = {});

    /// A denoiser of the user's own over a process that is respaced already, as of inpainter.
    template <class D>
    requires(denoiser<D, B>&& tensor_backend<B>)
        unconditional_sampler(B& b, D&& denoise, const diffusion_process& process, sampling_options options = {})
        : unconditional_sampler(b, own(std::forward<D>(denoise)), plan_sampling(process, options), value_range{},
                                options) {}

    /// A denoiser of the user's own that was trained as `settings` say, as of inpainter.
    template <class D>
    requires(denoiser<D, B>&& tensor_backend<B>)
        unconditional_sampler(B& b, D&& denoise, const diffusion_settings& settings, sampling_options options = {})
        : unconditional_sampler(b, own(std::forward<D>(denoise)), plan_sampling(settings, options), settings.data_range,
                                options) {}

    /// Images of the given shape, black and white as options.images says. Throws shape_error and std::invalid_argument on
    /// what does not fit, cancelled when an observer stops. Observers: diffusion/sampler.hpp.
    template <noise_source<B> N, class... Observers>
    [[nodiscard]] host_tensor operator()(shape4 shape, N noise, Observers&&... observers) const {
        constexpr bool each_is_an_observer = (observer<Observers, B> && ...);
        static_assert(each_is_an_observer,
                      "an observer takes const progress& or const preview<B>&, or is a stop_token");
        auto run = start(shape, std::move(noise));
        if constexpr (each_is_an_observer) {
            if (!run.advance(std::forward<Observers>(observers)...)) {
                throw cancelled();
            }
        }
        return run.result();
    }

    /// A run at its beginning. Arguments and exceptions as of operator().
    template <noise_source<B> N> [[nodiscard]] sampling_run<B, N> start(shape4 shape, N noise) const {
        return {parts_for(shape), shape, std::move(noise), nullptr};
    }

    /// A run that goes on from a saved state, with the same shape, options and kind of noise: the result equals that of
    /// the uninterrupted run bit for bit.
    template <noise_source<B> N>
    [[nodiscard]] sampling_run<B, N> resume(shape4 shape, N noise,
                                            const typename sampling_run<B, N>::state_type& state) const {
        return {parts_for(shape), shape, std::move(noise), &state};
    }

private:
    unconditional_sampler(B& b, std::shared_ptr<any_denoiser<B>> own, run_plan plan, const value_range& range,
                          sampling_options options);

    template <class D> static std::shared_ptr<any_denoiser<B>> own(D&& denoise) {
        return std::make_shared<detail::held_denoiser<B, D>>(std::forward<D>(denoise));
    }

    [[nodiscard]] detail::run_parts<B> parts_for(const shape4& shape) const;

    detail::run_network<B> network_;
    sampling_options options_;
};

/// Stands in for a backend that lacks a primitive: the compiler names the primitive, and goes on.
template <> class unconditional_sampler<detail::unusable_backend> {
public:
    template <class B, class D, class... Rest> explicit unconditional_sampler(B&, const D&, Rest&&...) {
        if constexpr (!std::same_as<D, diffusion_model<B>>) { // which has said so already
            require_backend<B>();
        }
    }
    /// Nobody has such arguments: whether some convert to them is what makes a compiler look into `diffusion_model<B>`.
    unconditional_sampler(const detail::anything&, const detail::unusable_backend&) {}
    template <class... Any> host_tensor operator()(Any&&...) const { return {}; }
};

template <class B> unconditional_sampler(B&, const diffusion_model<B>&) -> unconditional_sampler<detail::usable<B>>;
template <class B>
unconditional_sampler(B&, const diffusion_model<B>&, sampling_options) -> unconditional_sampler<detail::usable<B>>;
template <class B, class D, class... Rest>
requires(!tensor_backend<B>) unconditional_sampler(B&, const D&, Rest&&...)
->unconditional_sampler<detail::unusable_backend>;

// ---- definitions -----------------------------------------------------------------------------------------------------

template <class B>
unconditional_sampler<B>::unconditional_sampler(B& b, const diffusion_model<B>& model, sampling_options options)
    : detail::run_maker<B>(b, std::make_shared<const run_plan>(plan_sampling(model.diffusion, options)),
                           model.diffusion.data_range, options.images),
      network_(model), options_(std::move(options)) {
    require_backend<B>();
}

template <class B>
unconditional_sampler<B>::unconditional_sampler(B& b, std::shared_ptr<any_denoiser<B>> own, run_plan plan,
                                                const value_range& range, sampling_options options)
    : detail::run_maker<B>(b, std::make_shared<const run_plan>(std::move(plan)), range, options.images),
      network_(std::move(own)), options_(std::move(options)) {}

template <class B> detail::run_parts<B> unconditional_sampler<B>::parts_for(const shape4& shape) const {
    auto parts = this->parts(network_.for_run(*this->plan_, options_.labels, shape));
    this->complete(parts, std::make_unique<detail::held_condition<B, unconditional>>(unconditional{}), false);
    return parts;
}

} // namespace repaint
