#pragma once

#include <array>
#include <cmath>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <utility>

#include <repaint/backend/cuda/cudnn.hpp>
#include <repaint/backend/cuda/plan_store.hpp>

/// Attention by cuDNN, half and bfloat16: y = softmax(Q K^T / sqrt(head_channels)) V in one kernel that reads the
/// tensor of queries, keys and values where it is, and writes y once. Sums and the softmax in float32.
namespace repaint::detail::cuda {

/// qkv: (n, 3 c, h, w), y: (n, c, h, w), c = heads * head_channels, h w = tokens, channels of a pixel together: Q of
/// all heads, then K, then V.
struct attention_problem {
    element_type type = element_type::half;
    int n = 1;
    int heads = 0;
    int head_channels = 0;
    int tokens = 0;
    std::int64_t qkv_stride = 0; ///< elements from one pixel to the next; 0: without gaps
    std::int64_t y_stride = 0;

    auto operator<=>(const attention_problem&) const = default;

    [[nodiscard]] std::int64_t channels() const { return std::int64_t{heads} * head_channels; }
};

/// Why cuDNN is not asked for this problem; empty when it is.
inline std::string refusal(const attention_problem& p) {
    const std::string name = std::string("cuDNN's attention of ") + std::to_string(p.heads) + " heads of " +
                             std::to_string(p.head_channels) + " channels";
    if (p.n < 1 || p.heads < 1 || p.head_channels < 1 || p.tokens < 1) {
        return name + ": there is nothing to compute";
    }
    if (p.type == element_type::float32) {
        return name + ": half and bfloat16 only, found float";
    }
    constexpr std::int64_t vector = 8; // sixteen bytes
    for (const std::int64_t elements : {std::int64_t{p.head_channels}, p.qkv_stride, p.y_stride}) {
        if (elements % vector != 0) {
            return name + ": channels and strides must be multiples of " + std::to_string(vector) + ", found " +
                   std::to_string(elements);
        }
    }
    return {};
}

/// All of the problem in words: what plans are stored under.
inline std::string key(const attention_problem& p) {
    std::string text = std::string("attention ") + name_of(p.type);
    text += ", " + std::to_string(p.n) + " of " + std::to_string(p.tokens) + " tokens";
    text += ", " + std::to_string(p.heads) + " heads of " + std::to_string(p.head_channels);
    text += p.qkv_stride != 0 ? ", qkv " + std::to_string(p.qkv_stride) : "";
    text += p.y_stride != 0 ? ", y " + std::to_string(p.y_stride) : "";
    return text;
}

/// All engines there are for attention are compiled at run time.
inline plan_limits limits_for(const attention_problem&, plan_limits limits) {
    limits.runtime_compilation = true;
    return limits;
}

/// What the tensors of attention are called on execution.
struct attention_ids {
    static constexpr std::int64_t q = 1;
    static constexpr std::int64_t k = 2;
    static constexpr std::int64_t v = 3;
    static constexpr std::int64_t y = 4;
    static constexpr std::int64_t scale = 5;
};

inline operation_graph graph_of(const attention_problem& p) {
    constexpr const char* what = "cuDNN's attention";
    const std::int64_t qkv = p.qkv_stride != 0 ? p.qkv_stride : 3 * p.channels();
    const std::int64_t y = p.y_stride != 0 ? p.y_stride : p.channels();
    const cudnnDataType_t type = cudnn_type(p.type);
    const extents size{p.n, p.heads, p.tokens, p.head_channels};
    const extents qkv_strides{p.tokens * qkv, p.head_channels, qkv, 1};
    operation_graph graph(what);
    cudnn_descriptor operation(CUDNN_BACKEND_OPERATION_SDPA_FWD_DESCRIPTOR, what);
    operation.set(CUDNN_ATTR_OPERATION_SDPA_FWD_QDESC, graph.tensor(attention_ids::q, type, size, qkv_strides))
        .set(CUDNN_ATTR_OPERATION_SDPA_FWD_KDESC, graph.tensor(attention_ids::k, type, size, qkv_strides))
        .set(CUDNN_ATTR_OPERATION_SDPA_FWD_VDESC, graph.tensor(attention_ids::v, type, size, qkv_strides))
        .set(CUDNN_ATTR_OPERATION_SDPA_FWD_ODESC,
             graph.tensor(attention_ids::y, type, size, {p.tokens * y, p.head_channels, y, 1}))
        .set(CUDNN_ATTR_OPERATION_SDPA_FWD_SCALEDESC,
             graph.tensor(attention_ids::scale, CUDNN_DATA_FLOAT, {1, 1, 1, 1}, {1, 1, 1, 1},
                          operation_graph::tensor_kind::host_value))
        .finalize();
    graph.operation(std::move(operation));
    return graph;
}

/// Enqueues y = softmax(Q K^T / sqrt(head_channels)) V. qkv and y: in T, aligned to 16 bytes. workspace:
/// plan.workspace_bytes() bytes. Throws device_error.
inline void execute_attention(const execution_plan& plan, const cudnn_handle& handle, const attention_problem& p,
                              const void* qkv, void* y, void* workspace) {
    float scale = 1.0F / std::sqrt(static_cast<float>(p.head_channels));
    auto* const q = static_cast<std::byte*>(const_cast<void*>(qkv)); // cuDNN's interface asks for it; it only reads
    const auto third = static_cast<std::size_t>(p.channels() * bytes_of(p.type));
    const std::array<std::int64_t, 5> ids{attention_ids::q, attention_ids::k, attention_ids::v, attention_ids::y,
                                          attention_ids::scale};
    const std::array<void*, 5> pointers{q, q + third, q + 2 * third, y, &scale};
    plan.execute(handle, ids, pointers, workspace);
}

using attention_plans = plan_cache<attention_problem>;

} // namespace repaint::detail::cuda
