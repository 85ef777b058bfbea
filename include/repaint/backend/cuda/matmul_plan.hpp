#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <cublasLt.h>

#include <repaint/backend/cuda/cudnn.hpp>
#include <repaint/backend/cuda/plan_store.hpp>
#include <repaint/error.hpp>

/// 1x1 convolutions by cuBLASLt: y = x W^T + residual + bias, channels of a pixel together, sums in float32. Reads x,
/// W, the residual and the bias once and writes y once, but for what tiles share. A convolution of two joined tensors
/// is two of these, each with its columns of the weights; the second has the first's y as its residual.
namespace repaint::detail::cuda {

/// What is used of cuBLASLt.
struct cublaslt_functions {
    shared_library library;
    decltype(&::cublasLtCreate) create = library["cublasLtCreate"];
    decltype(&::cublasLtDestroy) destroy = library["cublasLtDestroy"];
    decltype(&::cublasLtGetStatusName) status_name = library["cublasLtGetStatusName"];
    decltype(&::cublasLtGetStatusString) status_string = library["cublasLtGetStatusString"];
    decltype(&::cublasLtMatmul) matmul = library["cublasLtMatmul"];
    decltype(&::cublasLtMatmulAlgoCheck) check_algorithm = library["cublasLtMatmulAlgoCheck"];
    decltype(&::cublasLtMatmulAlgoGetHeuristic) get_heuristic = library["cublasLtMatmulAlgoGetHeuristic"];
    decltype(&::cublasLtMatmulDescCreate) create_operation = library["cublasLtMatmulDescCreate"];
    decltype(&::cublasLtMatmulDescDestroy) destroy_operation = library["cublasLtMatmulDescDestroy"];
    decltype(&::cublasLtMatmulDescSetAttribute) set_attribute = library["cublasLtMatmulDescSetAttribute"];
    decltype(&::cublasLtMatmulPreferenceCreate) create_preference = library["cublasLtMatmulPreferenceCreate"];
    decltype(&::cublasLtMatmulPreferenceDestroy) destroy_preference = library["cublasLtMatmulPreferenceDestroy"];
    decltype(&::cublasLtMatmulPreferenceSetAttribute) set_preference = library["cublasLtMatmulPreferenceSetAttribute"];
    decltype(&::cublasLtMatrixLayoutCreate) create_layout = library["cublasLtMatrixLayoutCreate"];
    decltype(&::cublasLtMatrixLayoutDestroy) destroy_layout = library["cublasLtMatrixLayoutDestroy"];
    decltype(&::cublasLtGetVersion) version = library["cublasLtGetVersion"];
};

/// Throws device_error when cuBLASLt is missing.
inline const cublaslt_functions& cublaslt() {
    static const cublaslt_functions functions{{"cuBLASLt",
                                               {
                                                   "libcublasLt.so." + std::to_string(CUBLAS_VER_MAJOR),
#if defined(REPAINT_CUBLASLT_LIBRARY)
                                                   REPAINT_CUBLASLT_LIBRARY,
#endif
                                               }}};
    return functions;
}

/// Throws device_error with cuBLAS' own name for the reason. what: who asked for what.
inline void check(cublasStatus_t status, const char* what) {
    if (status != CUBLAS_STATUS_SUCCESS) {
        throw device_error(std::string(what) + ": " + cublaslt().status_name(status) + " (" +
                           cublaslt().status_string(status) + ")");
    }
}

/// x: (pixels, in), W: (out, in), y and residual: (pixels, out), bias: (out), all in T. Transposed, the vector-Jacobian
/// product: x = y W is written and y read, with neither residual nor bias.
struct matmul_problem {
    element_type type = element_type::half;
    bool transposed = false;
    bool tf32 = false; ///< float32: the factors of products may be rounded to ten bits after the point
    std::int64_t pixels = 0;
    int in = 0;
    int out = 0;
    std::int64_t x_stride = 0; ///< elements from one pixel to the next; 0: without gaps
    std::int64_t w_stride = 0; ///< elements from one output channel to the next; 0: without gaps
    std::int64_t y_stride = 0;
    std::int64_t added_stride = 0; ///< of the residual
    bool residual = false;
    bool bias = false;

    auto operator<=>(const matmul_problem&) const = default;

    [[nodiscard]] std::int64_t x_distance() const { return x_stride != 0 ? x_stride : in; }
    [[nodiscard]] std::int64_t w_distance() const { return w_stride != 0 ? w_stride : in; }
    [[nodiscard]] std::int64_t y_distance() const { return y_stride != 0 ? y_stride : out; }
    [[nodiscard]] std::int64_t added_distance() const { return added_stride != 0 ? added_stride : out; }
};

/// Bytes that every pointer must be a multiple of: 16 where the strides allow it, less for odd channels.
inline std::int64_t alignment_of(const matmul_problem& p) {
    const auto elements = static_cast<std::uint64_t>(p.x_distance() | p.w_distance() | p.y_distance() |
                                                     (p.residual ? p.added_distance() : 0));
    return std::min<std::int64_t>(16, bytes_of(p.type) << std::countr_zero(elements));
}

/// Why cuBLASLt is not asked for this problem; empty when it is.
inline std::string refusal(const matmul_problem& p) {
    const std::string name =
        std::string("cuBLASLt's product of ") + std::to_string(p.in) + " to " + std::to_string(p.out) + " channels";
    if (p.pixels < 1 || p.in < 1 || p.out < 1) {
        return name + ": there is nothing to compute";
    }
    if (p.x_distance() < p.in || p.w_distance() < p.in || p.y_distance() < p.out || p.added_distance() < p.out) {
        return name + ": neighbours overlap";
    }
    if (p.transposed && (p.residual || p.bias)) {
        return name + ": transposed, it adds neither residual nor bias";
    }
    return {};
}

/// All of the problem in words: what plans are stored under.
inline std::string key(const matmul_problem& p) {
    std::string text = p.transposed ? "matmul transposed " : "matmul ";
    text += name_of(p.type);
    text += p.tf32 ? " tf32" : "";
    text += ", " + std::to_string(p.pixels) + " pixels, " + std::to_string(p.in) + " to " + std::to_string(p.out);
    text += p.x_stride != 0 ? ", x " + std::to_string(p.x_stride) : "";
    text += p.w_stride != 0 ? ", w " + std::to_string(p.w_stride) : "";
    text += p.y_stride != 0 ? ", y " + std::to_string(p.y_stride) : "";
    text += p.residual ? ", residual" : "";
    text += p.added_stride != 0 ? " " + std::to_string(p.added_stride) : "";
    text += p.bias ? ", bias" : "";
    return text;
}

/// A session of cuBLASLt on the current device.
class cublaslt_handle {
public:
    /// Throws device_error when there is no device that cuBLASLt can use.
    cublaslt_handle() { check(cublaslt().create(&handle_), "cuBLASLt"); }
    cublaslt_handle(const cublaslt_handle&) = delete;
    cublaslt_handle& operator=(const cublaslt_handle&) = delete;
    ~cublaslt_handle() { static_cast<void>(cublaslt().destroy(handle_)); }

    [[nodiscard]] cublasLtHandle_t get() const { return handle_; }

private:
    cublasLtHandle_t handle_ = nullptr;
};

/// One of cuBLASLt's ways to compute a problem. (nvcc 13 cannot put cuBLASLt's own types, which have no names, into
/// containers.)
struct matmul_algorithm {
    cublasLtMatmulAlgo_t opaque{};
    std::size_t workspace_bytes = 0;
};

/// What cuBLASLt knows of a problem, in its own order: matrices by columns, so that all are seen transposed. Moves,
/// does not copy.
class matmul_operation {
public:
    /// Throws device_error.
    explicit matmul_operation(const matmul_problem& p) : problem_(p) {
        const cudaDataType_t type = data_type(p.type);
        const cublasComputeType_t compute =
            p.type == element_type::float32 && p.tf32 ? CUBLAS_COMPUTE_32F_FAST_TF32 : CUBLAS_COMPUTE_32F;
        check(cublaslt().create_operation(&parts_.operation, compute, CUDA_R_32F), what);
        set(CUBLASLT_MATMUL_DESC_TRANSA, p.transposed ? CUBLAS_OP_N : CUBLAS_OP_T);
        if (p.bias) {
            set(CUBLASLT_MATMUL_DESC_EPILOGUE, CUBLASLT_EPILOGUE_BIAS);
            set(CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE, type);
        }
        const auto in = static_cast<std::uint64_t>(p.in);
        const auto out = static_cast<std::uint64_t>(p.out);
        const auto pixels = static_cast<std::uint64_t>(p.pixels);
        check(cublaslt().create_layout(&parts_.w, type, in, out, p.w_distance()), what);
        check(cublaslt().create_layout(&parts_.x, type, in, pixels, p.x_distance()), what);
        check(cublaslt().create_layout(&parts_.y, type, out, pixels, p.y_distance()), what);
        check(cublaslt().create_layout(&parts_.added, type, out, pixels,
                                       p.residual ? p.added_distance() : p.y_distance()),
              what);
    }

    [[nodiscard]] const matmul_problem& problem() const { return problem_; }

    /// The ways to compute it within the limits, at most `most`, the one expected to be fastest first.
    /// Throws device_error.
    [[nodiscard]] std::vector<matmul_algorithm> offered(const cublaslt_handle& handle, const plan_limits& limits,
                                                        int most) {
        preferences wanted;
        const auto prefer = [&wanted](cublasLtMatmulPreferenceAttributes_t name, auto value) {
            check(cublaslt().set_preference(wanted.it, name, &value, sizeof value), what);
        };
        prefer(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, std::uint64_t{limits.workspace});
        // Partial sums stay float32; added up in place they would be rounded to T in between.
        prefer(CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK,
               static_cast<std::uint32_t>(CUBLASLT_REDUCTION_SCHEME_NONE | CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE));
        const auto alignment = static_cast<std::uint32_t>(alignment_of(problem_));
        prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, alignment);
        prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, alignment);
        prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, alignment);
        prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, alignment);
        set_bias(reinterpret_cast<const void*>(alignof(std::max_align_t))); // its alignment counts, nothing is read
        constexpr int largest = 64;
        cublasLtMatmulHeuristicResult_t results[largest];
        int found = 0;
        const cublasStatus_t status =
            cublaslt().get_heuristic(handle.get(), parts_.operation, parts_.w, second(), third(), result(), wanted.it,
                                     std::min(most, largest), results, &found);
        if (status != CUBLAS_STATUS_NOT_SUPPORTED) {
            check(status, what);
        }
        std::vector<matmul_algorithm> algorithms;
        for (int i = 0; i < found; ++i) {
            if (results[i].state == CUBLAS_STATUS_SUCCESS) {
                algorithms.push_back({results[i].algo, results[i].workspaceSize});
            }
        }
        return algorithms;
    }

    /// The algorithm with the workspace it needs for this operation; none when it cannot compute it.
    [[nodiscard]] std::optional<matmul_algorithm> checked(const cublaslt_handle& handle, matmul_algorithm algorithm) {
        cublasLtMatmulHeuristicResult_t found{};
        set_bias(reinterpret_cast<const void*>(alignof(std::max_align_t)));
        const cublasStatus_t status = cublaslt().check_algorithm(handle.get(), parts_.operation, parts_.w, second(),
                                                                 third(), result(), &algorithm.opaque, &found);
        if (status != CUBLAS_STATUS_SUCCESS || found.state != CUBLAS_STATUS_SUCCESS) {
            return std::nullopt;
        }
        algorithm.workspace_bytes = found.workspaceSize;
        return algorithm;
    }

    /// Enqueues it. Throws device_error.
    void execute(const cublaslt_handle& handle, const matmul_algorithm& algorithm, const void* x, const void* w,
                 const void* residual, const void* bias, void* y, void* workspace, cudaStream_t stream) {
        const float one = 1.0F;
        const float beta = problem_.residual ? 1.0F : 0.0F;
        set_bias(bias);
        check(cublaslt().matmul(handle.get(), parts_.operation, &one, w, parts_.w, x, second(), &beta,
                                problem_.residual ? residual : y, third(), y, result(), &algorithm.opaque, workspace,
                                algorithm.workspace_bytes, stream),
              what);
    }

private:
    static constexpr const char* what = "cuBLASLt's product";

    struct descriptors {
        cublasLtMatmulDesc_t operation = nullptr;
        cublasLtMatrixLayout_t w = nullptr;
        cublasLtMatrixLayout_t x = nullptr;
        cublasLtMatrixLayout_t y = nullptr;
        cublasLtMatrixLayout_t added = nullptr;

        descriptors() = default;
        descriptors(descriptors&& other) noexcept
            : operation(std::exchange(other.operation, nullptr)), w(std::exchange(other.w, nullptr)),
              x(std::exchange(other.x, nullptr)), y(std::exchange(other.y, nullptr)),
              added(std::exchange(other.added, nullptr)) {}
        descriptors& operator=(descriptors&& other) noexcept {
            std::swap(operation, other.operation);
            std::swap(w, other.w);
            std::swap(x, other.x);
            std::swap(y, other.y);
            std::swap(added, other.added);
            return *this;
        }
        ~descriptors() {
            if (operation != nullptr) {
                static_cast<void>(cublaslt().destroy_operation(operation));
            }
            for (const auto layout : {w, x, y, added}) {
                if (layout != nullptr) {
                    static_cast<void>(cublaslt().destroy_layout(layout));
                }
            }
        }
    };

    struct preferences {
        cublasLtMatmulPreference_t it = nullptr;
        preferences() { check(cublaslt().create_preference(&it), what); }
        preferences(const preferences&) = delete;
        preferences& operator=(const preferences&) = delete;
        ~preferences() { static_cast<void>(cublaslt().destroy_preference(it)); }
    };

    static cudaDataType_t data_type(element_type type) {
        switch (type) {
        case element_type::half: return CUDA_R_16F;
        case element_type::bfloat16: return CUDA_R_16BF;
        default: return CUDA_R_32F;
        }
    }

    template <class V> void set(cublasLtMatmulDescAttributes_t name, V value) {
        static_assert(sizeof value == sizeof(std::int32_t) || sizeof value == sizeof(void*));
        check(cublaslt().set_attribute(parts_.operation, name, &value, sizeof value), what);
    }
    void set_bias(const void* bias) {
        if (problem_.bias) {
            set(CUBLASLT_MATMUL_DESC_BIAS_POINTER, bias);
        }
    }

    // Forward y^T = W x^T; transposed x^T = W^T y^T, of which W^T is what is in memory.
    [[nodiscard]] cublasLtMatrixLayout_t second() const { return problem_.transposed ? parts_.y : parts_.x; }
    [[nodiscard]] cublasLtMatrixLayout_t result() const { return problem_.transposed ? parts_.x : parts_.y; }
    [[nodiscard]] cublasLtMatrixLayout_t third() const { return problem_.transposed ? parts_.x : parts_.added; }

    matmul_problem problem_;
    descriptors parts_;
};

/// A problem and the algorithm that was chosen for it.
struct matmul_plan {
    matmul_operation operation;
    matmul_algorithm algorithm = {};
    bool tuned = false; ///< in this process

    /// Enqueues y = x W^T + residual + bias; residual and bias are null when the problem has none, y may be the
    /// residual if both have the same stride. All pointers: multiples of alignment_of(problem). Throws device_error.
    void execute(const cublaslt_handle& handle, const void* x, const void* w, const void* residual, const void* bias,
                 void* y, void* workspace, cudaStream_t stream) {
        operation.execute(handle, algorithm, x, w, residual, bias, y, workspace, stream);
    }

    /// Enqueues dx = dy W, for a transposed problem. Throws device_error.
    void execute_vjp(const cublaslt_handle& handle, const void* dy, const void* w, void* dx, void* workspace,
                     cudaStream_t stream) {
        operation.execute(handle, algorithm, dy, w, nullptr, nullptr, dx, workspace, stream);
    }
};

/// An algorithm as text, for the plan_store: what cuBLASLt says may be kept, and used by the same version again.
inline std::string algorithm_text(const matmul_algorithm& algorithm) {
    constexpr std::string_view digits = "0123456789abcdef";
    std::array<unsigned char, sizeof algorithm.opaque> bytes{};
    std::memcpy(bytes.data(), &algorithm.opaque, bytes.size());
    std::string text;
    for (const unsigned byte : bytes) {
        text += digits[byte >> 4U];
        text += digits[byte & 0xFU];
    }
    return text;
}

/// None when the text is not one of algorithm_text. The workspace is not in it.
inline std::optional<matmul_algorithm> algorithm_of(std::string_view text) {
    constexpr std::string_view digits = "0123456789abcdef";
    std::array<unsigned char, sizeof(cublasLtMatmulAlgo_t)> bytes{};
    if (text.size() != 2 * bytes.size() || text.find_first_not_of(digits) != std::string_view::npos) {
        return std::nullopt;
    }
    for (std::size_t i = 0; i < bytes.size(); ++i) {
        bytes[i] = static_cast<unsigned char>(digits.find(text[2 * i]) << 4U | digits.find(text[2 * i + 1]));
    }
    matmul_algorithm algorithm;
    std::memcpy(&algorithm.opaque, bytes.data(), bytes.size());
    return algorithm;
}

/// The plans of one backend object, each chosen when it is first asked for.
class matmul_plans {
public:
    /// The handle and the store must outlive this object. limits: only the workspace counts, all that is asked for is
    /// deterministic.
    matmul_plans(const cublaslt_handle& handle, plan_store& store, const plan_limits& limits = {})
        : handle_(&handle), store_(&store), limits_(limits) {}

    /// The plan for a problem: the store's, or else what cuBLASLt expects to be the fastest. Null when there is none.
    /// Throws device_error when cuBLASLt does not work at all.
    [[nodiscard]] matmul_plan* find(const matmul_problem& problem) {
        const auto found = chosen_.find(problem);
        auto& plan = found != chosen_.end() ? found->second : chosen_.emplace(problem, choose(problem)).first->second;
        return plan ? &*plan : nullptr;
    }

    /// As find, but the fastest of all, by measuring them; measured once, the store has it. execute(plan) must enqueue
    /// the problem on how.stream with how.workspace; y must not be the residual. Throws device_error.
    template <class Execute> matmul_plan* tune(const matmul_problem& problem, const tuning& how, Execute&& execute) {
        matmul_plan* const plan = find(problem);
        if (is_tuned(problem)) {
            return plan;
        }
        plan->tuned = true;
        plan_limits limits = limits_;
        limits.workspace = std::min(limits.workspace, how.workspace_bytes);
        double best = std::numeric_limits<double>::infinity();
        matmul_plan candidate{matmul_operation(problem)};
        for (const auto& offer : candidate.operation.offered(*handle_, limits, static_cast<int>(how.most))) {
            candidate.algorithm = offer;
            const double taken = measured_or_refused(how, best, [&] { execute(candidate); });
            if (taken < best) {
                best = taken;
                plan->algorithm = offer;
            }
        }
        if (best < std::numeric_limits<double>::infinity()) {
            store_->put(full_key(problem), {algorithm_text(plan->algorithm), best});
        }
        return plan;
    }

    /// True when tune() would not measure: it did, or the store has it, or there is no plan.
    [[nodiscard]] bool is_tuned(const matmul_problem& problem) {
        const matmul_plan* const plan = find(problem);
        const stored_plan* const stored = plan == nullptr ? nullptr : store_->find(full_key(problem));
        return plan == nullptr || plan->tuned || (stored != nullptr && stored->microseconds > 0.0);
    }

    /// The largest workspace of the plans so far, in bytes.
    [[nodiscard]] std::size_t workspace_bytes() const {
        std::size_t most = 0;
        for (const auto& [problem, plan] : chosen_) {
            most = std::max(most, plan ? plan->algorithm.workspace_bytes : 0);
        }
        return most;
    }

private:
    [[nodiscard]] std::string full_key(const matmul_problem& problem) const {
        return key(problem) + ", workspace " + std::to_string(limits_.workspace);
    }

    [[nodiscard]] std::optional<matmul_plan> choose(const matmul_problem& problem) {
        if (!refusal(problem).empty()) {
            return std::nullopt;
        }
        std::optional<matmul_plan> plan(matmul_plan{matmul_operation(problem)});
        if (const stored_plan* const stored = store_->find(full_key(problem))) {
            if (const auto algorithm = algorithm_of(stored->text)) {
                const auto usable = plan->operation.checked(*handle_, *algorithm);
                if (usable && usable->workspace_bytes <= limits_.workspace) {
                    plan->algorithm = *usable;
                    return plan;
                }
            }
            store_->erase(full_key(problem));
        }
        const auto offers = plan->operation.offered(*handle_, limits_, 1);
        if (offers.empty()) {
            return std::nullopt;
        }
        plan->algorithm = offers.front();
        store_->put(full_key(problem), {algorithm_text(plan->algorithm), 0.0});
        return plan;
    }

    const cublaslt_handle* handle_;
    plan_store* store_;
    plan_limits limits_;
    std::map<matmul_problem, std::optional<matmul_plan>> chosen_;
};

} // namespace repaint::detail::cuda
