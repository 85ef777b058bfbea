#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <utility>

#include <repaint/concepts.hpp>
#include <repaint/core/arena.hpp>

/// Layout: none. Precision: none; bytes are counted for elements of a given size. Threads and streams: none. Memory: an
/// arena of offsets without storage. Bad at: pictures, it computes nothing.
namespace repaint {

/// Runs a network or a sampler without computing: predicts peak bytes and multiply-adds, and shows the contract in
/// full.
class dry_backend {
public:
    class tensor {
    public:
        [[nodiscard]] const shape4& shape() const { return shape_; }

    private:
        friend class dry_backend;

        struct block {
            std::shared_ptr<arena> memory;
            std::size_t offset = 0;
            std::size_t bytes = 0;

            block(std::shared_ptr<arena> from, std::size_t size)
                : memory(std::move(from)), offset(memory->allocate(size)), bytes(size) {}
            block(block&& other) noexcept = default;
            block& operator=(block&& other) noexcept {
                std::swap(memory, other.memory);
                std::swap(offset, other.offset);
                std::swap(bytes, other.bytes);
                return *this;
            }
            ~block() {
                if (memory) {
                    memory->release(offset, bytes);
                }
            }
        };

        tensor(shape4 shape, block storage) : shape_(shape), storage_(std::move(storage)) {}

        shape4 shape_;
        block storage_;
    };

    class conv2d_weights {
    public:
        explicit conv2d_weights(shape4 shape) : shape_(shape) {}
        [[nodiscard]] const shape4& shape() const { return shape_; }

    private:
        shape4 shape_;
    };

    class norm_weights {
    public:
        explicit norm_weights(int channels) : channels_(channels) {}
        [[nodiscard]] int channels() const { return channels_; }

    private:
        int channels_;
    };

    /// Counts activations of `activation_bytes` and weights of `weight_bytes` per element.
    explicit dry_backend(std::size_t activation_bytes = 4, std::size_t weight_bytes = 4)
        : activation_bytes_(activation_bytes), weight_bytes_(weight_bytes) {}

    /// The most bytes of tensors that were alive at once.
    [[nodiscard]] std::size_t peak_bytes() const { return memory_->peak(); }
    /// Bytes of all packed weights.
    [[nodiscard]] std::size_t packed_bytes() const { return packed_bytes_; }
    /// Multiply-adds of convolutions, linear layers and attention so far, and of their vector-Jacobian products.
    [[nodiscard]] std::uint64_t multiply_adds() const { return multiply_adds_; }

    [[nodiscard]] tensor allocate(shape4 shape) {
        return {shape, tensor::block(memory_, shape.size() * activation_bytes_)};
    }
    [[nodiscard]] tensor upload(const host_tensor& host) { return allocate(host.shape()); }
    /// Zeros.
    [[nodiscard]] host_tensor download(const tensor& x) { return host_tensor(x.shape()); }
    void synchronize() {}

    [[nodiscard]] conv2d_weights pack_conv2d(const host_weights& weights, const host_weights& bias) {
        packed_bytes_ += (weights.shape.size() + bias.shape.size()) * weight_bytes_;
        return conv2d_weights(weights.shape);
    }
    [[nodiscard]] norm_weights pack_norm(const host_weights& gamma, const host_weights& beta) {
        packed_bytes_ += (gamma.shape.size() + beta.shape.size()) * weight_bytes_;
        return norm_weights(gamma.shape.n);
    }

    void conv2d(const tensor&, const conv2d_weights& w, const tensor*, const conv2d_options&, tensor& y) {
        count_conv2d(y, w.shape());
    }
    void group_norm(const tensor&, const norm_weights&, const tensor*, const group_norm_options&, tensor&) {}
    void attention(const tensor&, int, tensor& y) { count_attention(2, y); }
    [[nodiscard]] tensor resize(const tensor& x, resampling mode) {
        const shape4 s = x.shape();
        return mode == resampling::nearest_up ? allocate({s.n, s.c, 2 * s.h, 2 * s.w})
                                              : allocate({s.n, s.c, s.h / 2, s.w / 2});
    }
    [[nodiscard]] tensor concat(tensor first, tensor second) {
        const shape4 s = first.shape();
        return allocate({s.n, s.c + second.shape().c, s.h, s.w});
    }

    [[nodiscard]] tensor mean(const tensor& x) { return allocate({x.shape().n, x.shape().c, 1, 1}); }
    [[nodiscard]] tensor prepend_mean(const tensor& x) {
        const shape4 s = x.shape();
        return allocate({s.n, s.c, 1, 1 + s.h * s.w});
    }

    void conv2d_vjp(const tensor& dy, const conv2d_weights& w, const conv2d_options&, tensor&) {
        count_conv2d(dy, w.shape());
    }
    void activation_vjp(const tensor&, activation, const tensor&, tensor&) {}
    void group_norm_vjp(const tensor&, const norm_weights&, const tensor*, const group_norm_options&, const tensor&,
                        tensor&) {}
    /// The scores once more, then what goes back to weights, values, queries and keys.
    void attention_vjp(const tensor&, int, const tensor& dy, tensor&) { count_attention(5, dy); }
    [[nodiscard]] tensor resize_vjp(const tensor& dy, resampling mode) {
        return resize(dy, mode == resampling::nearest_up ? resampling::average_down : resampling::nearest_up);
    }
    [[nodiscard]] std::pair<tensor, tensor> split(const tensor& x, int channels) {
        const shape4 s = x.shape();
        return {allocate({s.n, channels, s.h, s.w}), allocate({s.n, s.c - channels, s.h, s.w})};
    }
    void mean_vjp(const tensor&, tensor&) {}
    void prepend_mean_vjp(const tensor&, tensor&) {}
    void accumulate(tensor&, const tensor&) {}
    [[nodiscard]] tensor duplicate(const tensor& x) { return allocate(x.shape()); }

    void normal(std::span<const std::uint64_t>, std::uint64_t, tensor&) {}
    void reverse_step(tensor&, const tensor&, const tensor&, const posterior&, tensor*, const tensor*) {}
    void forward_step(tensor&, const tensor&, mixing) {}
    void merge(tensor&, const tensor&, const tensor&, const tensor&, mixing) {}

protected:
    /// A convolution or its transpose: y is the result or its cotangent, k the shape of the weights.
    void count_conv2d(const tensor& y, const shape4& k) {
        multiply_adds_ += static_cast<std::uint64_t>(y.shape().size()) * static_cast<std::uint64_t>(k.c) * k.plane();
    }

private:
    /// Products of tokens x tokens x channels.
    void count_attention(std::uint64_t products, const tensor& y) {
        multiply_adds_ += products * static_cast<std::uint64_t>(y.shape().size()) * y.shape().plane();
    }

    std::size_t activation_bytes_;
    std::size_t weight_bytes_;
    std::size_t packed_bytes_ = 0;
    std::uint64_t multiply_adds_ = 0;
    std::shared_ptr<arena> memory_ = std::make_shared<arena>();
};

static_assert(tensor_backend<dry_backend> && differentiable_backend<dry_backend>);

} // namespace repaint
