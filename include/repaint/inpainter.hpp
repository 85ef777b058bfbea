#pragma once

#include <cstddef>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <repaint/diffusion/conditioner.hpp>
#include <repaint/diffusion/jump_schedule.hpp>
#include <repaint/diffusion/noise.hpp>
#include <repaint/diffusion/sampler.hpp>
#include <repaint/diffusion/timestep_spec.hpp>
#include <repaint/model/diffusion_model.hpp>

namespace repaint {

/// What a run of RePaint is asked for; the defaults are the published ones.
struct inpaint_options {
    timestep_spec timesteps = 250;
    jump_options jumps = {};
    std::vector<int> labels = {}; ///< class-conditional networks: one per image, or one for all
    bool composite = true; ///< known pixels are the input's, exactly; false: the raw sample, as the official program
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
[[nodiscard]] inline host_tensor composited(const host_tensor& image, const host_tensor& keep,
                                            const host_tensor& sample) {
    const shape4 s = image.shape();
    host_tensor result(s);
    for (int n = 0; n < s.n; ++n) {
        for (int c = 0; c < s.c; ++c) {
            const std::size_t plane = s.plane();
            const auto part = static_cast<std::size_t>(c) * plane;
            const float* known = image.image(n).data() + part;
            const float* drawn = sample.image(n).data() + part;
            const float* mask = keep.image(keep.shape().n == 1 ? 0 : n).data() + (keep.shape().c == 1 ? 0 : part);
            float* out = result.image(n).data() + part;
            for (std::size_t i = 0; i < plane; ++i) {
                out[i] = mask[i] == 1.0F
                             ? known[i]
                             : (mask[i] == 0.0F ? drawn[i] : mask[i] * known[i] + (1.0F - mask[i]) * drawn[i]);
            }
        }
    }
    return result;
}

/// Throws shape_error unless the keep mask fits images of shape i, std::invalid_argument when a value is outside [0,
/// 1].
inline void check_keep_mask(const shape4& i, const host_tensor& keep) {
    const shape4 k = keep.shape();
    if (k.h != i.h || k.w != i.w) {
        throw shape_error("the mask is " + std::to_string(k.w) + "x" + std::to_string(k.h) + ", the picture is " +
                          std::to_string(i.w) + "x" + std::to_string(i.h) + ": they must have the same size");
    }
    if ((k.n != 1 && k.n != i.n) || (k.c != 1 && k.c != i.c)) {
        throw shape_error("keep mask " + to_string(k) + " does not fit images " + to_string(i) + ", expected (1 or " +
                          std::to_string(i.n) + ", 1 or " + std::to_string(i.c) + ", " + std::to_string(i.h) + ", " +
                          std::to_string(i.w) + ")");
    }
    for (const float value : keep.values()) {
        if (!(value >= 0.0F && value <= 1.0F)) {
            throw std::invalid_argument("a keep mask holds values from 0 (fill) to 1 (known), found " +
                                        std::to_string(value));
        }
    }
}

/// One run that can be advanced, stopped, saved and finished. Made by inpainter::start and resume.
template <tensor_backend B, noise_source<B> N> class inpainting {
public:
    using state_type = inpainting_state<decltype(std::declval<const N&>().state())>;

    /// Goes on until the walk ends (returns true) or an observer returns true (returns false). Observers: see
    /// diffusion/sampler.hpp.
    template <class... Observers> bool advance(Observers&&... observers) {
        return repaint::advance(*backend_, run_, denoise_, condition_, noise_, *process_, *walk_,
                                std::forward<Observers>(observers)...);
    }

    [[nodiscard]] bool finished() const { return run_.position == walk_->size(); }

    /// What inpainter::resume needs, on the host.
    [[nodiscard]] state_type state() const { return {backend_->download(run_.x), run_.position, noise_.state()}; }

    /// The images (n, c, h, w) as they stand; the known pixels are the input's when the options say composite.
    [[nodiscard]] host_tensor result() const {
        host_tensor drawn = backend_->download(run_.x);
        return composite_ ? composited(image_, keep_, drawn) : drawn;
    }

private:
    template <tensor_backend> friend class inpainter;

    inpainting(B& b, const diffusion_model<B>& model, const diffusion_process& process,
               const std::vector<transition>& steps, std::vector<int> labels, bool composite, host_tensor image,
               host_tensor keep, N noise, const state_type* state)
        : backend_(&b), process_(&process), walk_(&steps), composite_(composite), image_(std::move(image)),
          keep_(std::move(keep)), noise_(std::move(noise)), denoise_(model, process, std::move(labels)),
          condition_(b.upload(image_), b.upload(keep_)), run_(initial(b, state)) {}

    sampling<B> initial(B& b, const state_type* state) {
        if (state == nullptr) {
            return start_sampling(b, noise_, image_.shape());
        }
        if (state->x.shape() != image_.shape() || state->position > walk_->size()) {
            throw shape_error("the saved state is of " + to_string(state->x.shape()) + " at transition " +
                              std::to_string(state->position) + ", this run is of " + to_string(image_.shape()) +
                              " with " + std::to_string(walk_->size()) + " transitions");
        }
        noise_.restore(state->noise);
        return {b.upload(state->x), state->position};
    }

    B* backend_;
    const diffusion_process* process_;
    const std::vector<transition>* walk_;
    bool composite_;
    host_tensor image_;
    host_tensor keep_;
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
          process_(model.diffusion.respaced(options_.timesteps.text)),
          walk_(jump_schedule(process_.size(), options_.jumps)) {
        require_backend<B>();
    }

    [[nodiscard]] const diffusion_process& process() const { return process_; }
    [[nodiscard]] const std::vector<transition>& walk() const { return walk_; }

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
        auto labels = options_.labels;
        if (labels.size() == 1) {
            labels.resize(static_cast<std::size_t>(image.shape().n), labels.front());
        }
        check_labels(network, labels);
        if (!labels.empty() && labels.size() != static_cast<std::size_t>(image.shape().n)) {
            throw std::invalid_argument(std::to_string(labels.size()) + " labels were given for " +
                                        std::to_string(image.shape().n) + " images: give one, or one for each");
        }
        return inpainting<B, N>(*backend_, *model_, process_, walk_, std::move(labels), options_.composite,
                                std::move(image), std::move(keep), std::move(noise), state);
    }

    B* backend_;
    const diffusion_model<B>* model_;
    inpaint_options options_;
    diffusion_process process_;
    std::vector<transition> walk_;
};

} // namespace repaint
