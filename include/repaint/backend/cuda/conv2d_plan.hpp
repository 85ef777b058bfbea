#pragma once

#include <algorithm>
#include <array>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <utility>

#include <repaint/backend/cuda/cudnn.hpp>
#include <repaint/backend/cuda/plan_store.hpp>

/// Convolutions by cuDNN: y = conv(x) + residual + bias in one kernel, and the same transposed. Channels of a pixel
/// together (NHWC) in T, weights OHWI in T, bias in T (the precompiled engines take no other), sums in float32. Each
/// kernel reads x, w and the residual and writes y; x as often as its tiles overlap.
namespace repaint::detail::cuda {

/// Elements from one image, row and pixel of a tensor to the next. All 0: without gaps.
struct pixel_strides {
    std::int64_t image = 0;
    std::int64_t row = 0;
    std::int64_t pixel = 0;

    auto operator<=>(const pixel_strides&) const = default;
};

/// One convolution. x: (n, in, h, w), y: (n, out, rows(), columns()).
struct conv2d_problem {
    element_type type = element_type::half;
    bool transposed = false; ///< the vector-Jacobian product: x is written, and y is read
    bool tf32 = false;       ///< float32: the factors of products may be rounded to ten bits after the point
    int n = 1;
    int h = 0;
    int w = 0;
    int in = 0;
    int out = 0;
    int kernel = 3; ///< rows and columns
    int stride = 1;
    int top = 0; ///< rows of zeros
    int left = 0;
    int bottom = 0;
    int right = 0;
    pixel_strides x = {};
    pixel_strides y = {};
    pixel_strides added = {}; ///< of the residual
    bool residual = false;
    bool bias = false;

    auto operator<=>(const conv2d_problem&) const = default;

    [[nodiscard]] int rows() const { return (h + top + bottom - kernel) / stride + 1; }
    [[nodiscard]] int columns() const { return (w + left + right - kernel) / stride + 1; }
};

/// With the same padding on all four sides.
inline conv2d_problem padded(conv2d_problem problem, int padding) {
    problem.top = problem.left = problem.bottom = problem.right = padding;
    return problem;
}

/// The strides of an (n, c, rows, columns) tensor whose pixels are `pixel` elements apart.
inline pixel_strides strides_of(std::int64_t rows, std::int64_t columns, std::int64_t pixel) {
    return {rows * columns * pixel, columns * pixel, pixel};
}

/// A 3x3 convolution, padding 1, of an image whose pixels all stand for two by two gives four 2x2 convolutions of the
/// image itself: this is the one of output rows 2 i + row and columns 2 j + column; row and column are 0 or 1. problem:
/// type, n, h, w, in, out, x, bias, of the image before it was doubled, and y.pixel when it is not `out`.
/// Its weights are sums of rows and columns of the 3x3: in phase 0 (first, second + third), in phase 1 (first + second,
/// third). y points to the pixel (row, column), doubled_offset elements after the first.
inline conv2d_problem doubled_phase(conv2d_problem problem, int row, int column) {
    const std::int64_t pixel = problem.y.pixel != 0 ? problem.y.pixel : problem.out;
    const pixel_strides whole = strides_of(2 * std::int64_t{problem.h}, 2 * std::int64_t{problem.w}, pixel);
    problem.kernel = 2;
    problem.stride = 1;
    problem.top = 1 - row;
    problem.bottom = row;
    problem.left = 1 - column;
    problem.right = column;
    problem.y = {whole.image, 2 * whole.row, 2 * whole.pixel};
    return problem;
}

/// Elements from the first pixel of y to the first that this phase writes.
inline std::int64_t doubled_offset(const conv2d_problem& phase) {
    return (phase.bottom * phase.y.row + phase.right * phase.y.pixel) / 2;
}

/// Why cuDNN is not asked for this problem; empty when it is.
inline std::string refusal(const conv2d_problem& p) {
    const std::string name =
        std::string("cuDNN's convolution of ") + std::to_string(p.in) + " to " + std::to_string(p.out) + " channels";
    if (p.n < 1 || p.h < 1 || p.w < 1 || p.in < 1 || p.out < 1 || p.kernel < 1 || p.stride < 1 ||
        std::min({p.top, p.left, p.bottom, p.right}) < 0 || p.rows() < 1 || p.columns() < 1 ||
        p.h + p.top + p.bottom < p.kernel || p.w + p.left + p.right < p.kernel) {
        return name + ": there is nothing to compute";
    }
    // Rows of sixteen bytes: without them cuDNN copies its inputs first, or takes its slowest engines.
    const std::int64_t vector = 16 / bytes_of(p.type);
    for (const std::int64_t elements : {std::int64_t{p.in}, std::int64_t{p.out}, p.x.image, p.x.row, p.x.pixel,
                                        p.y.image, p.y.row, p.y.pixel, p.added.image, p.added.row, p.added.pixel}) {
        if (elements % vector != 0) {
            return name + ": channels and strides must be multiples of " + std::to_string(vector) + ", found " +
                   std::to_string(elements);
        }
    }
    if (p.residual && !p.bias) {
        return name + ": a residual needs a bias (zeros will do), only then is there a precompiled engine";
    }
    if (p.transposed && (p.residual || p.bias)) {
        return name + ": transposed, it adds neither residual nor bias";
    }
    return {};
}

/// All of the problem in words: what plans are stored under.
inline std::string key(const conv2d_problem& p) {
    const auto strides = [](const char* name, const pixel_strides& s) {
        return s == pixel_strides{}
                   ? std::string()
                   : name + std::to_string(s.image) + " " + std::to_string(s.row) + " " + std::to_string(s.pixel);
    };
    std::string text = p.transposed ? "conv2d transposed " : "conv2d ";
    text += name_of(p.type);
    text += p.tf32 ? " tf32" : "";
    text += ", " + std::to_string(p.n) + " of " + std::to_string(p.h) + "x" + std::to_string(p.w);
    text += ", " + std::to_string(p.in) + " to " + std::to_string(p.out);
    text += ", kernel " + std::to_string(p.kernel) + ", stride " + std::to_string(p.stride);
    text += ", padding " + std::to_string(p.top) + " " + std::to_string(p.left) + " " + std::to_string(p.bottom) + " " +
            std::to_string(p.right);
    text += strides(", x ", p.x);
    text += strides(", y ", p.y);
    text += p.residual ? ", residual" : "";
    text += strides(" ", p.added);
    text += p.bias ? ", bias" : "";
    return text;
}

inline plan_limits limits_for(const conv2d_problem& p, plan_limits limits) {
    limits.tensor_cores = limits.tensor_cores && (p.type != element_type::float32 || p.tf32);
    return limits;
}

/// What the tensors of a convolution are called on execution.
struct conv2d_ids {
    static constexpr std::int64_t x = 1;
    static constexpr std::int64_t w = 2;
    static constexpr std::int64_t y = 3;
    static constexpr std::int64_t residual = 4;
    static constexpr std::int64_t bias = 5;
    static constexpr std::int64_t product = 6; ///< never in memory
    static constexpr std::int64_t sum = 7;     ///< of the product and the residual, never in memory
};

/// The operations in the order, and with the types between them, that the precompiled engines know: the convolution,
/// the residual, the bias.
inline operation_graph graph_of(const conv2d_problem& p) {
    constexpr const char* what = "cuDNN's convolution";
    using kind = operation_graph::tensor_kind;
    const auto strides = [](const pixel_strides& s, std::int64_t rows, std::int64_t columns,
                            std::int64_t channels) -> extents {
        const pixel_strides packed = s == pixel_strides{} ? strides_of(rows, columns, channels) : s;
        return {packed.image, 1, packed.row, packed.pixel};
    };
    const auto add = [](operation_graph& graph, const cudnn_descriptor& a, const cudnn_descriptor& b,
                        const cudnn_descriptor& sum) {
        cudnn_descriptor mode(CUDNN_BACKEND_POINTWISE_DESCRIPTOR, what);
        mode.set(CUDNN_ATTR_POINTWISE_MODE, CUDNN_POINTWISE_ADD)
            .set(CUDNN_ATTR_POINTWISE_MATH_PREC, CUDNN_DATA_FLOAT)
            .finalize();
        cudnn_descriptor operation(CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR, what);
        operation.set(CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR, graph.part(std::move(mode)))
            .set(CUDNN_ATTR_OPERATION_POINTWISE_XDESC, a)
            .set(CUDNN_ATTR_OPERATION_POINTWISE_BDESC, b)
            .set(CUDNN_ATTR_OPERATION_POINTWISE_YDESC, sum)
            .finalize();
        graph.operation(std::move(operation));
    };

    const cudnnDataType_t type = cudnn_type(p.type);
    const extents x_size{p.n, p.in, p.h, p.w};
    const extents y_size{p.n, p.out, p.rows(), p.columns()};
    const extents y_strides = strides(p.y, p.rows(), p.columns(), p.out);
    operation_graph graph(what);
    const cudnn_descriptor& x = graph.tensor(conv2d_ids::x, type, x_size, strides(p.x, p.h, p.w, p.in));
    const cudnn_descriptor& w =
        graph.tensor(conv2d_ids::w, type, {p.out, p.in, p.kernel, p.kernel}, strides({}, p.kernel, p.kernel, p.in));
    const cudnn_descriptor& y = graph.tensor(conv2d_ids::y, type, y_size, y_strides);

    cudnn_descriptor options(CUDNN_BACKEND_CONVOLUTION_DESCRIPTOR, what);
    const std::array<std::int64_t, 2> before{p.top, p.left};
    const std::array<std::int64_t, 2> after{p.bottom, p.right};
    const std::array<std::int64_t, 2> steps{p.stride, p.stride};
    const std::array<std::int64_t, 2> dilation{1, 1};
    options.set(CUDNN_ATTR_CONVOLUTION_COMP_TYPE, CUDNN_DATA_FLOAT)
        .set(CUDNN_ATTR_CONVOLUTION_CONV_MODE, CUDNN_CROSS_CORRELATION)
        .set(CUDNN_ATTR_CONVOLUTION_SPATIAL_DIMS, std::int64_t{2})
        .set_all(CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS, std::span<const std::int64_t>(before))
        .set_all(CUDNN_ATTR_CONVOLUTION_POST_PADDINGS, std::span<const std::int64_t>(after))
        .set_all(CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES, std::span<const std::int64_t>(steps))
        .set_all(CUDNN_ATTR_CONVOLUTION_DILATIONS, std::span<const std::int64_t>(dilation))
        .finalize();
    const cudnn_descriptor& conv = graph.part(std::move(options));

    if (p.transposed) {
        cudnn_descriptor operation(CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_DATA_DESCRIPTOR, what);
        operation.set(CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_CONV_DESC, conv)
            .set(CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_W, w)
            .set(CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DX, x)
            .set(CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DY, y)
            .set(CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_ALPHA, 1.0F)
            .set(CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_BETA, 0.0F)
            .finalize();
        graph.operation(std::move(operation));
        return graph;
    }

    const cudnn_descriptor* sum = &y;
    if (p.bias) {
        sum = &graph.tensor(conv2d_ids::product, CUDNN_DATA_FLOAT, y_size, y_strides, kind::passing);
    }
    cudnn_descriptor operation(CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR, what);
    operation.set(CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_CONV_DESC, conv)
        .set(CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_W, w)
        .set(CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_X, x)
        .set(CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_Y, *sum)
        .set(CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_ALPHA, 1.0F)
        .set(CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_BETA, 0.0F)
        .finalize();
    graph.operation(std::move(operation));
    if (p.residual) {
        const cudnn_descriptor& next =
            graph.tensor(conv2d_ids::sum, CUDNN_DATA_FLOAT, y_size, y_strides, kind::passing);
        add(graph, *sum,
            graph.tensor(conv2d_ids::residual, type, y_size,
                         p.added == pixel_strides{} ? strides({}, p.rows(), p.columns(), p.out)
                                                    : strides(p.added, 0, 0, 0)),
            next);
        sum = &next;
    }
    if (p.bias) {
        add(graph, *sum, graph.tensor(conv2d_ids::bias, type, {1, p.out, 1, 1}, {p.out, 1, p.out, p.out}), y);
    }
    return graph;
}

/// Enqueues y = conv(x) + residual + bias. x, w, residual, bias and y: in T, aligned to 16 bytes; residual and bias are
/// null when the problem has none; y overlaps none of them. workspace: plan.workspace_bytes() bytes. Throws
/// device_error.
inline void execute_conv2d(const execution_plan& plan, const cudnn_handle& handle, const void* x, const void* w,
                           const void* residual, const void* bias, void* y, void* workspace) {
    std::array<std::int64_t, 5> ids{};
    std::array<void*, 5> pointers{};
    std::size_t count = 0;
    const auto give = [&](std::int64_t id, const void* at) {
        if (at != nullptr) {
            ids[count] = id;
            pointers[count++] = const_cast<void*>(at); // what cuDNN's interface asks for; it only reads them
        }
    };
    give(conv2d_ids::x, x);
    give(conv2d_ids::w, w);
    give(conv2d_ids::residual, residual);
    give(conv2d_ids::bias, bias);
    give(conv2d_ids::y, y);
    plan.execute(handle, std::span(ids).first(count), std::span(pointers).first(count), workspace);
}

/// Enqueues dx = conv^T(dy), for a plan of a transposed problem. Throws device_error.
inline void execute_conv2d_vjp(const execution_plan& plan, const cudnn_handle& handle, const void* dy, const void* w,
                               void* dx, void* workspace) {
    execute_conv2d(plan, handle, dx, w, nullptr, nullptr, const_cast<void*>(dy), workspace);
}

using conv2d_plans = plan_cache<conv2d_problem>;

} // namespace repaint::detail::cuda
