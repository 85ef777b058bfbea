#pragma once

#include <memory>
#include <utility>

#include <repaint/ops.hpp>

namespace repaint {

/// RePaint's condition: what is known replaces x, noised to the level of x (Lugmayr et al. 2022, eq. 8a and 8c).
template <diffusion_backend B> class known_region {
public:
    /// known: (1 or n, c, h, w) in [-1, 1]; keep: 1 = known, 0 = fill, soft values blend, (1 or n, 1 or c, h, w).
    known_region(tensor_of<B> known, tensor_of<B> keep)
        : known_(std::make_shared<const tensor_of<B>>(std::move(known))),
          keep_(std::make_shared<const tensor_of<B>>(std::move(keep))) {}

    /// Tensors that somebody else keeps as well.
    known_region(std::shared_ptr<const tensor_of<B>> known, std::shared_ptr<const tensor_of<B>> keep)
        : known_(std::move(known)), keep_(std::move(keep)) {}

    /// Draws once. marginal: the signal and noise of x's level.
    template <draws_noise<B> N> void operator()(B& b, tensor_of<B>& x, mixing marginal, N& noise) const {
        const auto z = noise(b, x.shape());
        impose(b, x, marginal, z);
    }

    /// Imposes the known region with the noise z, (n, c, h, w).
    void impose(B& b, tensor_of<B>& x, mixing marginal, const tensor_of<B>& z) const {
        ops::merge(b, x, *known_, *keep_, z, marginal);
    }

private:
    std::shared_ptr<const tensor_of<B>> known_; // shared with copies: tensors have none
    std::shared_ptr<const tensor_of<B>> keep_;
};

/// Nothing is known: plain sampling with the same loop.
struct unconditional {
    template <diffusion_backend B, draws_noise<B> N> void operator()(B&, tensor_of<B>&, mixing, N&) const {}
};

} // namespace repaint
