#pragma once

#include <cstddef>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include <repaint/diffusion/conditioner.hpp>
#include <repaint/diffusion/diffusers_loop.hpp>
#include <repaint/diffusion/jump_schedule.hpp>
#include <repaint/diffusion/monai_loop.hpp>
#include <repaint/diffusion/official_loop.hpp>
#include <repaint/diffusion/sampler.hpp>
#include <repaint/diffusion/timestep_spec.hpp>
#include <repaint/model/diffusion_model.hpp>
#include <repaint/run_plan.hpp>

namespace repaint {

/// What a run of RePaint is asked for; the defaults are the official ones. No default changes with the algorithm. As
/// published, diffusers has the same ones, and monai has timesteps "", all of them, and jumps.n_sample 4.
struct inpaint_options {
    timestep_spec timesteps = 250; ///< diffusers and monai take a plain count
    jump_options jumps = {};
    std::vector<int> labels = {}; ///< class-conditional networks: one per image, or one for all
    /// Given, 0 to 1: reverse steps are DDIM's instead of the trained ones. The steps of diffusers always are, with 0
    /// unless given.
    std::optional<double> eta = std::nullopt;
    /// Known pixels are the input's, exactly; false: the raw sample, as the official program. The samples of diffusers
    /// and monai are merged with what is known already, each with its own idea of a soft mask, and stay as they are.
    bool composite = true;
    repaint::algorithm algorithm = repaint::algorithm::official;
};

/// Thrown by inpainter::operator() when an observer stopped the run. Use start() and advance() to keep its state.
class cancelled : public error {
public:
    cancelled() : error("the run was cancelled by an observer") {}
};

/// Everything a stopped run needs to go on: see inpainter::resume.
template <class NoiseState> struct inpainting_state {
    host_tensor x;
    std::size_t position = 0;
    NoiseState noise;
};

/// keep * image + (1 - keep) * sample, where keep = 1 gives the image's very bits and keep = 0 the sample's.
/// image, sample: (n, c, h, w); keep: (1 or n, 1 or c, h, w).
[[nodiscard]] host_tensor composited(const host_tensor& image, const host_tensor& keep, const host_tensor& sample);

/// Throws shape_error unless the keep mask fits images of shape i, std::invalid_argument when a value is outside [0,
/// 1].
void check_keep_mask(const shape4& i, const host_tensor& keep);

namespace detail {

/// A loop that is one of several, chosen at run time.
template <class... Loops> class chosen_loop {
public:
    template <class L> explicit chosen_loop(L loop) : loop_(std::move(loop)) {}

    [[nodiscard]] bool evaluates(const transition& move) const {
        return std::visit([&](const auto& loop) { return loop.evaluates(move); }, loop_);
    }

    template <class B, class X, class D, class N>
    void operator()(B& b, X& x, const transition& move, bool first, D& denoise, N& noise, X* x0) {
        std::visit([&](auto& loop) { loop(b, x, move, first, denoise, noise, x0); }, loop_);
    }

private:
    std::variant<Loops...> loop_;
};

} // namespace detail

/// One label for each of `images`, from one for each or one for all. Throws std::invalid_argument when that does not
/// work out, or the network does not know a label.
[[nodiscard]] std::vector<int> labels_for(const unet_config& network, std::vector<int> labels, int images);

/// One run that can be advanced, stopped, saved and finished. Made by inpainter::start and resume.
template <tensor_backend B, noise_source<B> N> class inpainting {
public:
    using state_type = inpainting_state<decltype(std::declval<const N&>().state())>;

    /// Goes on until the walk ends (returns true) or an observer returns true (returns false). Observers: see
    /// diffusion/sampler.hpp.
    template <class... Observers> bool advance(Observers&&... observers) {
        loop_type loop = this->loop();
        return repaint::advance(*backend_, run_, denoise_, loop, noise_, plan_->walk,
                                std::forward<Observers>(observers)...);
    }

    [[nodiscard]] bool finished() const { return run_.position == plan_->walk.size(); }

    /// What inpainter::resume needs, on the host.
    [[nodiscard]] state_type state() const { return {backend_->download(run_.x), run_.position, noise_.state()}; }

    /// The images (n, c, h, w) as they stand; the known pixels are the input's when the options say composite.
    [[nodiscard]] host_tensor result() const {
        host_tensor drawn = backend_->download(run_.x);
        return composite_ ? composited(image_, keep_, drawn) : drawn;
    }

private:
    template <tensor_backend> friend class inpainter;

    using official = official_loop<B, const known_region<B>>;
    using loop_type = detail::chosen_loop<official, diffusers_loop<B>, monai_loop<B>>;

    inpainting(B& b, const diffusion_model<B>& model, const run_plan& plan, std::vector<int> labels, bool composite,
               host_tensor image, host_tensor keep, guide<B> guidance, N noise, const state_type* state)
        : backend_(&b), plan_(&plan), composite_(composite && plan.how == algorithm::official),
          image_(std::move(image)), keep_(std::move(keep)), guide_(std::move(guidance)), noise_(std::move(noise)),
          denoise_(model, plan.process, std::move(labels)),
          condition_(b.upload(image_), b.upload(plan.how == algorithm::monai ? monai_keep(keep_) : keep_)),
          run_(initial(b, state)) {
        denoise_.prepare(b, image_.shape());
    }

    /// Made anew for every advance: it points into this object, which may have moved.
    [[nodiscard]] loop_type loop() const {
        switch (plan_->how) {
        case algorithm::diffusers: return loop_type(diffusers_loop<B>(*plan_->scheduled, condition_));
        case algorithm::monai: return loop_type(monai_loop<B>(*plan_->scheduled, condition_));
        default: return loop_type(official(plan_->process, condition_, guide_));
        }
    }

    sampling<B> initial(B& b, const state_type* state) {
        if (state == nullptr) {
            return start_sampling(b, noise_, image_.shape());
        }
        if (state->x.shape() != image_.shape() || state->position > plan_->walk.size()) {
            throw shape_error("the saved state is of " + to_string(state->x.shape()) + " at transition " +
                              std::to_string(state->position) + ", this run is of " + to_string(image_.shape()) +
                              " with " + std::to_string(plan_->walk.size()) + " transitions");
        }
        noise_.restore(state->noise);
        return {b.upload(state->x), state->position};
    }

    B* backend_;
    const run_plan* plan_;
    bool composite_;
    host_tensor image_;
    host_tensor keep_;
    guide<B> guide_;
    N noise_;
    unet_denoiser<B> denoise_;
    known_region<B> condition_;
    sampling<B> run_;
};

/// Fills holes in images with a trained diffusion model (RePaint, Lugmayr et al. 2022). Holds references to the backend
/// and the model; both must outlive it, and it must outlive its runs.
template <tensor_backend B> class inpainter {
public:
    /// Throws std::invalid_argument when options do not fit together.
    inpainter(B& b, const diffusion_model<B>& model, inpaint_options options = {})
        : backend_(&b), model_(&model), options_(std::move(options)),
          plan_(plan_inpainting(model.diffusion, options_.algorithm, options_.timesteps.text, options_.jumps,
                                options_.eta)) {
        require_backend<B>();
    }

    /// Runs that start from now on are guided, by class_guidance for one; an empty guide ends that. Throws
    /// std::invalid_argument unless the algorithm is the official one: the others have no guidance.
    void guide_with(guide<B> guidance) {
        if (guidance && plan_.how != algorithm::official) {
            throw std::invalid_argument("guidance is part of the algorithm official only");
        }
        guide_ = std::move(guidance);
    }

    [[nodiscard]] const diffusion_process& process() const { return plan_.process; }
    [[nodiscard]] const std::vector<transition>& walk() const { return plan_.walk; }
    /// Of the network, over the whole walk.
    [[nodiscard]] std::size_t evaluations() const { return plan_.evaluations; }

    /// image: (n, c, h, w) in [-1, 1]; keep: 1 = known, 0 = fill, (1 or n, 1 or c, h, w), soft values allowed. Returns
    /// the filled images. Throws shape_error and std::invalid_argument on what does not fit, cancelled when an observer
    /// stops.
    template <noise_source<B> N, class... Observers>
    [[nodiscard]] host_tensor operator()(const host_tensor& image, const host_tensor& keep, N noise,
                                         Observers&&... observers) const {
        auto run = start(image, keep, std::move(noise));
        if (!run.advance(std::forward<Observers>(observers)...)) {
            throw cancelled();
        }
        return run.result();
    }

    /// A run at its beginning. Arguments and exceptions as of operator().
    template <noise_source<B> N>
    [[nodiscard]] inpainting<B, N> start(host_tensor image, host_tensor keep, N noise) const {
        return begin<N>(std::move(image), std::move(keep), std::move(noise), nullptr);
    }

    /// A run that goes on from a saved state, with the same images, mask, options and kind of noise: the result equals
    /// that of the uninterrupted run bit for bit.
    template <noise_source<B> N>
    [[nodiscard]] inpainting<B, N> resume(host_tensor image, host_tensor keep, N noise,
                                          const typename inpainting<B, N>::state_type& state) const {
        return begin<N>(std::move(image), std::move(keep), std::move(noise), &state);
    }

private:
    template <noise_source<B> N>
    [[nodiscard]] inpainting<B, N> begin(host_tensor image, host_tensor keep, N noise,
                                         const typename inpainting<B, N>::state_type* state) const {
        const unet_config& network = model_->network.config();
        check_image_shape(network, image.shape());
        check_keep_mask(image.shape(), keep);
        auto labels = labels_for(network, options_.labels, image.shape().n);
        return inpainting<B, N>(*backend_, *model_, plan_, std::move(labels), options_.composite, std::move(image),
                                std::move(keep), guide_, std::move(noise), state);
    }

    B* backend_;
    const diffusion_model<B>* model_;
    inpaint_options options_;
    guide<B> guide_;
    run_plan plan_;
};

} // namespace repaint

#ifndef REPAINT_COMPILED
#include <repaint/inpainter.ipp>
#endif
