#pragma once

#if !defined(__CUDACC__) && !defined(REPAINT_CUDA_ON_HOST)
#error "repaint/backend/cuda.hpp has CUDA kernels: include it from a .cu file (or set the file's LANGUAGE to CUDA)"
#else

#include <algorithm>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include <repaint/backend/cuda/attention_direct.cuh>
#include <repaint/backend/cuda/conv2d_direct.cuh>
#include <repaint/backend/cuda/device.cuh>
#include <repaint/backend/cuda/diffusion.cuh>
#include <repaint/backend/cuda/elementwise.cuh>
#include <repaint/backend/cuda/epilogue.cuh>
#include <repaint/backend/cuda/fold_doubled.cuh>
#include <repaint/backend/cuda/graph.cuh>
#include <repaint/backend/cuda/group_norm.cuh>
#include <repaint/backend/cuda/group_norm_resident.cuh>
#include <repaint/backend/cuda/group_norm_vjp.cuh>
#include <repaint/backend/cuda/image_conv2d.cuh>
#include <repaint/backend/cuda/layout.cuh>
#include <repaint/backend/cuda/libraries.cuh>
#include <repaint/backend/cuda/linear.cuh>
#include <repaint/backend/cuda/mean.cuh>
#include <repaint/backend/cuda/memory.cuh>
#include <repaint/backend/cuda/options.hpp>
#include <repaint/backend/cuda/pack.cuh>
#include <repaint/backend/cuda/resize.cuh>
#include <repaint/backend/cuda/storage.cuh>
#include <repaint/concepts.hpp>

/// Layout: the channels of a pixel together (NHWC) in T; images, vectors and whatever has fewer than 8 channels float32
/// NCHW. Precision: sums, statistics and softmax float32 whatever T is. Convolutions by cuDNN, 1x1 ones by cuBLASLt,
/// attention by cuDNN, the rest, and what they have no engine for, by kernels of our own. One stream, in order; the
/// object is for one thread at a time. Memory: arenas; weights once. Bad at: the host's work of enqueueing tiny networks
/// that are not replayed (unet_denoiser does).
namespace repaint {

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
        block bias_elements_;  ///< in T, zeros when there is none: for the libraries; there when elements_ is
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

        /// Noise that is drawn when somebody reads it: who adds it to an image draws it on the way.
        struct drawing {
            block seeds;
            std::uint64_t draw;
        };

        // Who reads a tensor may bring it into the arrangement that is read.
        mutable storage values_;
        mutable std::optional<normalisation> pending_;
        mutable std::optional<drawing> drawn_;
    };

    /// A network that is run again and again on images of one shape, with constants that go with a key (the embedding
    /// of a timestep): what it enqueues is recorded at the second run as a CUDA graph, which is what runs from then on.
    /// It belongs to the backend object that it is first used with.
    class replay {
    public:
        /// Copies the constants of a key: planar tensors whose shapes are the same for all keys.
        void keep(basic_cuda_backend& b, int key, const std::vector<tensor>& constants) {
            if (layout_.empty()) {
                for (const tensor& each : constants) {
                    layout_.push_back({each.shape(), floats_});
                    floats_ += (each.shape().size() + 3) / 4 * 4; // each on a border of sixteen bytes
                }
            }
            const block row = b.scratch_floats(floats_);
            for (std::size_t i = 0; i < constants.size(); ++i) {
                b.copy(row->template as<float>() + layout_[i].first, b.planar(constants[i]),
                       constants[i].shape().size());
            }
            rows_.insert_or_assign(key, row);
        }

        /// evaluate(x, constants of the key), which is called at most twice for a shape of x: it must enqueue the same
        /// work for every key and every x of that shape. Throws device_error.
        template <class F>
        [[nodiscard]] tensor operator()(basic_cuda_backend& b, const tensor& x, int key, F&& evaluate) {
            const block& row = rows_.at(key);
            if (!b.graphs_ || !recordable_) {
                return evaluate(x, constants(row));
            }
            if (!input_ || input_->shape() != x.shape()) {
                *this = replay(std::move(layout_), floats_, std::move(rows_));
                input_.emplace(b.planar_tensor(x.shape()));
                current_ = b.scratch_floats(floats_);
            }
            b.copy(input_->values_.planar(), b.planar(x), x.shape().size());
            b.copy(current_->template as<float>(), rows_.at(key)->template as<float>(), floats_);
            enqueue(b, evaluate);
            tensor y = b.planar_tensor(output_->shape());
            b.copy(y.values_.planar(), output_->values_.planar(), y.shape().size());
            if (!work_) {
                output_.reset(); // of the first run, in memory that the next will use
            }
            return y;
        }

        replay() = default;

    private:
        struct constant {
            shape4 shape;
            std::size_t first;
        };

        replay(std::vector<constant> layout, std::size_t floats, std::map<int, block> rows)
            : layout_(std::move(layout)), floats_(floats), rows_(std::move(rows)) {}

        [[nodiscard]] std::vector<tensor> constants(const block& row) const {
            std::vector<tensor> tensors;
            for (const constant& each : layout_) {
                tensors.push_back(tensor(
                    storage{each.shape, arrangement::planar, false, {{row, each.first, each.shape.c, 1, nullptr}}}));
            }
            return tensors;
        }

        /// Leaves the result in output_.
        template <class F> void enqueue(basic_cuda_backend& b, F& evaluate) {
            // What lies in the memory of graphs is overwritten whenever one of them runs: nothing else may lie there.
            const other_memory of_graphs(b);
            const auto once = [&] {
                output_.emplace(evaluate(tensor(input_->values_), constants(current_)));
                (void)b.planar(*output_);
            };
            if (!work_ && warm_) {
                try {
                    work_ = detail::cuda::recorded_work::of(b.stream(), once);
                } catch (const device_error& reason) {
                    recordable_ = false; // something on the way cannot be recorded: kernel by kernel, then
                    b.not_recorded_ = reason.what();
                    output_.reset();
                }
            }
            if (work_) {
                work_.enqueue(b.stream());
            } else {
                once();
                warm_ = true;
            }
        }

        std::vector<constant> layout_;
        std::size_t floats_ = 0;
        std::map<int, block> rows_;
        std::optional<tensor> input_;
        block current_;
        std::optional<tensor> output_;
        detail::cuda::recorded_work work_;
        bool warm_ = false; ///< kernels are loaded and plans chosen, which cannot be recorded
        bool recordable_ = true;
    };

    /// True: functions return when their work is enqueued, not when it is done.
    static constexpr bool enqueues = true;
    /// Of an activation.
    static constexpr std::size_t element_bytes = sizeof(T);

    /// Throws device_error when there is no such device, or it or a library cannot be used, saying why;
    /// std::invalid_argument when options do not go with T.
    explicit basic_cuda_backend(const cuda_options& options = {})
        : device_(options.device), graphs_(options.graphs), memory_(pool("the images and what is computed of them")),
          graph_memory_(pool("the activations")), weights_(pool("the weights")) {
        if (options.tf32 && !std::is_same_v<T, float>) {
            throw std::invalid_argument("tf32 is a precision of float, not of half or bfloat16");
        }
        if (options.libraries) {
            libraries_.emplace(device_, options);
        }
        const cudaDeviceProp& p = device_.properties();
        if (p.cooperativeLaunch != 0) {
            residency_ = {p.multiProcessorCount, p.sharedMemPerMultiprocessor, p.sharedMemPerBlockOptin,
                          p.reservedSharedMemPerBlock};
            const std::vector<detail::cuda::grid_barrier> closed(2 * static_cast<std::size_t>(p.multiProcessorCount));
            barriers_ = kept(closed);
        }
    }

    ~basic_cuda_backend() {
        (void)cudaSetDevice(device_.index());
        (void)cudaStreamSynchronize(device_.stream()); // what runs uses what goes now
    }

    [[nodiscard]] std::string device_name() const { return device_.name(); }

    /// Bytes of activations, images and scratch that were ever needed at once.
    [[nodiscard]] std::size_t peak_bytes() const { return memory_->peak() + graph_memory_->peak(); }
    /// Bytes of weights.
    [[nodiscard]] std::size_t weight_bytes() const { return weights_->peak(); }

    /// Takes memory for the activations of a network that is replayed from the device now instead of when it is needed.
    /// Throws device_error saying what is needed and what is free.
    void reserve(std::size_t bytes) { (graphs_ ? graph_memory_ : memory_)->reserve(bytes); }

    /// Why a network was not recorded as a CUDA graph, and runs kernel by kernel; empty when none was not.
    [[nodiscard]] const std::string& not_recorded() const { return not_recorded_; }

    /// Writes the chosen plans to their file, as the end of this object does, which keeps silent when that fails. Throws
    /// repaint::error naming the path and the system's reason.
    void save_plans() {
        if (libraries_) {
            libraries_->save();
        }
    }

    /// Why the file of plans was not used; empty when it was, or when there is none.
    [[nodiscard]] std::string plans_ignored() const { return libraries_ ? libraries_->ignored() : std::string(); }

    [[nodiscard]] static tensor allocate(shape4 s) { return tensor(storage{s, arrangement::none, false, {}}); }

    [[nodiscard]] tensor upload(const host_tensor& host) {
        tensor x = allocate(host.shape());
        to_device(host.data(), host.size() * sizeof(float), write_planar(x));
        return x;
    }

    [[nodiscard]] host_tensor download(const tensor& x) {
        host_tensor host(x.shape());
        const float* from = planar(x);
        detail::cuda::check(
            cudaMemcpyAsync(host.data(), from, host.size() * sizeof(float), cudaMemcpyDeviceToHost, stream()),
            "download");
        synchronize();
        return host;
    }

    void synchronize() const { detail::cuda::check(cudaStreamSynchronize(stream()), "waiting for the device"); }

    [[nodiscard]] conv2d_weights pack_conv2d(const host_weights& weights, const host_weights& bias) {
        conv2d_weights w(weights.shape, bias.values ? floats_of(bias) : nullptr);
        if (weights.shape.c < least_channels || weights.shape.n < least_channels) {
            w.floats_ = kept(detail::cuda::pack_ohwi<float>(weights));
        } else {
            w.elements_ = kept(detail::cuda::pack_ohwi<T>(weights));
            const std::vector<float> none(bias.values ? 0 : static_cast<std::size_t>(weights.shape.n));
            w.bias_elements_ = kept(detail::cuda::pack_vector<T>(
                bias.values ? std::span<const float>(bias.values.get(), bias.shape.size()) : std::span(none)));
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
        if (w.elements_ && libraries_ && conv2d_by_library(x, w, added, options, y)) {
            return;
        }
        if (doubled(x) && folds(w, options)) {
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
        for (auto& piece : x.values_.pieces) { // what is found out stays with x, for whoever normalises it next
            if (!piece.moments) {
                piece.moments = std::make_shared<detail::cuda::piece_moments>();
            }
        }
        std::optional<storage> factors;
        if (scale_shift != nullptr) {
            (void)planar(*scale_shift);
            factors = scale_shift->values_;
        }
        y = allocate(y.shape());
        y.pending_.emplace(typename tensor::normalisation{x.values_, w, std::move(factors), options});
    }

    void attention(const tensor& qkv, int heads, tensor& y) {
        const shape4 s = y.shape();
        const detail::cuda::attention_shape shape{s.n, static_cast<int>(s.plane()), heads, s.c / heads};
        const T* from = packed(qkv);
        T* to = write_channels_last(y);
        if (!libraries_ || !libraries_->attention(from, shape, to, scratch_maker())) {
            detail::cuda::attention_direct(from, shape, to, stream());
        }
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
            const std::size_t of_first = detail::cuda::image_elements(s);
            const std::size_t of_second = detail::cuda::image_elements(second.shape());
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
        if (w.elements_ && libraries_ &&
            libraries_->conv2d_vjp(from, dy.shape(), w.elements_->template as<T>(), k, options, to, s,
                                   scratch_maker())) {
            return;
        }
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
            detail::cuda::split(from, static_cast<std::size_t>(s.n), detail::cuda::image_elements(s),
                                detail::cuda::image_elements(both.first.shape()), first, second, stream());
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
        y = allocate(y.shape());
        y.drawn_.emplace(typename tensor::drawing{seeds_on_device(seeds), draw});
    }

    void reverse_step(tensor& x, const tensor& prediction, const tensor& z, const posterior& p, tensor* x0,
                      const tensor* guidance) {
        const shape4 s = x.shape();
        const float* mean = planar(prediction);
        const float* gradient = guidance == nullptr ? nullptr : planar(*guidance);
        float* shown = x0 == nullptr ? nullptr : write_planar(*x0);
        float* to = owned_planar(x);
        const std::size_t predicted = detail::cuda::image_elements(prediction.shape());
        const std::size_t size = detail::cuda::image_elements(s);
        with_noise(
            z,
            [&](const std::uint64_t* seeds, std::uint64_t draw) {
                detail::cuda::reverse_step_with_draw(to, mean, predicted, seeds, draw, p, shown, gradient, s.n, size,
                                                     stream());
            },
            [&](const float* noise) {
                detail::cuda::reverse_step(to, mean, predicted, noise, p, shown, gradient, s.n, size, stream());
            });
    }

    void forward_step(tensor& x, const tensor& z, mixing m) {
        const shape4 s = x.shape();
        const std::size_t size = detail::cuda::image_elements(s);
        float* to = owned_planar(x);
        with_noise(
            z,
            [&](const std::uint64_t* seeds, std::uint64_t draw) {
                detail::cuda::forward_step_with_draw(to, seeds, draw, m, s.n, size, stream());
            },
            [&](const float* noise) { detail::cuda::forward_step(to, noise, m, s.n, size, stream()); });
    }

    void merge(tensor& x, const tensor& known, const tensor& keep, const tensor& z, mixing m) {
        const detail::cuda::known_region region{planar(known), known.shape().n, planar(keep), keep.shape().n,
                                                keep.shape().c};
        float* to = owned_planar(x);
        with_noise(
            z,
            [&](const std::uint64_t* seeds, std::uint64_t draw) {
                detail::cuda::merge_with_draw(to, x.shape(), region, seeds, draw, m, stream());
            },
            [&](const float* noise) { detail::cuda::merge(to, x.shape(), region, noise, m, stream()); });
    }

private:
    /// Fewer channels than that lie planar, in float32.
    static constexpr int least_channels = 8;

    /// While one of these lives, new tensors and scratch lie in the memory of graphs.
    class other_memory {
    public:
        explicit other_memory(basic_cuda_backend& b) : backend_(&b) { std::swap(b.memory_, b.graph_memory_); }
        other_memory(const other_memory&) = delete;
        other_memory& operator=(const other_memory&) = delete;
        ~other_memory() { std::swap(backend_->memory_, backend_->graph_memory_); }

    private:
        basic_cuda_backend* backend_;
    };

    /// What a normalisation in one launch is planned for: whatever the number of images.
    struct resident_problem {
        int h;
        int w;
        int channels;
        int groups;
        bool vectors;
        bool average_down;

        auto operator<=>(const resident_problem&) const = default;
    };

    [[nodiscard]] std::shared_ptr<detail::cuda::memory_pool> pool(const char* what) const {
        constexpr std::size_t step = std::size_t{16} << 20U;
        return std::make_shared<detail::cuda::memory_pool>(what, step, device_.index());
    }

    [[nodiscard]] cudaStream_t stream() const {
        device_.use();
        return device_.stream();
    }
    [[nodiscard]] auto scratch_maker() const {
        return [this](std::size_t bytes) { return scratch(bytes); };
    }
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
    const block& seeds_on_device(std::span<const std::uint64_t> seeds) {
        if (!seeds_ || !std::equal(seeds.begin(), seeds.end(), host_seeds_.begin(), host_seeds_.end())) {
            host_seeds_.assign(seeds.begin(), seeds.end());
            seeds_ = kept(host_seeds_);
        }
        return seeds_;
    }

    /// Calls drawn(seeds, draw) when z is noise that nobody has read, else given(elements).
    template <class Drawn, class Given> void with_noise(const tensor& z, Drawn&& drawn, Given&& given) const {
        if (z.drawn_) {
            drawn(z.drawn_->seeds->template as<std::uint64_t>(), z.drawn_->draw);
        } else {
            given(planar(z));
        }
    }

    // ---- arrangements ------------------------------------------------------------------------------------------------

    /// A new home for a tensor that is about to be written; what it held goes.
    float* write_planar(tensor& y) const {
        y = allocate(y.shape()); // its memory may do, and is gone when there is no other
        y.values_ = planar_storage(y.shape());
        return y.values_.planar();
    }
    T* write_channels_last(tensor& y) const {
        y = allocate(y.shape()); // its memory may do, and is gone when there is no other
        y.values_ = channels_last_storage(y.shape());
        return y.values_.template elements<T>();
    }
    [[nodiscard]] tensor planar_tensor(const shape4& s) const { return tensor(planar_storage(s)); }
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
            if (x.drawn_) {
                const shape4 s = x.shape();
                detail::cuda::normal(x.drawn_->seeds->template as<std::uint64_t>(), x.drawn_->draw, s.n,
                                     detail::cuda::image_elements(s), x.values_.planar(), stream());
                x.drawn_.reset();
            }
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

    /// Whether the weights can be folded for pixels that stand for two by two.
    [[nodiscard]] static bool folds(const conv2d_weights& w, const conv2d_options& options) {
        return w.shape().h == 3 && w.shape().w == 3 && options.padding == 1 && options.stride == 1 && w.elements_;
    }

    /// False when the libraries have no engine for it; nothing is done then.
    bool conv2d_by_library(const tensor& x, const conv2d_weights& w, const detail::cuda::conv2d_residual<T>& added,
                           const conv2d_options& options, tensor& y) {
        const shape4 s = y.shape();
        const T* bias = w.bias_elements_->template as<T>();
        block summed;
        if (added.vector != nullptr && !added.vector_per_image) {
            summed = scratch(static_cast<std::size_t>(s.c) * sizeof(T));
            detail::cuda::summed_bias(w.bias(), added.vector, s.c, summed->template as<T>(), stream());
            bias = summed->template as<T>();
        }
        T* to = nullptr; // memory for y is taken when x has got what it needs
        bool done = false;
        if (doubled(x) && folds(w, options) && added.pixels == nullptr) {
            make_packed(x.values_);
            to = write_channels_last(y);
            done = libraries_->conv2d_doubled(x.values_.template part_of<T>(0), x.values_.stored(), folded(w), s.c,
                                              bias, to, scratch_maker());
        } else {
            auto from = parts(x);
            if (w.shape().plane() > 1 && from.second.channels > 0) {
                from = {packed_part(x), {nullptr, 0, 0}};
            }
            to = write_channels_last(y);
            done = libraries_->conv2d(from.first, from.second, x.shape(), w.elements_->template as<T>(), w.shape(),
                                      bias, added.pixels, options, to, scratch_maker());
        }
        const float* later = added.vector != nullptr && added.vector_per_image ? added.vector : nullptr;
        if (done && (later != nullptr || options.then != activation::none)) {
            detail::cuda::finish_conv2d(to, s.n, static_cast<int>(s.plane()), s.c, later, options.then, stream());
        }
        return done;
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
            if (is_measured(piece)) {
                continue;
            }
            make_moments(s.shape.n, piece);
            const auto partial =
                scratch_floats(detail::cuda::channel_statistics_scratch(s.shape.n, pixels, piece.channels));
            detail::cuda::channel_statistics(s.template part_of<T>(i), s.shape.n, pixels, partial->template as<float>(),
                                             moments_of(s, i), stream());
        }
    }

    [[nodiscard]] static bool is_measured(const detail::cuda::piece& p) { return p.moments && p.moments->values; }

    /// Room for the moments of a piece.
    void make_moments(int images, detail::cuda::piece& p) const {
        if (!p.moments) {
            p.moments = std::make_shared<detail::cuda::piece_moments>();
        }
        p.moments->values = scratch(static_cast<std::size_t>(images) * static_cast<std::size_t>(p.channels) *
                                    sizeof(detail::cuda::channel_moments));
    }

    /// Null when there is no such piece.
    [[nodiscard]] static detail::cuda::channel_moments* moments_of(const storage& s, std::size_t i) {
        return i < s.pieces.size() ? s.pieces[i].moments->values->template as<detail::cuda::channel_moments>()
                                   : nullptr;
    }

    [[nodiscard]] static detail::cuda::measured_part<T> measured(const storage& s, std::size_t i) {
        return {s.template part_of<T>(i), moments_of(s, i)};
    }

    [[nodiscard]] static detail::cuda::modulation modulation(const norm_weights& w, const float* scale_shift,
                                                             bool per_image) {
        return {w.gamma_->template as<float>(), w.beta_->template as<float>(), scale_shift,
                per_image ? 2 * static_cast<std::ptrdiff_t>(w.channels()) : 0};
    }

    /// One that does not fit where the device cannot keep as many blocks alive.
    const detail::cuda::resident_plan& resident_plan_of(const resident_problem& p) const {
        auto found = resident_plans_.find(p);
        if (found == resident_plans_.end()) {
            auto plan =
                detail::cuda::plan_resident<T>(p.h, p.w, p.channels, p.groups, p.vectors, p.average_down, residency_);
            if (plan.fits() && !detail::cuda::holds<T>(plan, p.vectors, p.average_down, residency_)) {
                plan = {};
            }
            found = resident_plans_.emplace(p, plan).first;
        }
        return found->second;
    }

    void normalise(typename tensor::normalisation& what, bool average_down, storage& y) const {
        storage& x = what.x;
        const shape4 s = x.shape;
        y = channels_last_storage(average_down ? shape4{s.n, s.c, s.h / 2, s.w / 2} : s);
        T* to = y.template elements<T>();
        const float* factors = what.scale_shift ? what.scale_shift->planar() : nullptr;
        const auto m = modulation(what.weights, factors, factors != nullptr && what.scale_shift->shape.n > 1);
        if (!std::all_of(x.pieces.begin(), x.pieces.end(), is_measured) && barriers_) {
            const bool vectors = detail::cuda::vectorised(x.template part_of<T>(0), x.template part_of<T>(1), to);
            const auto& plan = resident_plan_of({s.h, s.w, s.c, what.options.groups, vectors, average_down});
            if (plan.fits()) {
                const auto unmeasured = [&](std::size_t i) -> detail::cuda::unmeasured_part<T> {
                    if (i >= x.pieces.size() || is_measured(x.pieces[i])) {
                        return {x.template part_of<T>(i), nullptr};
                    }
                    make_moments(s.n, x.pieces[i]);
                    return {x.template part_of<T>(i), moments_of(x, i)};
                };
                const auto partial = scratch_floats(plan.scratch(s.n));
                detail::cuda::normalise_resident<T>(unmeasured(0), unmeasured(1), s.n, s.h, s.w, m, what.options,
                                                    average_down, plan, partial->template as<float>(),
                                                    barriers_->template as<detail::cuda::grid_barrier>(), to, stream());
                return;
            }
        }
        measure(x);
        detail::cuda::normalise(measured(x, 0), measured(x, 1), s.n, s.h, s.w, m, what.options, average_down, to,
                                stream());
    }

    /// The weights of four convolutions that do on pixels what w does on twice as many rows and columns of them.
    const T* folded(const conv2d_weights& w) const {
        if (!w.folded_) {
            const shape4 k = w.shape();
            w.folded_ = std::make_shared<detail::cuda::memory_block>(
                weights_, 16 * static_cast<std::size_t>(k.n) * static_cast<std::size_t>(k.c) * sizeof(T));
            detail::cuda::fold_doubled(static_cast<const T*>(w.elements_->template as<T>()), k.n, k.c,
                                       w.folded_->template as<T>(), stream());
        }
        return w.folded_->template as<T>();
    }

    basic_cuda_backend(const basic_cuda_backend&) = delete;

    detail::cuda::device device_;
    bool graphs_;
    std::shared_ptr<detail::cuda::memory_pool> memory_;
    std::shared_ptr<detail::cuda::memory_pool> graph_memory_;
    std::shared_ptr<detail::cuda::memory_pool> weights_;
    std::optional<detail::cuda::libraries<T>> libraries_;
    detail::cuda::residency residency_{};
    mutable std::map<resident_problem, detail::cuda::resident_plan> resident_plans_;
    block barriers_; ///< null: blocks cannot wait for each other
    std::vector<std::uint64_t> host_seeds_;
    block seeds_;
    std::string not_recorded_;
};

/// In half precision, as the official networks of 256x256 were trained.
using cuda_backend = basic_cuda_backend<__half>;

} // namespace repaint

#endif
