#pragma once

#include <map>
#include <optional>
#include <utility>
#include <vector>

#include <repaint/backend/dry_run.hpp>
#include <repaint/diffusion/process.hpp>
#include <repaint/model/diffusion_model.hpp>

namespace repaint {

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
            dry_run<B> dry(b, B::element_bytes);
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
    /// Stands in where a backend has no replay.
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
