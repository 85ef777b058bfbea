#pragma once

#include <map>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include <repaint/backend/taped.hpp>
#include <repaint/core/host_tensor.hpp>
#include <repaint/diffusion/process.hpp>
#include <repaint/model/classifier.hpp>

namespace repaint {

/// The cotangent of sum over images of scale * log softmax(logits)[label], zero but for the first column. logits:
/// (n, classes, 1, m). Throws std::invalid_argument unless there is one label in range for each image.
host_tensor class_cotangent(const host_tensor& logits, std::span<const int> labels, float scale);

/// Classifier guidance (Dhariwal and Nichol 2021, algorithm 1): a `guide` that returns
/// scale * d log p(label | x_t, t) / d x_t. What depends on the timestep alone is kept. The classifier and the process
/// must outlive it.
template <differentiable_backend B> class class_guidance {
public:
    /// labels: one per image. timestep_scale: what the classifier is told per training timestep. Throws
    /// std::invalid_argument as check_labels.
    class_guidance(const classifier<B>& network, const diffusion_process& process, std::vector<int> labels, float scale,
                   double timestep_scale = 1.0, tape_memory memory = tape_memory::keep)
        : network_(&network), process_(&process), labels_(std::move(labels)), scale_(scale),
          timestep_scale_(timestep_scale), memory_(memory) {
        check_labels(network.config(), labels_);
    }

    /// x_t (n, c, h, w), t: index of the process -> (n, c, h, w). Throws std::invalid_argument as class_cotangent.
    [[nodiscard]] tensor_of<B> operator()(B& b, const tensor_of<B>& x, int t) {
        auto known = embeddings_.find(t);
        if (known == embeddings_.end()) {
            const auto timestep = static_cast<float>(process_->schedule.timestep(t) * timestep_scale_);
            known = embeddings_.emplace(t, std::make_shared<network_embedding<B>>(network_->embed(b, timestep))).first;
        }
        return gradient(b, x, *known->second);
    }

    /// The gradient under an embedding that is computed already.
    [[nodiscard]] tensor_of<B> gradient(B& b, const tensor_of<B>& x, const network_embedding<B>& e) const {
        taped<B> tape(b, memory_);
        network_embedding<taped<B>> constants;
        for (const auto& projection : e.projections) {
            constants.projections.push_back(tape.constant(projection));
        }
        const auto input = tape.watch(x);
        const auto logits = (*network_)(tape, input, constants);
        const auto cotangent = class_cotangent(tape.download(logits), labels_, scale_);
        return tape.pullback(logits, b.upload(cotangent));
    }

private:
    const classifier<B>* network_;
    const diffusion_process* process_;
    std::vector<int> labels_;
    float scale_;
    double timestep_scale_;
    tape_memory memory_;
    std::map<int, std::shared_ptr<const network_embedding<B>>> embeddings_; // shared: a guide is copied
};

} // namespace repaint

#ifndef REPAINT_COMPILED
#include <repaint/diffusion/class_guidance.ipp>
#endif
