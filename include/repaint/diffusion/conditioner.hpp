#pragma once

#include <utility>

#include <repaint/ops.hpp>

namespace repaint {

/// RePaint's condition: what is known replaces x, noised to the level of x (Lugmayr et al. 2022, eq. 8a and 8c).
template <diffusion_backend B> class known_region {
public:
    /// known: (1 or n, c, h, w) in [-1, 1]; keep: 1 = known, 0 = fill, soft values blend, (1 or n, 1 or c, h, w).
    known_region(tensor_of<B> known, tensor_of<B> keep) : known_(std::move(known)), keep_(std::move(keep)) {}

    /// Draws once. marginal: the signal and noise of x's level.
    template <noise_source<B> N> void operator()(B& b, tensor_of<B>& x, mixing marginal, N& noise) const {
        const auto z = noise(b, x.shape());
        impose(b, x, marginal, z);
    }

    /// The same with the noise z, (n, c, h, w).
    void impose(B& b, tensor_of<B>& x, mixing marginal, const tensor_of<B>& z) const {
        ops::merge(b, x, known_, keep_, z, marginal);
    }

private:
    tensor_of<B> known_;
    tensor_of<B> keep_;
};

/// Nothing is known: plain sampling with the same loop.
struct unconditional {
    template <diffusion_backend B, noise_source<B> N> void operator()(B&, tensor_of<B>&, mixing, N&) const {}
};

} // namespace repaint
