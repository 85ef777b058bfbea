#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <utility>

#include <repaint/backend/cpu/instruction_set.hpp>
#include <repaint/backend/cpu/layout.hpp>
#include <repaint/backend/cpu/packed_conv2d.hpp>
#include <repaint/backend/cpu/packed_norm.hpp>
#include <repaint/backend/cpu/probe.hpp>
#include <repaint/concepts.hpp>
#include <repaint/config.hpp>

/// Layout: blocks of sixteen channels, planar below that (cpu/layout.hpp). Precision: float32; 3x3 convolutions by
/// Winograd's method where that is cheaper, or direct ones only (cpu_options::strict). Threads: a pool of its own; the
/// object is for one thread at a time, results do not depend on the number. Memory: an arena; weights once. Bad at:
/// fewer than 16 channels.
namespace repaint {

namespace detail::cpu {
struct normalisation;
} // namespace detail::cpu

/// How cpu_backend computes.
struct cpu_options {
    int threads = 0; ///< 0: the cores this process may use
    /// Direct convolutions only: the rounding of a plain sum, at a half to a third of the speed.
    bool strict = false;
    /// The widest that this CPU supports, unless told.
    std::optional<instruction_set> instructions = std::nullopt;
    /// Told of every primitive, and there as long as the backend: cpu/profile.hpp has one that measures.
    cpu_probe* probe = nullptr;
};

/// The fast backend for CPUs: own kernels, chosen at run time for AVX-512, AVX2 or neither.
class cpu_backend {
public:
    class tensor {
    public:
        [[nodiscard]] const shape4& shape() const { return values_.shape; }

    private:
        friend class cpu_backend;
        explicit tensor(detail::cpu::storage values);
        detail::cpu::storage values_;
    };

    class conv2d_weights {
    public:
        [[nodiscard]] const shape4& shape() const { return packed_.shape; }

    private:
        friend class cpu_backend;
        explicit conv2d_weights(detail::cpu::packed_conv2d packed);
        detail::cpu::packed_conv2d packed_;
    };

    class norm_weights {
    public:
        [[nodiscard]] int channels() const { return static_cast<int>(packed_.gamma.size()); }

    private:
        friend class cpu_backend;
        explicit norm_weights(detail::cpu::packed_norm packed);
        detail::cpu::packed_norm packed_;
    };

    /// Throws std::invalid_argument when the number of threads is negative or the CPU lacks the instructions asked for.
    explicit cpu_backend(const cpu_options& options = {});
    cpu_backend(cpu_backend&& other) noexcept;
    cpu_backend& operator=(cpu_backend&& other) noexcept;
    ~cpu_backend();

    [[nodiscard]] int threads() const;
    [[nodiscard]] instruction_set instructions() const { return instructions_; }
    [[nodiscard]] bool strict() const { return strict_; }
    /// Bytes of activations and scratch that were ever needed at once, holes between them included.
    [[nodiscard]] std::size_t peak_bytes() const;

    [[nodiscard]] tensor allocate(shape4 s);
    /// A tensor over s.size() contiguous floats in NCHW order that belong to the caller, and must outlive the tensor.
    /// Nothing is copied: a primitive that takes the tensor reads these floats, and a primitive that changes it writes
    /// to them. Fit for images in and out; the network's own tensors are in another layout, and every primitive on a
    /// view of 16 channels or more rearranges them on the way. Throws std::invalid_argument when `values` is null and s
    /// is not empty, shape_error when an extent is negative.
    [[nodiscard]] tensor view(float* values, shape4 s);
    [[nodiscard]] tensor upload(const host_tensor& host);
    [[nodiscard]] host_tensor download(const tensor& x);
    void synchronize() {}

    [[nodiscard]] conv2d_weights pack_conv2d(const host_weights& weights, const host_weights& bias);
    [[nodiscard]] norm_weights pack_norm(const host_weights& gamma, const host_weights& beta);

    void conv2d(const tensor& x, const conv2d_weights& w, const tensor* residual, const conv2d_options& options,
                tensor& y);
    void group_norm(const tensor& x, const norm_weights& w, const tensor* scale_shift,
                    const group_norm_options& options, tensor& y);
    void attention(const tensor& qkv, int heads, tensor& y);
    [[nodiscard]] tensor resize(const tensor& x, resampling mode);
    /// No copy where the first tensor's channels fill whole blocks.
    [[nodiscard]] tensor concat(tensor first, tensor second);
    [[nodiscard]] tensor mean(const tensor& x);
    [[nodiscard]] tensor prepend_mean(const tensor& x);

    void conv2d_vjp(const tensor& dy, const conv2d_weights& w, const conv2d_options& options, tensor& dx);
    void activation_vjp(const tensor& x, activation f, const tensor& dy, tensor& dx);
    void group_norm_vjp(const tensor& x, const norm_weights& w, const tensor* scale_shift,
                        const group_norm_options& options, const tensor& dy, tensor& dx);
    void attention_vjp(const tensor& qkv, int heads, const tensor& dy, tensor& dqkv);
    [[nodiscard]] tensor resize_vjp(const tensor& dy, resampling mode);
    /// No copy where the first channels fill whole blocks.
    [[nodiscard]] std::pair<tensor, tensor> split(const tensor& x, int channels);
    void mean_vjp(const tensor& dy, tensor& dx);
    void prepend_mean_vjp(const tensor& dy, tensor& dx);
    void accumulate(tensor& sum, const tensor& x);
    /// No copy, except of a view: of two tensors with the same memory, the one that is written to first takes memory of
    /// its own.
    [[nodiscard]] tensor duplicate(const tensor& x);

    void normal(std::span<const std::uint64_t> seeds, std::uint64_t draw, tensor& y);
    void reverse_step(tensor& x, const tensor& prediction, const tensor& z, const posterior& p, tensor* x0,
                      const tensor* guidance);
    void forward_step(tensor& x, const tensor& z, mixing m);
    void merge(tensor& x, const tensor& known, const tensor& keep, const tensor& z, mixing m);

private:
    using storage = detail::cpu::storage;

    [[nodiscard]] detail::cpu::context context(const cpu_call& call = {}) const;
    [[nodiscard]] static detail::cpu::normalisation normalisation(const storage& x, const norm_weights& w,
                                                                  const tensor* scale_shift,
                                                                  const group_norm_options& options);
    /// Each pixel of x times a factor to 2x2, or the sum of 2x2 times the factor.
    [[nodiscard]] tensor resized(const tensor& x, bool up, float factor);

    instruction_set instructions_;
    bool strict_;
    cpu_probe* probe_;
    std::unique_ptr<detail::cpu::thread_pool> pool_;
    std::shared_ptr<detail::cpu::memory_pool> memory_;
};

static_assert(tensor_backend<cpu_backend>);
static_assert(differentiable_backend<cpu_backend>);

} // namespace repaint

#ifndef REPAINT_COMPILED
#include <repaint/backend/cpu.ipp>
#elif defined(REPAINT_FACADE)
#include <repaint/backend/cpu/instantiations.hpp>
#endif

/// Tells repaint.hpp, where that comes later, that instantiations for cpu_backend are wanted.
#define REPAINT_CPU_BACKEND
