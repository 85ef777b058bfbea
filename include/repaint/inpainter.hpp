#pragma once

#include <concepts>
#include <functional>
#include <memory>
#include <optional>
#include <stdexcept>
#include <type_traits>
#include <utility>
#include <vector>

#include <repaint/concepts.hpp>
#include <repaint/core/host_tensor.hpp>
#include <repaint/diffusion/conditioner.hpp>
#include <repaint/diffusion/noise.hpp>
#include <repaint/diffusion/planning.hpp>
#include <repaint/diffusion/run_options.hpp>
#include <repaint/diffusion/run_plan.hpp>
#include <repaint/diffusion/sampling_run.hpp>
#include <repaint/model/diffusion_model.hpp>
#include <repaint/model/unet_denoiser.hpp>

namespace repaint {

/// One label for each of `images`, from one for each or one for all. Throws std::invalid_argument when that does not
/// work out, or the network does not know a label.
[[nodiscard]] std::vector<int> labels_for(const unet_config& network, std::vector<int> labels, int images);

namespace detail {

/// Throws shape_error for images without a pixel, std::invalid_argument when there are labels that nobody reads.
void check_own_images(const shape4& images, const std::vector<int>& labels);

/// The network of a run: a model's, under labels, or a denoiser of the user's own.
template <class B> class run_network {
public:
    explicit run_network(const diffusion_model<B>& model) : model_(&model) {}
    explicit run_network(std::shared_ptr<any_denoiser<B>> own) : own_(std::move(own)) {}

    /// Throws as check_image_shape and labels_for; what is checked is what a run needs.
    [[nodiscard]] std::shared_ptr<any_denoiser<B>> for_run(const run_plan& plan, const std::vector<int>& labels,
                                                           const shape4& images) const;

private:
    const diffusion_model<B>* model_ = nullptr;
    std::shared_ptr<any_denoiser<B>> own_;
};

} // namespace detail

/// Fills holes in images with a trained diffusion model (RePaint, Lugmayr et al. 2022). Refers to the backend, the model
/// and what is given as an lvalue, all of which must outlive it and its runs. May be moved and copied; its runs do not
/// refer to it.
template <class B> class inpainter : public detail::run_maker<B> {
public:
    /// A trained network. Throws std::invalid_argument when options do not fit together.
    inpainter(B& b, const diffusion_model<B>& model, inpaint_options options = {});

    /// A denoiser of the user's own over a process that is respaced already and says the timesteps. A temporary is
    /// taken over. Throws std::invalid_argument when options do not fit together, or ask for other timesteps.
    template <class D>
    requires(denoiser<D, B>&& tensor_backend<B>)
        inpainter(B& b, D&& denoise, const diffusion_process& process, inpaint_options options = {})
        : inpainter(b, own(std::forward<D>(denoise)), plan_inpainting(process, options), value_range{}, options) {}

    /// A denoiser of the user's own that was trained as `settings` say, by any of the systems. It is told indices of
    /// process(): process().schedule.timestep(t) is the timestep of the training at index t. Throws as above.
    template <class D>
    requires(denoiser<D, B>&& tensor_backend<B>)
        inpainter(B& b, D&& denoise, const diffusion_settings& settings, inpaint_options options = {})
        : inpainter(b, own(std::forward<D>(denoise)), plan_inpainting(settings, options), settings.data_range,
                    options) {}

    /// Runs that start from now on impose what is known by a conditioner of the user's own. make: takes
    /// `(B&, tensor_of<B> known, tensor_of<B> keep)`, as known_region's constructor does, and returns a conditioner.
    template <class F> void condition_with(F make) {
        make_condition_ = [make = std::move(make)](B& b, tensor_of<B> known, tensor_of<B> keep) {
            using condition = std::remove_cvref_t<decltype(make(b, std::move(known), std::move(keep)))>;
            static_assert(conditioner<condition, B, any_noise<B>>,
                          "condition_with: what the function returns is no conditioner (concepts.hpp)");
            return std::unique_ptr<any_condition<B>>(
                std::make_unique<detail::held_condition<B, condition>>(make(b, std::move(known), std::move(keep))));
        };
    }

    /// Fills the images. image: (n, c, h, w), black and white as options.images says; keep: 1 = known, 0 = fill, (1 or n,
    /// 1 or c, h, w), soft values allowed. Throws shape_error and std::invalid_argument on what does not fit, cancelled
    /// when an observer stops. Observers: diffusion/sampler.hpp.
    template <noise_source<B> N, class... Observers>
    [[nodiscard]] host_tensor operator()(const host_tensor& image, const host_tensor& keep, N noise,
                                         Observers&&... observers) const {
        constexpr bool each_is_an_observer = (observer<Observers, B> && ...);
        static_assert(each_is_an_observer,
                      "an observer takes const progress& or const preview<B>&, or is a stop_token");
        auto run = start(image, keep, std::move(noise));
        if constexpr (each_is_an_observer) {
            if (!run.advance(std::forward<Observers>(observers)...)) {
                throw cancelled();
            }
        }
        return run.result();
    }

    /// Fills images that are on the device already, such as b.view(...) or b.adopt(...), and returns a tensor of the
    /// backend. The values of image and keep are not checked. Throws as above.
    template <noise_source<B> N, class... Observers>
    [[nodiscard]] tensor_of<B> operator()(tensor_of<B> image, tensor_of<B> keep, N noise,
                                          Observers&&... observers) const {
        constexpr bool each_is_an_observer = (observer<Observers, B> && ...);
        static_assert(each_is_an_observer,
                      "an observer takes const progress& or const preview<B>&, or is a stop_token");
        auto run = start(std::move(image), std::move(keep), std::move(noise));
        if constexpr (each_is_an_observer) {
            if (!run.advance(std::forward<Observers>(observers)...)) {
                throw cancelled();
            }
        }
        return std::move(run).device_result();
    }

    /// A run at its beginning. Arguments and exceptions as of operator().
    template <noise_source<B> N>
    [[nodiscard]] sampling_run<B, N> start(host_tensor image, host_tensor keep, N noise) const {
        const shape4 shape = image.shape();
        return {host_parts(std::move(image), std::move(keep)), shape, std::move(noise), nullptr};
    }

    template <noise_source<B> N>
    [[nodiscard]] sampling_run<B, N> start(tensor_of<B> image, tensor_of<B> keep, N noise) const {
        const shape4 shape = image.shape();
        return {device_parts(std::move(image), std::move(keep)), shape, std::move(noise), nullptr};
    }

    /// A run that goes on from a saved state, with the same images, mask, options and kind of noise: the result equals
    /// that of the uninterrupted run bit for bit.
    template <noise_source<B> N>
    [[nodiscard]] sampling_run<B, N> resume(host_tensor image, host_tensor keep, N noise,
                                            const typename sampling_run<B, N>::state_type& state) const {
        const shape4 shape = image.shape();
        return {host_parts(std::move(image), std::move(keep)), shape, std::move(noise), &state};
    }

private:
    inpainter(B& b, std::shared_ptr<any_denoiser<B>> own, run_plan plan, const value_range& range,
              inpaint_options options);

    template <class D> static std::shared_ptr<any_denoiser<B>> own(D&& denoise) {
        return std::make_shared<detail::held_denoiser<B, D>>(std::forward<D>(denoise));
    }

    [[nodiscard]] detail::run_parts<B> host_parts(host_tensor image, host_tensor keep) const;
    [[nodiscard]] detail::run_parts<B> device_parts(tensor_of<B> image, tensor_of<B> keep) const;
    [[nodiscard]] std::unique_ptr<any_condition<B>> condition(tensor_of<B> known, tensor_of<B> keep) const;

    detail::run_network<B> network_;
    inpaint_options options_;
    std::function<std::unique_ptr<any_condition<B>>(B&, tensor_of<B>, tensor_of<B>)> make_condition_;
};

/// Stands in for a backend that lacks a primitive: the compiler names the primitive, and goes on.
template <> class inpainter<detail::unusable_backend> {
public:
    template <class B, class D, class... Rest> explicit inpainter(B&, const D&, Rest&&...) {
        if constexpr (!std::same_as<D, diffusion_model<B>>) { // which has said so already
            require_backend<B>();
        }
    }
    /// Nobody has such arguments: whether some convert to them is what makes a compiler look into `diffusion_model<B>`.
    inpainter(const detail::anything&, const detail::unusable_backend&) {}
    template <class... Any> host_tensor operator()(Any&&...) const { return {}; }
};

template <class B> inpainter(B&, const diffusion_model<B>&) -> inpainter<detail::usable<B>>;
template <class B> inpainter(B&, const diffusion_model<B>&, inpaint_options) -> inpainter<detail::usable<B>>;
template <class B, class D, class... Rest>
requires(!tensor_backend<B>) inpainter(B&, const D&, Rest&&...)
->inpainter<detail::unusable_backend>;

// ---- definitions -----------------------------------------------------------------------------------------------------

namespace detail {

template <class B>
std::shared_ptr<any_denoiser<B>> run_network<B>::for_run(const run_plan& plan, const std::vector<int>& labels,
                                                         const shape4& images) const {
    if (own_) {
        check_own_images(images, labels);
        return own_;
    }
    const unet_config& network = model_->network.config();
    check_image_shape(network, images);
    using held = held_denoiser<B, unet_denoiser<B>>;
    return std::make_shared<held>(unet_denoiser<B>(*model_, plan.process, labels_for(network, labels, images.n)));
}

} // namespace detail

template <class B>
inpainter<B>::inpainter(B& b, const diffusion_model<B>& model, inpaint_options options)
    : detail::run_maker<B>(b, std::make_shared<const run_plan>(plan_inpainting(model.diffusion, options)),
                           model.diffusion.data_range, options.images),
      network_(model), options_(std::move(options)) {
    require_backend<B>();
}

template <class B>
inpainter<B>::inpainter(B& b, std::shared_ptr<any_denoiser<B>> own, run_plan plan, const value_range& range,
                        inpaint_options options)
    : detail::run_maker<B>(b, std::make_shared<const run_plan>(std::move(plan)), range, options.images),
      network_(std::move(own)), options_(std::move(options)) {}

template <class B>
std::unique_ptr<any_condition<B>> inpainter<B>::condition(tensor_of<B> known, tensor_of<B> keep) const {
    if (make_condition_) {
        return make_condition_(*this->backend_, std::move(known), std::move(keep));
    }
    using held = detail::held_condition<B, known_region<B>>;
    return std::make_unique<held>(known_region<B>(std::move(known), std::move(keep)));
}

template <class B> detail::run_parts<B> inpainter<B>::host_parts(host_tensor image, host_tensor keep) const {
    auto parts = this->parts(network_.for_run(*this->plan_, options_.labels, image.shape()));
    check_keep_mask(image.shape(), keep);
    check_values(image, this->images_, "the images");
    B& b = *this->backend_;
    with_system(this->plan_->system, [&](auto system) {
        this->complete(
            parts, condition(b.upload(rescaled(image, this->images_, this->range_)), b.upload(system.keep_mask(keep))),
            true);
        if (options_.composite && system.composites) {
            parts.known.emplace(std::move(image), std::move(keep));
        }
    });
    return parts;
}

template <class B> detail::run_parts<B> inpainter<B>::device_parts(tensor_of<B> image, tensor_of<B> keep) const {
    auto parts = this->parts(network_.for_run(*this->plan_, options_.labels, image.shape()));
    check_keep_shape(image.shape(), keep.shape());
    B& b = *this->backend_;
    const bool composite = options_.composite && with_system(this->plan_->system, [](auto s) { return s.composites; });
    if (make_condition_ && composite) {
        throw std::invalid_argument("a conditioner of one's own takes images on the device over: set composite to "
                                    "false, or give images on the host");
    }
    using shared = std::shared_ptr<const tensor_of<B>>;
    using pair = std::pair<tensor_of<B>, tensor_of<B>>;
    if (this->plan_->system == sampling_system::monai) {
        keep = b.upload(monai_system::keep_mask(b.download(keep)));
    }
    const auto of_network = [&] { return b.upload(rescaled(b.download(image), this->images_, this->range_)); };
    const bool converts = this->images_ != this->range_;
    if (make_condition_) {
        this->complete(parts, condition(converts ? of_network() : std::move(image), std::move(keep)), true);
        return parts;
    }
    // The result keeps the images as they came, the condition has them in the range of the network.
    shared known = converts ? std::make_shared<const tensor_of<B>>(of_network()) : nullptr;
    auto given = std::make_shared<const pair>(std::move(image), std::move(keep));
    known_region<B> region(known ? std::move(known) : shared(given, &given->first), shared(given, &given->second));
    this->complete(parts, std::make_unique<detail::held_condition<B, known_region<B>>>(std::move(region)), true);
    if (composite) {
        parts.known_on_device = std::move(given);
    }
    return parts;
}

} // namespace repaint

#ifndef REPAINT_COMPILED
#include <repaint/inpainter.ipp>
#endif
