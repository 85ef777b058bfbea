#pragma once

#include <map>
#include <optional>
#include <utility>
#include <vector>

#include <repaint/backend/dry_run.hpp>
#include <repaint/diffusion/process.hpp>
#include <repaint/model/diffusion_model.hpp>

namespace repaint {

/// A denoiser for one run: the network under a respaced schedule, with the labels of the batch. The embedding of a
/// timestep is computed once and kept; a backend that replays networks computes all of them before the first
/// evaluation.
template <network_backend B> class unet_denoiser {
public:
    /// labels: one per image for a class-conditional network, else none. The model and the process must outlive the
    /// denoiser. Throws std::invalid_argument as check_labels.
    unet_denoiser(const diffusion_model<B>& model, const diffusion_process& process, std::vector<int> labels = {});

    /// Prepares the evaluation of images of this shape: on a backend that replays networks, reserves the memory of the
    /// activations and computes the embedding of every timestep. Optional: operator() calls it. Throws device_error
    /// when the activations do not fit into the device's memory.
    void prepare(B& b, const shape4& images);

    /// The network's output for x (n, c, h, w) at index t of the process.
    [[nodiscard]] tensor_of<B> operator()(B& b, const tensor_of<B>& x, int t);

private:
    /// Stands in for the replay of a backend that has none.
    struct no_replay {};
    template <class> struct replay_of { no_replay value; };
    template <provides_replay E> struct replay_of<E> { typename E::replay value; };

    [[nodiscard]] network_embedding<B> embedded(B& b, int t) const;

    const diffusion_model<B>* model_;
    const diffusion_process* process_;
    std::vector<int> labels_;
    std::map<int, network_embedding<B>> embeddings_;
    replay_of<B> replay_;
    std::optional<shape4> prepared_;
};

template <network_backend B>
unet_denoiser<B>::unet_denoiser(const diffusion_model<B>& model, const diffusion_process& process,
                                std::vector<int> labels)
    : model_(&model), process_(&process), labels_(std::move(labels)) {
    check_labels(model.network.config(), labels_);
}

template <network_backend B> void unet_denoiser<B>::prepare(B& b, const shape4& images) {
    if constexpr (provides_replay<B>) {
        if (prepared_ == images) {
            return;
        }
        dry_run<B> dry(b, B::element_bytes);
        (void)model_->network(dry, dry.allocate(images), model_->network.embed(dry, 0.0F, labels_));
        b.reserve(dry.peak_bytes());
        for (int t = 0; t < process_->size() && !prepared_; ++t) {
            replay_.value.keep(b, t, embedded(b, t).projections);
        }
        prepared_ = images;
    }
}

template <network_backend B> tensor_of<B> unet_denoiser<B>::operator()(B& b, const tensor_of<B>& x, int t) {
    if constexpr (provides_replay<B>) {
        prepare(b, x.shape());
        return replay_.value(b, x, t, [&](const tensor_of<B>& input, std::vector<tensor_of<B>> projections) {
            return model_->network(b, input, network_embedding<B>{std::move(projections)});
        });
    } else {
        auto known = embeddings_.find(t);
        if (known == embeddings_.end()) {
            known = embeddings_.emplace(t, embedded(b, t)).first;
        }
        return model_->network(b, x, known->second);
    }
}

template <network_backend B> network_embedding<B> unet_denoiser<B>::embedded(B& b, int t) const {
    const auto timestep = static_cast<float>(process_->schedule.timestep(t) * model_->diffusion.timestep_scale);
    return model_->network.embed(b, timestep, labels_);
}

} // namespace repaint
