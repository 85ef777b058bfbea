#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <filesystem>
#include <memory>
#include <string>
#include <utility>

#include <repaint/backend/cuda/attention_direct.cuh>
#include <repaint/backend/cuda/device.cuh>
#include <repaint/backend/cuda/memory.cuh>
#include <repaint/backend/cuda/options.hpp>
#include <repaint/backend/cuda/part.cuh>
#include <repaint/core/options.hpp>
#include <repaint/core/shape.hpp>

#if !defined(REPAINT_CUDA_ON_HOST)
#include <repaint/backend/cuda/attention_plan.hpp>
#include <repaint/backend/cuda/conv2d_plan.hpp>
#include <repaint/backend/cuda/matmul_plan.hpp>
#include <repaint/backend/cuda/plan_store.hpp>
#endif

/// What cuDNN and cuBLASLt compute for one backend object: each function enqueues its work and returns true, or does
/// nothing and returns false when the libraries have no engine for it. Layouts are those of the own kernels, which come
/// to the same results but for the order of sums.
namespace repaint::detail::cuda {

#if defined(REPAINT_CUDA_ON_HOST)

/// Libraries that have no engine for anything: they are not emulated.
template <class T> class libraries {
public:
    libraries(const device&, const cuda_options&) {}

    void save() {}
    [[nodiscard]] std::string ignored() const { return {}; }

    template <class... Arguments> [[nodiscard]] bool conv2d(Arguments&&...) { return false; }
    template <class... Arguments> [[nodiscard]] bool conv2d_doubled(Arguments&&...) { return false; }
    template <class... Arguments> [[nodiscard]] bool conv2d_vjp(Arguments&&...) { return false; }
    template <class... Arguments> [[nodiscard]] bool attention(Arguments&&...) { return false; }
};

#else

template <class T> class libraries {
public:
    /// Throws device_error when a library is missing, is not the one it has to be, or cannot use the device.
    libraries(const device& on, const cuda_options& options)
        : device_(&on), tf32_(options.tf32), tune_(options.tune), path_(options.plans), cudnn_(on.stream()),
          properties_(device_properties::of_device(on.index())),
          store_({cudnn().version(), cublaslt().version(), on.name(), on.properties().multiProcessorCount}),
          conv2d_(properties_, store_, limits(options)), attention_(properties_, store_, limits(options)),
          matmul_(cublaslt_, store_, limits(options)) {
        if (!path_.empty()) {
            ignored_ = store_.load(path_);
        }
    }
    libraries(const libraries&) = delete;
    libraries& operator=(const libraries&) = delete;
    ~libraries() {
        try {
            save();
        } catch (const std::exception&) { // the plans are a cache: without it the next start takes longer
        }
    }

    /// Writes the plans to their file, if there is one and it does not have them. Throws repaint::error naming the path
    /// and the system's reason.
    void save() {
        if (!path_.empty() && store_.changed()) {
            store_.save(path_);
        }
    }

    /// Why the file of plans was not used; empty when it was, or when there is none.
    [[nodiscard]] const std::string& ignored() const { return ignored_; }

    /// y = conv(x) + residual + bias. x: (n, c, h, w) of one part or two; w: OHWI; kernel: (out, c, rows, columns);
    /// bias: [out]; residual: like y, or null; y: without gaps. scratch(bytes): a memory_block.
    template <class Scratch>
    [[nodiscard]] bool conv2d(const part<T>& first, const part<T>& second, const shape4& x, const T* w,
                              const shape4& kernel, const T* bias, const T* residual, const conv2d_options& options,
                              T* y, Scratch&& scratch) {
        if (kernel.h == 1 && kernel.w == 1 && options.stride == 1 && options.padding == 0) {
            return pointwise(first, second, x, w, kernel.n, bias, residual, y, scratch);
        }
        if (second.channels > 0 || kernel.h != kernel.w) {
            return false;
        }
        conv2d_problem p = padded(problem(x, kernel, options.stride), options.padding);
        p.residual = residual != nullptr;
        p.bias = true;
        if (first.stride != first.channels) {
            p.x = strides_of(x.h, x.w, first.stride);
        }
        return run(p, first.data, w, residual, bias, y, scratch);
    }

    /// A 3x3 convolution with padding 1 of pixels that all stand for two by two: four 2x2 convolutions. x: (n, c, h, w)
    /// as stored; w: of fold_doubled; y: (n, out, 2 h, 2 w).
    template <class Scratch>
    [[nodiscard]] bool conv2d_doubled(const part<T>& x, const shape4& shape, const T* w, int out, const T* bias, T* y,
                                      Scratch&& scratch) {
        if (!aligned(16, x.data, w, bias, y) || static_cast<std::size_t>(out) * sizeof(T) % 16 != 0) {
            return false; // no phase would begin where accesses of sixteen bytes can
        }
        const std::size_t of_phase = static_cast<std::size_t>(out) * 4 * static_cast<std::size_t>(shape.c);
        conv2d_problem phases[4];
        for (int i = 0; i < 4; ++i) {
            conv2d_problem p = problem(shape, {out, shape.c, 2, 2}, 1);
            p.bias = true;
            if (x.stride != x.channels) {
                p.x = strides_of(shape.h, shape.w, x.stride);
            }
            phases[i] = doubled_phase(p, i / 2, i % 2);
            if (conv2d_.find(phases[i]) == nullptr) {
                return false;
            }
        }
        for (int i = 0; i < 4; ++i) {
            if (!run(phases[i], x.data, w + static_cast<std::size_t>(i) * of_phase, static_cast<const T*>(nullptr),
                     bias, y + doubled_offset(phases[i]), scratch)) {
                throw device_error("cuDNN's convolution: a plan is gone");
            }
        }
        return true;
    }

    /// dx = conv^T(dy). dx: (n, c, h, w), without gaps.
    template <class Scratch>
    [[nodiscard]] bool conv2d_vjp(const part<T>& dy, const shape4& dy_shape, const T* w, const shape4& kernel,
                                  const conv2d_options& options, T* dx, const shape4& dx_shape, Scratch&& scratch) {
        if (kernel.h == 1 && kernel.w == 1 && options.stride == 1 && options.padding == 0) {
            matmul_problem p;
            p.type = element_type_of<T>;
            p.tf32 = tf32_ && p.type == element_type::float32;
            p.transposed = true;
            p.pixels = static_cast<std::int64_t>(dx_shape.n) * static_cast<std::int64_t>(dx_shape.plane());
            p.in = kernel.c;
            p.out = kernel.n;
            p.y_stride = dy.stride != dy.channels ? dy.stride : 0;
            matmul_plan* const plan = matmul_.find(p);
            if (plan == nullptr || !aligned(alignment_of(p), dy.data, w, dx)) {
                return false;
            }
            const auto workspace = scratch(plan->algorithm.workspace_bytes);
            plan->execute_vjp(cublaslt_, dy.data, w, dx, workspace->template as<void>(), device_->stream());
            return true;
        }
        if (kernel.h != kernel.w) {
            return false;
        }
        conv2d_problem p = padded(problem(dx_shape, kernel, options.stride), options.padding);
        p.transposed = true;
        if (dy.stride != dy.channels) {
            p.y = strides_of(dy_shape.h, dy_shape.w, dy.stride);
        }
        const execution_plan* const plan = aligned(16, dy.data, w, dx) ? conv2d_.find(p) : nullptr;
        if (plan == nullptr) {
            return false;
        }
        const auto workspace = scratch(plan->workspace_bytes());
        execute_conv2d_vjp(*plan, cudnn_, dy.data, w, dx, workspace->template as<void>());
        return true;
    }

    /// As attention_direct.
    template <class Scratch>
    [[nodiscard]] bool attention(const T* qkv, const attention_shape& shape, T* y, Scratch&& scratch) {
        const attention_problem p{element_type_of<T>, shape.images, shape.heads, shape.width, shape.tokens};
        if (!aligned(16, qkv, y)) {
            return false;
        }
        const auto execute = [&](const execution_plan& plan, void* workspace) {
            execute_attention(plan, cudnn_, p, qkv, y, workspace);
        };
        if (tune_ && !attention_.is_tuned(p)) {
            with_tuning([&](const tuning& how) {
                (void)attention_.tune(p, how, [&](const execution_plan& each) { execute(each, how.workspace); });
            });
        }
        const execution_plan* const plan = attention_.find(p);
        if (plan == nullptr) {
            return false;
        }
        const auto workspace = scratch(plan->workspace_bytes());
        execute(*plan, workspace->template as<void>());
        return true;
    }

private:
    static plan_limits limits(const cuda_options& options) {
        plan_limits l;
        l.deterministic = options.deterministic;
        return l;
    }

    /// Null is aligned.
    template <class... E> static bool aligned(std::int64_t bytes, const E*... addresses) {
        return ((reinterpret_cast<std::uintptr_t>(addresses) % static_cast<std::uintptr_t>(bytes) == 0) && ...);
    }

    [[nodiscard]] conv2d_problem problem(const shape4& x, const shape4& kernel, int stride) const {
        conv2d_problem p;
        p.type = element_type_of<T>;
        p.tf32 = tf32_ && p.type == element_type::float32;
        p.n = x.n;
        p.h = x.h;
        p.w = x.w;
        p.in = kernel.c;
        p.out = kernel.n;
        p.kernel = kernel.h;
        p.stride = stride;
        return p;
    }

    /// Memory for measuring plans, as long as that takes.
    template <class F> void with_tuning(F&& tune) {
        auto memory = std::make_shared<memory_pool>("the plans that are measured", 1, device_->index());
        tuning how;
        how.stream = device_->stream();
        how.workspace_bytes = plan_limits{}.workspace;
        how.flush_bytes = 2 * static_cast<std::size_t>(std::max(device_->properties().l2CacheSize, 0));
        const memory_block workspace(memory, how.workspace_bytes);
        const memory_block flush(memory, how.flush_bytes);
        how.workspace = workspace.as<void>();
        how.flush = flush.as<void>();
        tune(how);
    }

    template <class Scratch>
    bool run(const conv2d_problem& p, const T* x, const T* w, const T* residual, const T* bias, T* y,
             Scratch&& scratch) {
        if (!aligned(16, x, w, residual, bias, y)) {
            return false;
        }
        const auto execute = [&](const execution_plan& plan, void* workspace) {
            execute_conv2d(plan, cudnn_, x, w, residual, bias, y, workspace);
        };
        if (tune_ && !conv2d_.is_tuned(p)) {
            with_tuning([&](const tuning& how) {
                (void)conv2d_.tune(p, how, [&](const execution_plan& each) { execute(each, how.workspace); });
            });
        }
        const execution_plan* const plan = conv2d_.find(p);
        if (plan == nullptr) {
            return false;
        }
        const auto workspace = scratch(plan->workspace_bytes());
        execute(*plan, workspace->template as<void>());
        return true;
    }

    /// A product for each part: the second adds to what the first has written.
    template <class Scratch>
    bool pointwise(const part<T>& first, const part<T>& second, const shape4& x, const T* w, int out, const T* bias,
                   const T* residual, T* y, Scratch&& scratch) {
        const int in = first.channels + second.channels;
        matmul_problem p;
        p.type = element_type_of<T>;
        p.tf32 = tf32_ && p.type == element_type::float32;
        p.pixels = static_cast<std::int64_t>(x.n) * static_cast<std::int64_t>(x.plane());
        p.out = out;
        p.w_stride = second.channels > 0 ? in : 0;
        const auto of_part = [&](const part<T>& from, bool adds, bool biased) {
            matmul_problem q = p;
            q.in = from.channels;
            q.x_stride = from.stride != from.channels ? from.stride : 0;
            q.residual = adds;
            q.bias = biased;
            return q;
        };
        const matmul_problem one = of_part(first, residual != nullptr, true);
        matmul_plan* const begin = product(one, first.data, w, residual, bias, y);
        matmul_plan* end = nullptr;
        if (second.channels > 0 && begin != nullptr) {
            end = product(of_part(second, true, false), second.data, w + first.channels, nullptr, nullptr, y);
        }
        if (begin == nullptr || (second.channels > 0 && end == nullptr)) {
            return false;
        }
        const auto workspace =
            scratch(std::max(begin->algorithm.workspace_bytes, end == nullptr ? 0 : end->algorithm.workspace_bytes));
        begin->execute(cublaslt_, first.data, w, residual, bias, y, workspace->template as<void>(), device_->stream());
        if (end != nullptr) {
            end->execute(cublaslt_, second.data, w + first.channels, y, nullptr, y, workspace->template as<void>(),
                         device_->stream());
        }
        return true;
    }

    /// The plan of a product; measuring it writes y. residual null although the problem has one: a place like y.
    matmul_plan* product(const matmul_problem& p, const T* x, const T* w, const T* residual, const T* bias, T* y) {
        if (!aligned(alignment_of(p), x, w, residual, bias, y)) {
            return nullptr;
        }
        if (tune_ && !matmul_.is_tuned(p)) {
            with_tuning([&](const tuning& how) {
                (void)matmul_.tune(p, how, [&](matmul_plan& plan) {
                    plan.execute(cublaslt_, x, w, residual == nullptr ? y : residual, bias, y, how.workspace,
                                 how.stream);
                });
            });
        }
        return matmul_.find(p);
    }

    const device* device_;
    bool tf32_;
    bool tune_;
    std::filesystem::path path_;
    cudnn_handle cudnn_;
    cublaslt_handle cublaslt_;
    device_properties properties_;
    plan_store store_;
    conv2d_plans conv2d_;
    attention_plans attention_;
    matmul_plans matmul_;
    std::string ignored_;
};

#endif

} // namespace repaint::detail::cuda
