#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <repaint/backend/rehearsal.hpp>
#include <repaint/diffusion/beta_schedule.hpp>
#include <repaint/diffusion/noise_schedule.hpp>
#include <repaint/diffusion/process.hpp>
#include <repaint/diffusion/scheduler_settings.hpp>
#include <repaint/model/unet.hpp>

namespace repaint {

/// The values that black and white have in the images of a network.
struct value_range {
    float low = -1.0F;
    float high = 1.0F;

    friend bool operator==(const value_range&, const value_range&) = default;
};

/// How a network was trained to diffuse: the training schedule and the meaning of its output.
struct diffusion_settings {
    noise_schedule training = noise_schedule::linear();
    prediction_type prediction = prediction_type::epsilon;
    variance_type variance = variance_type::learned_range;
    bool clip = true;
    double timestep_scale = 1.0; ///< what the network is told per training timestep; 1000 / steps when rescaled
    /// `training` in the words it was configured with, where those are known: diffusers' and MONAI's loops compute with
    /// the float32 tables that follow from them. Unknown: with the betas of `training` rounded to float32.
    std::optional<beta_schedule> betas = std::nullopt;
    value_range data_range = {};       ///< of the images it was trained on
    scheduler_settings scheduler = {}; ///< for the algorithms diffusers and monai
    x0_limits limits = {};             ///< of clipping

    /// The process over the timesteps that `spec` keeps (noise_schedule::respaced). Throws std::invalid_argument.
    [[nodiscard]] diffusion_process respaced(std::string_view spec) const {
        return {training.respaced(spec), prediction, variance, clip, std::nullopt, limits};
    }
};

/// What was found out about a model while reading it, for people.
struct model_description {
    std::string family; ///< "guided-diffusion U-Net"
    std::string format; ///< of the file
    std::size_t tensors = 0;
    std::uint64_t parameters = 0;
    int image_size = 0;               ///< rows and columns it was trained at; 0: the files do not say
    std::string schedule;             ///< "linear, 1000 steps"
    std::vector<std::string> remarks; ///< what was assumed, ignored or taken from where
};

/// A network that is ready to sample from.
template <network_backend B> struct diffusion_model {
    unet<B> network;
    diffusion_settings diffusion;
    model_description description;
};

/// A denoiser for one run: the network under a respaced schedule, with the labels of the batch. What depends on the
/// timestep alone is computed once per distinct timestep and kept; on a backend that replays networks, before the first
/// evaluation.
template <network_backend B> class unet_denoiser {
public:
    /// labels: one per image for a class-conditional network, else none. The model and the process must outlive it.
    unet_denoiser(const diffusion_model<B>& model, const diffusion_process& process, std::vector<int> labels = {})
        : model_(&model), process_(&process), labels_(std::move(labels)) {
        check_labels(model.network.config(), labels_);
    }

    /// Makes ready for images of this shape what can be, which operator() does otherwise. Throws device_error when their
    /// activations do not fit into a device's memory.
    void prepare(B& b, const shape4& images) {
        if constexpr (provides_replay<B>) {
            if (prepared_ == images) {
                return;
            }
            rehearsal<B> dry(b, B::element_bytes);
            (void)model_->network(dry, dry.allocate(images), model_->network.embed(dry, 0.0F, labels_));
            b.reserve(dry.peak_bytes());
            for (int t = 0; t < process_->size() && !prepared_; ++t) {
                replay_.value.keep(b, t, embedded(b, t).projections);
            }
            prepared_ = images;
        }
    }

    [[nodiscard]] tensor_of<B> operator()(B& b, const tensor_of<B>& x, int t) {
        if constexpr (provides_replay<B>) {
            prepare(b, x.shape());
            return replay_.value(b, x, t, [&](const tensor_of<B>& input, std::vector<tensor_of<B>> projections) {
                return model_->network(b, input, typename unet<B>::embedding{std::move(projections)});
            });
        } else {
            auto known = embeddings_.find(t);
            if (known == embeddings_.end()) {
                known = embeddings_.emplace(t, embedded(b, t)).first;
            }
            return model_->network(b, x, known->second);
        }
    }

private:
    /// Of backends without it.
    struct no_replay {};
    template <class> struct replay_of { no_replay value; };
    template <provides_replay E> struct replay_of<E> { typename E::replay value; };

    [[nodiscard]] typename unet<B>::embedding embedded(B& b, int t) const {
        const auto timestep = static_cast<float>(process_->schedule.timestep(t) * model_->diffusion.timestep_scale);
        return model_->network.embed(b, timestep, labels_);
    }

    const diffusion_model<B>* model_;
    const diffusion_process* process_;
    std::vector<int> labels_;
    std::map<int, typename unet<B>::embedding> embeddings_;
    replay_of<B> replay_;
    std::optional<shape4> prepared_;
};

} // namespace repaint
