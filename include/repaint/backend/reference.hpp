#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include <repaint/backend/reference/diffusion.hpp>
#include <repaint/backend/reference/gradients.hpp>
#include <repaint/backend/reference/network.hpp>
#include <repaint/backend/reference/xtensor.hpp>
#include <repaint/concepts.hpp>

/// Layout: NCHW, as PyTorch's. Precision: float32 or float64, sums in double. Threads: those of the BLAS behind xtensor-blas
/// (OpenBLAS's stall when something else uses the cores: OPENBLAS_NUM_THREADS=1 is the safe choice); the object has no
/// state, one per thread is still the rule. Memory: one xtensor per tensor, freed at once; weights stay where the
/// checkpoint is mapped. Bad at: speed; it is the oracle.
namespace repaint {

/// The readable backend that all others are measured against. T, float or double, is what tensors hold; weights are
/// float32 always, and so is the arithmetic of the diffusion primitives.
template <class T> class basic_reference_backend {
    using array = detail::reference::array4<T>;

public:
    class tensor {
    public:
        explicit tensor(array values) : values_(std::move(values)) {}
        tensor(tensor&&) = default;
        tensor& operator=(tensor&&) = default;

        [[nodiscard]] shape4 shape() const {
            const auto& s = values_.shape();
            return {static_cast<int>(s[0]), static_cast<int>(s[1]), static_cast<int>(s[2]), static_cast<int>(s[3])};
        }

    private:
        friend basic_reference_backend;
        array values_;
    };

    class conv2d_weights {
    public:
        [[nodiscard]] const shape4& shape() const { return weights_.shape; }

    private:
        friend basic_reference_backend;
        host_weights weights_;
        host_weights bias_;
    };

    class norm_weights {
    public:
        [[nodiscard]] int channels() const { return static_cast<int>(gamma_.size()); }

    private:
        friend basic_reference_backend;
        std::vector<float> gamma_;
        std::vector<float> beta_;
    };

    [[nodiscard]] tensor allocate(shape4 s) { return tensor(array(extents(s))); }

    [[nodiscard]] tensor upload(const host_tensor& host) {
        tensor x = allocate(host.shape());
        std::copy(host.values().begin(), host.values().end(), x.values_.data());
        return x;
    }

    /// Rounded to float32.
    [[nodiscard]] host_tensor download(const tensor& x) {
        host_tensor host(x.shape());
        std::transform(x.values_.begin(), x.values_.end(), host.data(),
                       [](T value) { return static_cast<float>(value); });
        return host;
    }

    void synchronize() {}

    /// The values of a tensor in NCHW order, in full precision.
    [[nodiscard]] static std::span<const T> values(const tensor& x) { return {x.values_.data(), x.values_.size()}; }
    [[nodiscard]] static std::span<T> values(tensor& x) { return {x.values_.data(), x.values_.size()}; }

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

    [[nodiscard]] tensor mean(const tensor& x) { return tensor(detail::reference::mean(x.values_)); }

    [[nodiscard]] tensor prepend_mean(const tensor& x) { return tensor(detail::reference::prepend_mean(x.values_)); }

    void conv2d_vjp(const tensor& dy, const conv2d_weights& w, const conv2d_options& options, tensor& dx) {
        detail::reference::conv2d_vjp(dy.values_, w.weights_, options, dx.values_);
    }

    void activation_vjp(const tensor& x, activation f, const tensor& dy, tensor& dx) {
        detail::reference::activation_vjp(x.values_, f, dy.values_, dx.values_);
    }

    void group_norm_vjp(const tensor& x, const norm_weights& w, const tensor* scale_shift,
                        const group_norm_options& options, const tensor& dy, tensor& dx) {
        detail::reference::group_norm_vjp(x.values_, w.gamma_, w.beta_, values_or_null(scale_shift), options,
                                          dy.values_, dx.values_);
    }

    void attention_vjp(const tensor& qkv, int heads, const tensor& dy, tensor& dqkv) {
        detail::reference::attention_vjp(qkv.values_, heads, dy.values_, dqkv.values_);
    }

    [[nodiscard]] tensor resize_vjp(const tensor& dy, resampling mode) {
        return tensor(mode == resampling::nearest_up ? detail::reference::sum_down(dy.values_)
                                                     : detail::reference::share_up(dy.values_));
    }

    [[nodiscard]] std::pair<tensor, tensor> split(const tensor& x, int channels) {
        auto [first, rest] = detail::reference::split(x.values_, static_cast<std::size_t>(channels));
        return {tensor(std::move(first)), tensor(std::move(rest))};
    }

    void mean_vjp(const tensor& dy, tensor& dx) { detail::reference::mean_vjp(dy.values_, dx.values_); }

    void prepend_mean_vjp(const tensor& dy, tensor& dx) { detail::reference::prepend_mean_vjp(dy.values_, dx.values_); }

    void accumulate(tensor& sum, const tensor& x) { sum.values_ += x.values_; }

    [[nodiscard]] tensor duplicate(const tensor& x) { return tensor(x.values_); }

    void normal(std::span<const std::uint64_t> seeds, std::uint64_t draw, tensor& y) {
        detail::reference::normal(seeds, draw, y.values_);
    }

    void reverse_step(tensor& x, const tensor& prediction, const tensor& z, const posterior& p, tensor* x0,
                      const tensor* guidance) {
        detail::reference::reverse_step(x.values_, prediction.values_, z.values_, p,
                                        x0 == nullptr ? nullptr : &x0->values_, values_or_null(guidance));
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

    static const array* values_or_null(const tensor* x) { return x == nullptr ? nullptr : &x->values_; }
};

using reference_backend = basic_reference_backend<float>;

static_assert(tensor_backend<reference_backend> && differentiable_backend<reference_backend>);
static_assert(tensor_backend<basic_reference_backend<double>> &&
              differentiable_backend<basic_reference_backend<double>>);

} // namespace repaint
