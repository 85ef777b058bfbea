#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include <repaint/backend/reference/diffusion.hpp>
#include <repaint/backend/reference/network.hpp>
#include <repaint/backend/reference/xtensor.hpp>
#include <repaint/concepts.hpp>

/// Layout: NCHW, as PyTorch's. Precision: float32, sums in double. Threads: those of the BLAS behind xtensor-blas
/// (OpenBLAS's stall when something else uses the cores: OPENBLAS_NUM_THREADS=1 is the safe choice); the object has no
/// state, one per thread is still the rule. Memory: one xtensor per tensor, freed at once; weights stay where the
/// checkpoint is mapped. Bad at: speed; it is the oracle.
namespace repaint {

/// The readable backend that all others are measured against.
class reference_backend {
public:
    class tensor {
    public:
        explicit tensor(detail::reference::array4 values) : values_(std::move(values)) {}
        tensor(tensor&&) = default;
        tensor& operator=(tensor&&) = default;

        [[nodiscard]] shape4 shape() const {
            const auto& s = values_.shape();
            return {static_cast<int>(s[0]), static_cast<int>(s[1]), static_cast<int>(s[2]), static_cast<int>(s[3])};
        }

    private:
        friend class reference_backend;
        detail::reference::array4 values_;
    };

    class conv2d_weights {
    public:
        [[nodiscard]] const shape4& shape() const { return weights_.shape; }

    private:
        friend class reference_backend;
        host_weights weights_;
        host_weights bias_;
    };

    class norm_weights {
    public:
        [[nodiscard]] int channels() const { return static_cast<int>(gamma_.size()); }

    private:
        friend class reference_backend;
        std::vector<float> gamma_;
        std::vector<float> beta_;
    };

    [[nodiscard]] tensor allocate(shape4 s) { return tensor(detail::reference::array4(extents(s))); }

    [[nodiscard]] tensor upload(const host_tensor& host) {
        tensor x = allocate(host.shape());
        std::copy(host.values().begin(), host.values().end(), x.values_.data());
        return x;
    }

    [[nodiscard]] host_tensor download(const tensor& x) {
        return {x.shape(), std::vector<float>(x.values_.begin(), x.values_.end())};
    }

    void synchronize() {}

    [[nodiscard]] conv2d_weights pack_conv2d(const host_weights& weights, const host_weights& bias) {
        conv2d_weights packed;
        packed.weights_ = weights;
        packed.bias_ = bias;
        return packed;
    }

    [[nodiscard]] norm_weights pack_norm(const host_weights& gamma, const host_weights& beta) {
        norm_weights packed;
        packed.gamma_.assign(gamma.values.get(), gamma.values.get() + gamma.shape.size());
        packed.beta_.assign(beta.values.get(), beta.values.get() + beta.shape.size());
        return packed;
    }

    void conv2d(const tensor& x, const conv2d_weights& w, const tensor* residual, const conv2d_options& options,
                tensor& y) {
        detail::reference::conv2d(x.values_, w.weights_, w.bias_.values.get(), values_or_null(residual), options,
                                  y.values_);
    }

    void group_norm(const tensor& x, const norm_weights& w, const tensor* scale_shift,
                    const group_norm_options& options, tensor& y) {
        detail::reference::group_norm(x.values_, w.gamma_, w.beta_, values_or_null(scale_shift), options, y.values_);
    }

    void attention(const tensor& qkv, int heads, tensor& y) {
        detail::reference::attention(qkv.values_, heads, y.values_);
    }

    [[nodiscard]] tensor resize(const tensor& x, resampling mode) {
        return tensor(mode == resampling::nearest_up ? detail::reference::nearest_up(x.values_)
                                                     : detail::reference::average_down(x.values_));
    }

    [[nodiscard]] tensor concat(tensor first, tensor second) {
        return tensor(detail::reference::concat(first.values_, second.values_));
    }

    void normal(std::span<const std::uint64_t> seeds, std::uint64_t draw, tensor& y) {
        detail::reference::normal(seeds, draw, y.values_);
    }

    void reverse_step(tensor& x, const tensor& prediction, const tensor& z, const posterior& p, tensor* x0) {
        detail::reference::reverse_step(x.values_, prediction.values_, z.values_, p,
                                        x0 == nullptr ? nullptr : &x0->values_);
    }

    void forward_step(tensor& x, const tensor& z, mixing m) {
        detail::reference::forward_step(x.values_, z.values_, m);
    }

    void merge(tensor& x, const tensor& known, const tensor& keep, const tensor& z, mixing m) {
        detail::reference::merge(x.values_, known.values_, keep.values_, z.values_, m);
    }

private:
    static std::array<std::size_t, 4> extents(const shape4& s) {
        return {static_cast<std::size_t>(s.n), static_cast<std::size_t>(s.c), static_cast<std::size_t>(s.h),
                static_cast<std::size_t>(s.w)};
    }

    static const detail::reference::array4* values_or_null(const tensor* x) {
        return x == nullptr ? nullptr : &x->values_;
    }
};

static_assert(tensor_backend<reference_backend>);

} // namespace repaint
