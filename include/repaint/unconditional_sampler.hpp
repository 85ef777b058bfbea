#pragma once

#include <cstddef>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <repaint/diffusion/conditioner.hpp>
#include <repaint/diffusion/noise.hpp>
#include <repaint/diffusion/official_loop.hpp>
#include <repaint/diffusion/sampler.hpp>
#include <repaint/diffusion/scheduler_loop.hpp>
#include <repaint/diffusion/timestep_spec.hpp>
#include <repaint/inpainter.hpp>
#include <repaint/model/diffusion_model.hpp>
#include <repaint/run_plan.hpp>

namespace repaint {

/// What unconditional sampling is asked for.
struct sampling_options {
    timestep_spec timesteps = 250;            ///< diffusers and monai take a plain count
    std::vector<int> labels = {};             ///< class-conditional networks: one per image, or one for all
    std::optional<double> eta = std::nullopt; ///< given, 0 to 1: reverse steps are DDIM's
    repaint::algorithm algorithm = repaint::algorithm::official;
};

/// Draws images from a trained diffusion model: ancestral sampling (Ho et al. 2020) or DDIM (Song et al. 2021) as
/// guided-diffusion's p_sample_loop and ddim_sample_loop, as diffusers' DDPMPipeline and DDIMPipeline, or as MONAI's
/// DiffusionInferer with its DDPMScheduler and DDIMScheduler have it. Holds references to the backend and the model;
/// both must outlive it.
template <tensor_backend B> class unconditional_sampler {
public:
    /// Throws std::invalid_argument when options do not fit together.
    unconditional_sampler(B& b, const diffusion_model<B>& model, sampling_options options = {})
        : backend_(&b), model_(&model), options_(std::move(options)),
          plan_(plan_sampling(model.diffusion, options_.algorithm, options_.timesteps.text, options_.eta)) {
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
    /// Of the network, over the whole walk.
    [[nodiscard]] std::size_t evaluations() const { return plan_.evaluations; }

    /// Images of the given shape, in about the range of the training images. Observers: see diffusion/sampler.hpp.
    /// Throws shape_error and std::invalid_argument on what does not fit, cancelled when an observer stops.
    template <noise_source<B> N, class... Observers>
    [[nodiscard]] host_tensor operator()(shape4 shape, N noise, Observers&&... observers) const {
        const unet_config& network = model_->network.config();
        check_image_shape(network, shape);
        unet_denoiser<B> denoise(*model_, plan_.process, labels_for(network, options_.labels, shape.n));
        denoise.prepare(*backend_, shape);
        auto run = start_sampling(*backend_, noise, shape);
        bool done = false;
        if (plan_.how == algorithm::official) {
            const unconditional nothing_known;
            official_loop<B, const unconditional> loop(plan_.process, nothing_known, guide_);
            done = advance(*backend_, run, denoise, loop, noise, plan_.walk, std::forward<Observers>(observers)...);
        } else {
            scheduler_loop<B> loop(sampling_steps(plan_));
            done = advance(*backend_, run, denoise, loop, noise, plan_.walk, std::forward<Observers>(observers)...);
        }
        if (!done) {
            throw cancelled();
        }
        return backend_->download(run.x);
    }

private:
    B* backend_;
    const diffusion_model<B>* model_;
    sampling_options options_;
    guide<B> guide_;
    run_plan plan_;
};

} // namespace repaint
