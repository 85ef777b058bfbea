#pragma once

#include <repaint/backend/dry.hpp>
#include <repaint/concepts.hpp>

namespace repaint {

/// Runs a network whose weights B has packed, without computing: what dry_backend is for a network that has yet to be
/// made.
template <network_backend B> class dry_run : public dry_backend {
public:
    using conv2d_weights = conv2d_weights_of<B>;
    using norm_weights = norm_weights_of<B>;

    /// Counts activations of `activation_bytes` per element. The backend must outlive it.
    dry_run(B& b, std::size_t activation_bytes) : dry_backend(activation_bytes), backend_(&b) {}

    [[nodiscard]] conv2d_weights pack_conv2d(const host_weights& weights, const host_weights& bias) {
        return backend_->pack_conv2d(weights, bias);
    }
    [[nodiscard]] norm_weights pack_norm(const host_weights& gamma, const host_weights& beta) {
        return backend_->pack_norm(gamma, beta);
    }

    void conv2d(const tensor&, const conv2d_weights& w, const tensor*, const conv2d_options&, tensor& y) {
        count_conv2d(y, w.shape());
    }
    void group_norm(const tensor&, const norm_weights&, const tensor*, const group_norm_options&, tensor&) {}

private:
    B* backend_;
};

} // namespace repaint
