#pragma once

#if !defined(__CUDACC__) && !defined(REPAINT_CUDA_ON_HOST)
#error "repaint/backend/cuda.hpp has CUDA kernels: include it from a .cu file (or set the file's LANGUAGE to CUDA)"
#else

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include <repaint/backend/cuda/attention_direct.cuh>
#include <repaint/backend/cuda/conv2d_direct.cuh>
#include <repaint/backend/cuda/device.cuh>
#include <repaint/backend/cuda/diffusion.cuh>
#include <repaint/backend/cuda/elementwise.cuh>
#include <repaint/backend/cuda/group_norm.cuh>
#include <repaint/backend/cuda/group_norm_vjp.cuh>
#include <repaint/backend/cuda/image_conv2d.cuh>
#include <repaint/backend/cuda/layout.cuh>
#include <repaint/backend/cuda/linear.cuh>
#include <repaint/backend/cuda/mean.cuh>
#include <repaint/backend/cuda/memory.cuh>
#include <repaint/backend/cuda/pack.cuh>
#include <repaint/backend/cuda/resize.cuh>
#include <repaint/backend/cuda/storage.cuh>
#include <repaint/concepts.hpp>

/// Layout: the channels of a pixel together (NHWC) in T; images, vectors and whatever has fewer than 8 channels float32
/// NCHW. Precision: sums, statistics and softmax float32 whatever T is. One stream, in order; the object is for one
/// thread at a time. Memory: an arena; weights once. Bad at: the CPU's work of enqueueing for tiny networks.
namespace repaint {

/// Which device cuda_backend uses.
struct cuda_options {
    int device = 0; ///< as CUDA counts them
};

/// The backend for NVIDIA GPUs. T: what activations and weights are kept in, float, __half or __nv_bfloat16.
template <class T> class basic_cuda_backend {
    using storage = detail::cuda::storage;
    using arrangement = detail::cuda::arrangement;
    using block = std::shared_ptr<detail::cuda::memory_block>;

public:
    class norm_weights {
    public:
        [[nodiscard]] int channels() const { return channels_; }

    private:
        friend class basic_cuda_backend;
        norm_weights(int channels, block gamma, block beta)
            : channels_(channels), gamma_(std::move(gamma)), beta_(std::move(beta)) {}
        int channels_;
        block gamma_;
        block beta_;
    };

    class conv2d_weights {
    public:
        [[nodiscard]] const shape4& shape() const { return shape_; }

    private:
        friend class basic_cuda_backend;
        conv2d_weights(shape4 shape, block bias) : shape_(shape), bias_(std::move(bias)) {}
        [[nodiscard]] const float* bias() const { return bias_ ? bias_->template as<float>() : nullptr; }
        shape4 shape_;
        block bias_;           ///< null: none
        block elements_;       ///< OHWI in T; null when `floats_` is there
        block floats_;         ///< OHWI in float, of convolutions from or to images
        mutable block folded_; ///< of 3x3 kernels that met pixels which stand for two by two
    };

    class tensor {
    public:
        tensor(tensor&&) noexcept = default;
        tensor& operator=(tensor&&) noexcept = default;
        ~tensor() = default;

        [[nodiscard]] const shape4& shape() const { return values_.shape; }

    private:
        friend class basic_cuda_backend;
        explicit tensor(storage values) : values_(std::move(values)) {}

        /// A normalisation that is done when somebody reads the result: who halves it takes it over.
        struct normalisation {
            storage x;
            norm_weights weights;
            std::optional<storage> scale_shift;
            group_norm_options options;
        };

        // Who reads a tensor may bring it into the arrangement that is read.
        mutable storage values_;
        mutable std::optional<normalisation> pending_;
    };

    /// Throws device_error when there is no such device, or it cannot be used, saying why.
    explicit basic_cuda_backend(const cuda_options& options = {})
        : device_(options.device),
          memory_(std::make_shared<detail::cuda::memory_pool>("the activations", std::size_t{64} << 20U)),
          weights_(std::make_shared<detail::cuda::memory_pool>("the weights", std::size_t{64} << 20U)) {}

    /// Bytes of activations and scratch that were ever needed at once.
    [[nodiscard]] std::size_t peak_bytes() const { return memory_->peak(); }

    /// Takes memory for activations from the device now instead of when it is needed. Throws device_error saying what
    /// is needed and what is free.
    void reserve(std::size_t bytes) { memory_->reserve(bytes); }

    [[nodiscard]] tensor allocate(shape4 s) { return tensor(storage{s, arrangement::none, false, {}}); }

    [[nodiscard]] tensor upload(const host_tensor& host) {
        tensor x = allocate(host.shape());
        to_device(host.data(), host.size() * sizeof(float), write_planar(x));
        return x;
    }

    [[nodiscard]] host_tensor download(const tensor& x) {
        host_tensor host(x.shape());
        const float* from = planar(x);
        detail::cuda::check(
            cudaMemcpyAsync(host.data(), from, host.size() * sizeof(float), cudaMemcpyDeviceToHost, device_.stream()),
            "download");
        synchronize();
        return host;
    }

    void synchronize() const { detail::cuda::check(cudaStreamSynchronize(device_.stream()), "waiting for the device"); }

    [[nodiscard]] conv2d_weights pack_conv2d(const host_weights& weights, const host_weights& bias) {
        conv2d_weights w(weights.shape, bias.values ? floats_of(bias) : nullptr);
        if (weights.shape.c < least_channels || weights.shape.n < least_channels) {
            w.floats_ = kept(detail::cuda::pack_ohwi<float>(weights));
        } else {
            w.elements_ = kept(detail::cuda::pack_ohwi<T>(weights));
        }
        return w;
    }

    [[nodiscard]] norm_weights pack_norm(const host_weights& gamma, const host_weights& beta) {
        return {static_cast<int>(gamma.shape.size()), floats_of(gamma), floats_of(beta)};
    }

    void conv2d(const tensor& x, const conv2d_weights& w, const tensor* residual, const conv2d_options& options,
                tensor& y) {
        using namespace detail::cuda;
        const shape4 s = x.shape();
        const shape4 k = w.shape();
        const bool pointwise = k.h == 1 && k.w == 1 && options.padding == 0 && options.stride == 1;
        if (s.plane() == 1 && pointwise) {
            const float* added = residual == nullptr ? nullptr : planar(*residual);
            const bool per_vector = residual != nullptr && residual->shape().n == s.n;
            const float* from = planar(x);
            float* to = write_planar(y);
            with_weights(w, [&](const auto* elements) {
                linear(from, s.n, s.c, elements, k.n, w.bias(), added, per_vector, options.then, to, stream());
            });
            return;
        }
        if (s.c < least_channels && k.n >= least_channels && takes_image_conv2d(s.c, k, options)) {
            const auto added = residual_in<arrangement::channels_last>(residual, y.shape());
            const float* from = planar(x);
            conv2d_from_image(from, s, w.floats_->template as<float>(), k, w.bias(), added, options,
                              write_channels_last(y), stream());
            return;
        }
        if (s.c >= least_channels && k.n < least_channels && takes_image_conv2d(k.n, k, options)) {
            const auto added = residual_in<arrangement::planar>(residual, y.shape());
            const auto from = parts(x);
            conv2d_to_image(packed_part(x, from), s, w.floats_->template as<float>(), k, w.bias(), added, options,
                            write_planar(y), stream());
            return;
        }
        const auto added = residual_in<arrangement::channels_last>(residual, y.shape());
        if (doubled(x) && k.h == 3 && k.w == 3 && options.padding == 1 && options.stride == 1 && w.elements_) {
            const auto from = stored_parts(x);
            conv2d_doubled(from.first, from.second, x.values_.stored(), folded(w), k.n, w.bias(), added, options.then,
                           write_channels_last(y), stream());
            return;
        }
        const auto from = parts(x);
        T* to = write_channels_last(y);
        with_weights(w, [&](const auto* elements) {
            conv2d_direct(from.first, from.second, s, elements, k, w.bias(), added, options, to, stream());
        });
    }

    void group_norm(const tensor& x, const norm_weights& w, const tensor* scale_shift,
                    const group_norm_options& options, tensor& y) {
        (void)parts(x);
        measure(x.values_); // kept with x, for whoever normalises it next
        std::optional<storage> factors;
        if (scale_shift != nullptr) {
            (void)planar(*scale_shift);
            factors = scale_shift->values_;
        }
        y.values_ = storage{y.shape(), arrangement::none, false, {}};
        y.pending_.emplace(typename tensor::normalisation{x.values_, w, std::move(factors), options});
    }

    void attention(const tensor& qkv, int heads, tensor& y) {
        const shape4 s = y.shape();
        const T* from = packed(qkv);
        detail::cuda::attention_direct(from, {s.n, static_cast<int>(s.plane()), heads, s.c / heads},
                                       write_channels_last(y), stream());
    }

    [[nodiscard]] tensor resize(const tensor& x, resampling mode) {
        const shape4 s = x.shape();
        if (mode == resampling::nearest_up) {
            tensor y = allocate({s.n, s.c, 2 * s.h, 2 * s.w});
            if (settle(x).order == arrangement::planar) {
                const float* from = planar(x);
                detail::cuda::nearest_up_planar(from, s, write_planar(y), stream());
                return y;
            }
            // Nothing is written: a convolution that follows reads the small one.
            (void)parts(x);
            const shape4 twice = y.shape();
            y.values_ = x.values_;
            y.values_.shape = twice;
            y.values_.doubled = true;
            return y;
        }
        tensor y = allocate({s.n, s.c, s.h / 2, s.w / 2});
        if (x.pending_) {
            normalise(*x.pending_, true, y.values_);
            return y;
        }
        if (settle(x).order == arrangement::planar) {
            const float* from = planar(x);
            detail::cuda::average_down_planar(from, s, write_planar(y), stream());
            return y;
        }
        const T* from = packed(x);
        detail::cuda::average_down(from, s, write_channels_last(y), stream());
        return y;
    }

    /// No copy but where one of them is planar.
    [[nodiscard]] tensor concat(tensor first, tensor second) {
        const shape4 s = first.shape();
        tensor y = allocate({s.n, s.c + second.shape().c, s.h, s.w});
        if (settle(first).order == arrangement::planar && settle(second).order == arrangement::planar) {
            const std::size_t of_first = s.size() / static_cast<std::size_t>(s.n);
            const std::size_t of_second = second.shape().size() / static_cast<std::size_t>(s.n);
            const float* from[] = {planar(first), planar(second)};
            float* to = write_planar(y);
            for (int n = 0; n < s.n; ++n) {
                copy(to, from[0] + static_cast<std::size_t>(n) * of_first, of_first);
                copy(to + of_first, from[1] + static_cast<std::size_t>(n) * of_second, of_second);
                to += of_first + of_second;
            }
            return y;
        }
        (void)parts(first);
        (void)parts(second);
        y.values_.order = arrangement::channels_last;
        for (const tensor* each : {&first, &second}) {
            y.values_.pieces.insert(y.values_.pieces.end(), each->values_.pieces.begin(), each->values_.pieces.end());
        }
        return y;
    }

    [[nodiscard]] tensor mean(const tensor& x) {
        const shape4 s = x.shape();
        tensor y = allocate({s.n, s.c, 1, 1});
        const auto from = detail::cuda::part<T>(packed_part(x));
        detail::cuda::mean(from, s.n, static_cast<int>(s.plane()), write_planar(y), stream());
        return y;
    }

    [[nodiscard]] tensor prepend_mean(const tensor& x) {
        const shape4 s = x.shape();
        tensor y = allocate({s.n, s.c, 1, 1 + s.h * s.w});
        const auto from = packed_part(x);
        detail::cuda::prepend_mean(from, s.n, static_cast<int>(s.plane()), write_channels_last(y), stream());
        return y;
    }

    void conv2d_vjp(const tensor& dy, const conv2d_weights& w, const conv2d_options& options, tensor& dx) {
        using namespace detail::cuda;
        const shape4 s = dx.shape();
        const shape4 k = w.shape();
        const bool pointwise = k.h == 1 && k.w == 1 && options.padding == 0 && options.stride == 1;
        if (s.plane() == 1 && pointwise) {
            const float* from = planar(dy);
            float* to = write_planar(dx);
            with_weights(w, [&](const auto* elements) { linear_vjp(from, s.n, k.n, elements, k.c, to, stream()); });
            return;
        }
        if (s.c < least_channels && k.n >= least_channels && takes_image_conv2d(s.c, k, options)) {
            const auto from = packed_part(dy);
            conv2d_from_image_vjp(from, w.floats_->template as<float>(), k, options, write_planar(dx), s, stream());
            return;
        }
        if (s.c >= least_channels && k.n < least_channels && takes_image_conv2d(k.n, k, options)) {
            const float* from = planar(dy);
            conv2d_to_image_vjp(from, w.floats_->template as<float>(), k, options, write_channels_last(dx), s,
                                stream());
            return;
        }
        const auto from = packed_part(dy);
        T* to = write_channels_last(dx);
        with_weights(w, [&](const auto* elements) {
            conv2d_direct_vjp(from, dy.shape(), elements, k, options, to, s, stream());
        });
    }

    void activation_vjp(const tensor& x, activation f, const tensor& dy, tensor& dx) {
        if (settle(x).order == arrangement::planar) {
            const float* from = planar(x);
            const float* cotangent = planar(dy);
            detail::cuda::activation_vjp(from, f, cotangent, x.shape().size(), write_planar(dx), stream());
            return;
        }
        const T* from = packed(x);
        const T* cotangent = packed(dy);
        detail::cuda::activation_vjp(from, f, cotangent, x.shape().size(), write_channels_last(dx), stream());
    }

    void group_norm_vjp(const tensor& x, const norm_weights& w, const tensor* scale_shift,
                        const group_norm_options& options, const tensor& dy, tensor& dx) {
        const shape4 s = x.shape();
        const int pixels = static_cast<int>(s.plane());
        if (parts(x).second.channels > 0) {
            (void)packed(x);
        }
        measure(x.values_);
        const auto cotangent = packed_part(dy);
        const float* factors = scale_shift == nullptr ? nullptr : planar(*scale_shift);
        const auto sums = scratch_floats(detail::cuda::group_norm_vjp_scratch(s.n, pixels, s.c, options.groups));
        detail::cuda::group_norm_vjp(measured(x.values_, 0), cotangent, s.n, pixels,
                                     modulation(w, factors, factors != nullptr && scale_shift->shape().n > 1), options,
                                     sums->template as<float>(), write_channels_last(dx), stream());
    }

    void attention_vjp(const tensor& qkv, int heads, const tensor& dy, tensor& dqkv) {
        const shape4 s = dy.shape();
        const detail::cuda::attention_shape shape{s.n, static_cast<int>(s.plane()), heads, s.c / heads};
        const T* from = packed(qkv);
        const T* cotangent = packed(dy);
        const auto scratch = scratch_floats(detail::cuda::attention_direct_vjp_floats(shape));
        detail::cuda::attention_direct_vjp(from, cotangent, shape, scratch->template as<float>(),
                                           write_channels_last(dqkv), stream());
    }

    [[nodiscard]] tensor resize_vjp(const tensor& dy, resampling mode) {
        const shape4 s = dy.shape();
        const bool smaller = mode == resampling::nearest_up;
        tensor dx = allocate(smaller ? shape4{s.n, s.c, s.h / 2, s.w / 2} : shape4{s.n, s.c, 2 * s.h, 2 * s.w});
        if (settle(dy).order == arrangement::planar) {
            const float* from = planar(dy);
            float* to = write_planar(dx);
            smaller ? detail::cuda::nearest_up_vjp_planar(from, s, to, stream())
                    : detail::cuda::average_down_vjp_planar(from, s, to, stream());
            return dx;
        }
        const T* from = packed(dy);
        T* to = write_channels_last(dx);
        smaller ? detail::cuda::nearest_up_vjp(from, s, to, stream())
                : detail::cuda::average_down_vjp(from, s, to, stream());
        return dx;
    }

    /// No copy of channels_last tensors.
    [[nodiscard]] std::pair<tensor, tensor> split(const tensor& x, int channels) {
        const shape4 s = x.shape();
        std::pair<tensor, tensor> both{allocate({s.n, channels, s.h, s.w}), allocate({s.n, s.c - channels, s.h, s.w})};
        if (settle(x).order == arrangement::planar) {
            const float* from = planar(x);
            float* first = write_planar(both.first);
            float* second = write_planar(both.second);
            detail::cuda::split(from, static_cast<std::size_t>(s.n), s.size() / static_cast<std::size_t>(s.n),
                                both.first.shape().size() / static_cast<std::size_t>(s.n), first, second, stream());
            return both;
        }
        (void)packed(x);
        detail::cuda::piece whole = x.values_.pieces.front();
        whole.moments = nullptr;
        for (tensor* each : {&both.first, &both.second}) {
            each->values_.order = arrangement::channels_last;
            whole.channels = each->shape().c;
            each->values_.pieces = {whole};
            whole.first += static_cast<std::size_t>(whole.channels);
        }
        return both;
    }

    void mean_vjp(const tensor& dy, tensor& dx) {
        const shape4 s = dx.shape();
        const float* from = planar(dy);
        detail::cuda::mean_vjp(from, s.c, s.n, static_cast<int>(s.plane()), write_channels_last(dx), stream());
    }

    void prepend_mean_vjp(const tensor& dy, tensor& dx) {
        const shape4 s = dx.shape();
        const auto from = packed_part(dy);
        detail::cuda::prepend_mean_vjp(from, s.n, static_cast<int>(s.plane()), write_channels_last(dx), stream());
    }

    void accumulate(tensor& sum, const tensor& x) {
        if (settle(sum).order == arrangement::planar) {
            const float* more = planar(x);
            detail::cuda::accumulate(owned_planar(sum), more, sum.shape().size(), stream());
            return;
        }
        const T* more = packed(x);
        detail::cuda::accumulate(owned_channels_last(sum), more, sum.shape().size(), stream());
    }

    /// No copy: whoever writes to one of the two first takes memory of its own.
    [[nodiscard]] tensor duplicate(const tensor& x) {
        (void)settle(x);
        return tensor(x.values_);
    }

    void normal(std::span<const std::uint64_t> seeds, std::uint64_t draw, tensor& y) {
        const std::uint64_t* on_device = seeds_on_device(seeds);
        const shape4 s = y.shape();
        detail::cuda::normal(on_device, draw, s.n, s.size() / static_cast<std::size_t>(s.n), write_planar(y), stream());
    }

    void reverse_step(tensor& x, const tensor& prediction, const tensor& z, const posterior& p, tensor* x0,
                      const tensor* guidance) {
        const shape4 s = x.shape();
        const auto images = static_cast<std::size_t>(s.n);
        const float* mean = planar(prediction);
        const float* noise = planar(z);
        const float* gradient = guidance == nullptr ? nullptr : planar(*guidance);
        float* shown = x0 == nullptr ? nullptr : write_planar(*x0);
        detail::cuda::reverse_step(owned_planar(x), mean, prediction.shape().size() / images, noise, p, shown, gradient,
                                   s.n, s.size() / images, stream());
    }

    void forward_step(tensor& x, const tensor& z, mixing m) {
        const shape4 s = x.shape();
        const float* noise = planar(z);
        detail::cuda::forward_step(owned_planar(x), noise, m, s.n, s.size() / static_cast<std::size_t>(s.n), stream());
    }

    void merge(tensor& x, const tensor& known, const tensor& keep, const tensor& z, mixing m) {
        const detail::cuda::known_region region{planar(known), known.shape().n, planar(keep), keep.shape().n,
                                                keep.shape().c};
        const float* noise = planar(z);
        detail::cuda::merge(owned_planar(x), x.shape(), region, noise, m, stream());
    }

private:
    /// Fewer channels than that lie planar, in float32.
    static constexpr int least_channels = 8;

    [[nodiscard]] cudaStream_t stream() const { return device_.stream(); }
    [[nodiscard]] block scratch(std::size_t bytes) const {
        return std::make_shared<detail::cuda::memory_block>(memory_, bytes);
    }
    [[nodiscard]] block scratch_floats(std::size_t count) const { return scratch(count * sizeof(float)); }

    // ---- copies ------------------------------------------------------------------------------------------------------

    void to_device(const void* from, std::size_t bytes, void* to) const {
        detail::cuda::check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyHostToDevice, stream()), "upload");
    }
    void copy(float* to, const float* from, std::size_t count) const {
        detail::cuda::check(cudaMemcpyAsync(to, from, count * sizeof(float), cudaMemcpyDeviceToDevice, stream()),
                            "copy");
    }

    /// Of the model: it stays as long as somebody holds it.
    template <class E> [[nodiscard]] block kept(const std::vector<E>& values) const {
        auto memory = std::make_shared<detail::cuda::memory_block>(weights_, values.size() * sizeof(E));
        to_device(values.data(), values.size() * sizeof(E), memory->template as<E>());
        synchronize(); // before the values go
        return memory;
    }
    [[nodiscard]] block floats_of(const host_weights& w) {
        return kept(std::vector<float>(w.values.get(), w.values.get() + w.shape.size()));
    }

    /// Of a run, the seeds are the same at every draw.
    const std::uint64_t* seeds_on_device(std::span<const std::uint64_t> seeds) {
        if (!seeds_ || !std::equal(seeds.begin(), seeds.end(), host_seeds_.begin(), host_seeds_.end())) {
            host_seeds_.assign(seeds.begin(), seeds.end());
            seeds_ = kept(host_seeds_);
        }
        return seeds_->template as<std::uint64_t>();
    }

    // ---- arrangements ------------------------------------------------------------------------------------------------

    /// A new home for a tensor that is about to be written; what it held goes.
    float* write_planar(tensor& y) const {
        y.pending_.reset();
        y.values_ = planar_storage(y.shape());
        return y.values_.planar();
    }
    T* write_channels_last(tensor& y) const {
        y.pending_.reset();
        y.values_ = channels_last_storage(y.shape());
        return y.values_.template elements<T>();
    }
    [[nodiscard]] storage planar_storage(const shape4& s) const {
        return {s, arrangement::planar, false, {{scratch_floats(s.size()), 0, s.c, 1, nullptr}}};
    }
    [[nodiscard]] storage channels_last_storage(const shape4& s) const {
        return {s, arrangement::channels_last, false, {{scratch(s.size() * sizeof(T)), 0, s.c, s.c, nullptr}}};
    }

    /// Does what is pending. Content that nobody wrote gets memory all the same.
    storage& settle(const tensor& x) const {
        if (x.pending_) {
            normalise(*x.pending_, false, x.values_);
            x.pending_.reset();
        }
        if (x.values_.order == arrangement::none) {
            x.values_ = planar_storage(x.shape());
        }
        return x.values_;
    }

    [[nodiscard]] static bool doubled(const tensor& x) { return !x.pending_ && x.values_.doubled; }

    /// Makes doubled pixels real.
    storage& spread(const tensor& x) const {
        storage& s = settle(x);
        if (s.doubled) {
            storage small = s;
            small.shape = s.stored();
            small.doubled = false;
            make_packed(small);
            storage large = channels_last_storage(s.shape);
            detail::cuda::nearest_up(small.template elements<T>(), small.shape, large.template elements<T>(), stream());
            s = std::move(large);
        }
        return s;
    }

    /// One piece without gaps, at least of this storage.
    void make_packed(storage& s) const {
        if (s.packed()) {
            return;
        }
        make_two(s);
        storage joined = channels_last_storage(s.shape);
        detail::cuda::join(s.template part_of<T>(0), s.template part_of<T>(1),
                           static_cast<std::size_t>(s.shape.n) * s.shape.plane(), joined.template elements<T>(),
                           stream());
        s = std::move(joined);
    }

    /// At most two pieces, which is what kernels read.
    void make_two(storage& s) const {
        while (s.pieces.size() > 2) {
            const int channels = s.pieces[0].channels + s.pieces[1].channels;
            storage front{{s.shape.n, channels, s.shape.h, s.shape.w},
                          arrangement::channels_last,
                          false,
                          {s.pieces[0], s.pieces[1]}};
            make_packed(front);
            s.pieces.erase(s.pieces.begin());
            s.pieces.front() = front.pieces.front();
        }
    }

    struct two_parts {
        detail::cuda::part<T> first;
        detail::cuda::part<T> second;
    };

    /// The tensor channels_last, in at most two parts.
    two_parts parts(const tensor& x) const {
        storage& s = spread(x);
        if (s.order == arrangement::planar) {
            storage other = channels_last_storage(s.shape);
            detail::cuda::to_channels_last(s.planar(), s.shape.n, s.shape.c, static_cast<int>(s.shape.plane()),
                                           other.template elements<T>(), stream());
            s = std::move(other);
        }
        make_two(s);
        return {s.template part_of<T>(0), s.template part_of<T>(1)};
    }

    /// Of doubled pixels, the small ones.
    two_parts stored_parts(const tensor& x) const {
        make_two(x.values_);
        return {x.values_.template part_of<T>(0), x.values_.template part_of<T>(1)};
    }

    const T* packed(const tensor& x) const {
        (void)parts(x);
        make_packed(x.values_);
        return x.values_.template elements<T>();
    }

    /// One part, which may have gaps between its pixels.
    detail::cuda::part<T> packed_part(const tensor& x) const { return packed_part(x, parts(x)); }
    detail::cuda::part<T> packed_part(const tensor& x, const two_parts& from) const {
        return from.second.channels == 0 ? from.first : detail::cuda::part<T>{packed(x), x.shape().c, x.shape().c};
    }

    /// The tensor planar. Images stay so, whatever they meet.
    const float* planar(const tensor& x) const {
        storage& s = spread(x);
        if (s.order == arrangement::channels_last) {
            make_two(s);
            storage other = planar_storage(s.shape);
            detail::cuda::to_planar(s.template part_of<T>(0), s.template part_of<T>(1), s.shape.n,
                                    static_cast<int>(s.shape.plane()), other.planar(), stream());
            s = std::move(other);
        }
        return s.planar();
    }

    /// The same, to be written: nobody else holds it.
    float* owned_planar(tensor& x) {
        (void)planar(x);
        if (!x.values_.owned()) {
            storage own = planar_storage(x.shape());
            copy(own.planar(), x.values_.planar(), x.shape().size());
            x.values_ = std::move(own);
        }
        return x.values_.planar();
    }
    T* owned_channels_last(tensor& x) {
        (void)packed(x);
        if (!x.values_.owned()) {
            storage own = channels_last_storage(x.shape());
            detail::cuda::check(cudaMemcpyAsync(own.template elements<T>(), x.values_.template elements<T>(),
                                                x.shape().size() * sizeof(T), cudaMemcpyDeviceToDevice, stream()),
                                "copy");
            x.values_ = std::move(own);
        }
        x.values_.pieces.front().moments = nullptr;
        return x.values_.template elements<T>();
    }

    // ---- convolutions ------------------------------------------------------------------------------------------------

    template <class F> void with_weights(const conv2d_weights& w, F&& f) const {
        if (w.elements_) {
            f(static_cast<const T*>(w.elements_->template as<T>()));
        } else {
            f(static_cast<const float*>(w.floats_->template as<float>()));
        }
    }

    /// What a convolution adds to a result of shape y, which is in that arrangement.
    template <arrangement A> [[nodiscard]] auto residual_in(const tensor* residual, const shape4& y) const {
        using element = std::conditional_t<A == arrangement::planar, float, T>;
        detail::cuda::conv2d_residual<element> added;
        if (residual == nullptr) {
            return added;
        }
        if (residual->shape() != y || y.plane() == 1) {
            added.vector = planar(*residual);
            added.vector_per_image = residual->shape().n > 1;
        } else if constexpr (A == arrangement::planar) {
            added.pixels = planar(*residual);
        } else {
            added.pixels = packed(*residual);
        }
        return added;
    }

    // ---- normalisation -----------------------------------------------------------------------------------------------

    /// Makes sure that every piece has its moments.
    void measure(storage& s) const {
        const int pixels = static_cast<int>(s.shape.plane());
        for (std::size_t i = 0; i < s.pieces.size(); ++i) {
            auto& piece = s.pieces[i];
            if (piece.moments) {
                continue;
            }
            const auto count = static_cast<std::size_t>(s.shape.n) * static_cast<std::size_t>(piece.channels);
            piece.moments = scratch(count * sizeof(detail::cuda::channel_moments));
            const auto partial =
                scratch_floats(detail::cuda::channel_statistics_scratch(s.shape.n, pixels, piece.channels));
            detail::cuda::channel_statistics(s.template part_of<T>(i), s.shape.n, pixels, partial->template as<float>(),
                                             piece.moments->template as<detail::cuda::channel_moments>(), stream());
        }
    }

    [[nodiscard]] static detail::cuda::measured_part<T> measured(const storage& s, std::size_t i) {
        return {s.template part_of<T>(i),
                i < s.pieces.size() ? s.pieces[i].moments->template as<detail::cuda::channel_moments>() : nullptr};
    }

    [[nodiscard]] static detail::cuda::modulation modulation(const norm_weights& w, const float* scale_shift,
                                                             bool per_image) {
        return {w.gamma_->template as<float>(), w.beta_->template as<float>(), scale_shift,
                per_image ? 2 * static_cast<std::ptrdiff_t>(w.channels()) : 0};
    }

    void normalise(const typename tensor::normalisation& what, bool average_down, storage& y) const {
        const shape4 s = what.x.shape;
        y = channels_last_storage(average_down ? shape4{s.n, s.c, s.h / 2, s.w / 2} : s);
        const float* factors = what.scale_shift ? what.scale_shift->planar() : nullptr;
        const auto m = modulation(what.weights, factors, factors != nullptr && what.scale_shift->shape.n > 1);
        detail::cuda::normalise(measured(what.x, 0), measured(what.x, 1), s.n, s.h, s.w, m, what.options, average_down,
                                y.template elements<T>(), stream());
    }

    /// The weights of four convolutions that do on pixels what w does on twice as many rows and columns of them.
    const T* folded(const conv2d_weights& w) const {
        if (!w.folded_) {
            const shape4 k = w.shape();
            std::vector<T> elements(k.size());
            detail::cuda::check(cudaMemcpyAsync(elements.data(), w.elements_->template as<T>(), k.size() * sizeof(T),
                                                cudaMemcpyDeviceToHost, stream()),
                                "reading weights back");
            detail::cuda::check(cudaStreamSynchronize(stream()), "reading weights back");
            const auto values = std::make_shared<std::vector<float>>(k.size());
            const auto in = static_cast<std::size_t>(k.c);
            for (std::size_t i = 0; i < k.size(); ++i) { // OHWI to OIHW
                const std::size_t tap = i / in % k.plane();
                (*values)[(i / (in * k.plane()) * in + i % in) * k.plane() + tap] =
                    detail::cuda::host_float(elements[i]);
            }
            w.folded_ =
                kept(detail::cuda::fold_doubled_weights<T>({k, std::shared_ptr<const float>(values, values->data())}));
        }
        return w.folded_->template as<T>();
    }

    basic_cuda_backend(const basic_cuda_backend&) = delete;

    detail::cuda::device device_;
    std::shared_ptr<detail::cuda::memory_pool> memory_;
    std::shared_ptr<detail::cuda::memory_pool> weights_;
    std::vector<std::uint64_t> host_seeds_;
    block seeds_;
};

} // namespace repaint

#endif
