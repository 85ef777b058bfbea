// How fast each primitive of basic_cuda_backend and each network is on a device, and how fast the device itself is.
//
//     cuda_benchmark [FILE] [--seconds N] [--only primitives|networks]
//     cuda_benchmark device
//     cuda_benchmark serve [--preset NAME] [--precision NAME] [--batch N] [--plans FILE] [--tune]
//
// Prints a line for each measurement, and appends an object of JSON for each to FILE. Shapes are those of the published
// 256x256 network, element types half. Primitives are replayed from CUDA graphs, as in a run; in one graph they rotate
// among buffers that are larger together than the L2 cache. serve: see tests/peers/bench_unet_gpu.py.
#include "cuda_benchmark.hpp"

#include <array>
#include <cstdint>
#include <cstdlib>
#include <exception>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include <repaint/backend/cuda/attention_direct.cuh>
#include <repaint/backend/cuda/attention_plan.hpp>
#include <repaint/backend/cuda/channel_statistics.cuh>
#include <repaint/backend/cuda/conv2d_direct.cuh>
#include <repaint/backend/cuda/conv2d_plan.hpp>
#include <repaint/backend/cuda/device.cuh>
#include <repaint/backend/cuda/diffusion.cuh>
#include <repaint/backend/cuda/graph.cuh>
#include <repaint/backend/cuda/group_norm.cuh>
#include <repaint/backend/cuda/group_norm_resident.cuh>
#include <repaint/backend/cuda/image_conv2d.cuh>
#include <repaint/backend/cuda/layout.cuh>
#include <repaint/backend/cuda/linear.cuh>
#include <repaint/backend/cuda/matmul_plan.hpp>
#include <repaint/backend/cuda/plan_store.hpp>
#include <repaint/backend/cuda/resize.cuh>
#include <repaint/backend/dry.hpp>
#include <repaint/diffusion/philox.hpp>
#include <repaint/diffusion/process.hpp>
#include <repaint/diffusion/tables.hpp>
#include <repaint/model/presets.hpp>
#include <repaint/model/unet.hpp>
#include <repaint/model/weight_map.hpp>

namespace benchmark {

namespace {

using namespace repaint::detail::cuda;
using repaint::activation;
using repaint::shape4;
using element = __half;

std::size_t bytes_of_elements(std::size_t count) { return count * sizeof(element); }

// ---- what the network asks for ---------------------------------------------------------------------------------------

/// A convolution of the network; `doubled`: of pixels that a nearest-neighbour doubling has just made.
struct conv_case {
    shape4 x;
    int out = 0;
    int kernel = 0;
    int stride = 1;
    int padding = 0;
    bool residual = false; ///< of the result's shape
    bool doubled = false;

    [[nodiscard]] auto order() const {
        return std::tuple(-x.h, -x.w, x.n, kernel, -x.c, -out, stride, padding, residual, doubled);
    }
    friend bool operator<(const conv_case& a, const conv_case& b) { return a.order() < b.order(); }
};

struct norm_case {
    shape4 x;
    bool operator<(const norm_case& o) const {
        return std::tuple(-x.h, -x.w, -x.c, x.n) < std::tuple(-o.x.h, -o.x.w, -o.x.c, o.x.n);
    }
};

struct attention_case {
    int tokens = 0;
    int heads = 0;
    int width = 0;
    bool operator<(const attention_case& o) const {
        return std::tuple(-tokens, heads, width) < std::tuple(-o.tokens, o.heads, o.width);
    }
};

/// A dry_backend that counts what a network asks for, by shape.
struct recording_backend : repaint::dry_backend {
    std::map<conv_case, int> convolutions;
    std::map<norm_case, int> norms;
    std::map<attention_case, int> attentions;
    std::map<std::pair<int, int>, int> linears; ///< in, out
    std::optional<shape4> just_doubled;

    void conv2d(const tensor& x, const conv2d_weights& w, const tensor* residual, const repaint::conv2d_options& o,
                tensor& y) {
        const shape4 s = x.shape();
        const shape4 k = w.shape();
        if (s.plane() == 1) {
            ++linears[{k.c, k.n}];
        } else {
            const bool doubled = just_doubled && *just_doubled == s && k.h == 3;
            const bool added = residual != nullptr && residual->shape() == y.shape();
            ++convolutions[{s, k.n, k.h, o.stride, o.padding, added, doubled}];
            if (doubled) {
                just_doubled.reset();
            }
        }
        dry_backend::conv2d(x, w, residual, o, y);
    }
    void group_norm(const tensor& x, const norm_weights& w, const tensor* scale_shift,
                    const repaint::group_norm_options& o, tensor& y) {
        ++norms[{x.shape()}];
        dry_backend::group_norm(x, w, scale_shift, o, y);
    }
    void attention(const tensor& qkv, int heads, tensor& y) {
        const shape4 s = y.shape();
        ++attentions[{static_cast<int>(s.plane()), heads, s.c / heads}];
        dry_backend::attention(qkv, heads, y);
    }
    [[nodiscard]] tensor resize(const tensor& x, repaint::resampling mode) {
        tensor y = dry_backend::resize(x, mode);
        if (mode == repaint::resampling::nearest_up && !just_doubled) {
            just_doubled = y.shape();
        }
        return y;
    }
};

recording_backend recorded(int batch) {
    const repaint::model_preset preset = repaint::find_preset("guided-256");
    recording_backend b;
    repaint::weight_map weights([](const std::string&, const shape4& shape) {
        return repaint::host_weights{shape, nullptr};
    });
    const repaint::unet<recording_backend> network(b, preset.network, weights);
    const auto e = network.embed(b, 0.0F);
    const auto x = b.allocate({batch, 3, preset.image_size, preset.image_size});
    (void)network(b, x, e);
    return b;
}

// ---- memory ----------------------------------------------------------------------------------------------------------

template <class T> __global__ void fill_normal_kernel(T* to, std::size_t groups, std::uint64_t seed) {
    const std::size_t step = std::size_t{blockDim.x} * gridDim.x;
    for (std::size_t i = std::size_t{blockIdx.x} * blockDim.x + threadIdx.x; i < groups; i += step) {
        const repaint::detail::philox_normals z = repaint::detail::philox_normal_group(seed, 0, i);
        to[4 * i] = from_float<T>(z.a);
        to[4 * i + 1] = from_float<T>(z.b);
        to[4 * i + 2] = from_float<T>(z.c);
        to[4 * i + 3] = from_float<T>(z.d);
    }
}

/// Device memory that is handed out piece by piece, and all at once again.
class buffers {
public:
    explicit buffers(std::size_t bytes) : bytes_(bytes) { check(cudaMalloc(&begin_, bytes), "memory to measure with"); }
    buffers(const buffers&) = delete;
    buffers& operator=(const buffers&) = delete;
    ~buffers() { (void)cudaFree(begin_); }

    /// N(0, 1) everywhere.
    template <class T> void fill(cudaStream_t stream) {
        launch("fill", fill_normal_kernel<T>, dim3(4096), 256, 0, stream, static_cast<T*>(begin_),
               bytes_ / sizeof(T) / 4, std::uint64_t{7});
    }

    void start_again() { used_ = 0; }
    [[nodiscard]] std::size_t bytes() const { return bytes_; }
    [[nodiscard]] std::size_t left() const { return bytes_ - used_; }

    template <class T> [[nodiscard]] T* take(std::size_t count) {
        const std::size_t bytes = (count * sizeof(T) + 255) / 256 * 256;
        if (bytes > left()) {
            throw repaint::device_error("the benchmark's buffers of " + std::to_string(bytes_ >> 20U) +
                                        " MB are too small");
        }
        T* const at = reinterpret_cast<T*>(static_cast<std::byte*>(begin_) + used_);
        used_ += bytes;
        return at;
    }

private:
    void* begin_ = nullptr;
    std::size_t bytes_;
    std::size_t used_ = 0;
};

// ---- time ------------------------------------------------------------------------------------------------------------

/// Everything that the measurements share.
struct bench {
    device on;
    results* to;
    buffers halves;  ///< inputs in half, never written
    buffers floats;  ///< the same in float
    buffers written; ///< results
    buffers workspace;
    cudnn_handle cudnn;
    cublaslt_handle cublaslt;
    device_properties properties;
    plan_store store;
    conv2d_plans conv2d;
    attention_plans attention;
    matmul_plans matmul;

    explicit bench(results& r)
        : on(0), to(&r), halves(std::size_t{2200} << 20U), floats(std::size_t{1100} << 20U),
          written(std::size_t{2200} << 20U), workspace(std::size_t{64} << 20U), cudnn(on.stream()),
          properties(device_properties::of_device(0)),
          store({repaint::detail::cuda::cudnn().version(), repaint::detail::cuda::cublaslt().version(), on.name(),
                 on.properties().multiProcessorCount}),
          conv2d(properties, store), attention(properties, store), matmul(cublaslt, store) {
        halves.fill<element>(stream());
        floats.fill<float>(stream());
        written.fill<element>(stream());
        check(cudaStreamSynchronize(stream()), "filling the benchmark's buffers");
    }

    [[nodiscard]] cudaStream_t stream() const { return on.stream(); }
    [[nodiscard]] void* scratch() {
        workspace.start_again();
        return workspace.take<std::byte>(workspace.bytes());
    }

    /// Sets of buffers of `bytes` each that are larger together than the L2 cache, as far as the memory goes.
    [[nodiscard]] int sets(std::size_t read, std::size_t wrote, const buffers& inputs) const {
        const auto cache = static_cast<std::size_t>(std::max(on.properties().l2CacheSize, 1 << 20));
        std::size_t count = 1 + 2 * cache / std::max<std::size_t>(read + wrote, 1);
        count = std::min(count, inputs.bytes() / std::max<std::size_t>(read, 1));
        count = std::min(count, written.bytes() / std::max<std::size_t>(wrote, 1));
        return static_cast<int>(std::clamp<std::size_t>(count, 1, 48));
    }

    /// Microseconds of enqueue(i), i = 0 ... sets - 1 in turn, in a CUDA graph: the median of 20 replays.
    template <class F> [[nodiscard]] spread time(int sets, F&& enqueue) {
        constexpr double least = 400.0; // microseconds of a replay
        device_event begin;
        device_event end;
        enqueue(0); // loads the kernels
        begin.record(stream());
        for (int i = 0; i < sets; ++i) {
            enqueue(i);
        }
        end.record(stream());
        const double each = std::max(end.microseconds_since(begin) / sets, 0.5);
        const int rounds = std::max(1, std::min(128 / sets, static_cast<int>(least / (each * sets)) + 1));
        const int calls = each > least ? 1 : rounds * sets;
        const auto all = [&] {
            for (int i = 0; i < calls; ++i) {
                enqueue(i % sets);
            }
        };
        recorded_work graph;
        try {
            graph = recorded_work::of(stream(), all);
        } catch (const repaint::device_error&) { // then without one
        }
        const auto replay = [&] {
            if (graph) {
                graph.enqueue(stream());
            } else {
                all();
            }
        };
        replay();
        replay();
        std::vector<double> times;
        const int replays = each * calls > 2e4 ? 7 : 20; // more than 20 ms each
        for (int i = 0; i < replays; ++i) {
            begin.record(stream());
            replay();
            end.record(stream());
            times.push_back(end.microseconds_since(begin) / calls);
        }
        return spread_of(times);
    }

    /// How plans are measured. runs: of each.
    [[nodiscard]] tuning measuring(int runs) {
        tuning how;
        how.stream = stream();
        how.workspace = scratch();
        how.workspace_bytes = workspace.bytes();
        how.flush_bytes = 2 * static_cast<std::size_t>(std::max(on.properties().l2CacheSize, 0));
        written.start_again();
        how.flush = written.take<std::byte>(how.flush_bytes);
        how.runs = runs;
        return how;
    }
};

std::string size_text(const shape4& s) {
    std::string text = std::to_string(s.n) + " x ";
    text += std::to_string(s.h) + "x" + std::to_string(s.w) + " x ";
    return text + std::to_string(s.c);
}

// ---- the device itself -----------------------------------------------------------------------------------------------

void ceilings(bench& b) {
    constexpr std::size_t bytes = std::size_t{1000} << 20U;
    b.halves.start_again();
    b.written.start_again();
    const auto* const from = b.halves.take<element>(bytes / sizeof(element));
    auto* const to = b.written.take<element>(bytes / sizeof(element));
    const spread by_runtime =
        b.time(1, [&](int) { check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToDevice, b.stream()), "copy"); });
    b.to->add("copy", "cudaMemcpyAsync, 1000 MB", by_runtime, 2.0 * bytes, 0.0);
    const spread by_kernel = b.time(1, [&](int) {
        copy_rows(from, 1024, bytes / sizeof(element) / 1024, bytes / sizeof(element) / 1024, to, b.stream());
    });
    b.to->add("copy", "own kernel, 1000 MB", by_kernel, 2.0 * bytes, 0.0);
    b.to->copy_rate = 2.0 * bytes / std::min(by_runtime.median, by_kernel.median) * 1e-3;

    constexpr int side = 8192;
    matmul_problem p;
    p.pixels = side;
    p.in = side;
    p.out = side;
    b.halves.start_again();
    b.written.start_again();
    const auto* const x = b.halves.take<element>(std::size_t{side} * side);
    const auto* const w = b.halves.take<element>(std::size_t{side} * side);
    const auto how = b.measuring(3);
    auto* const y = b.written.take<element>(std::size_t{side} * side);
    const auto run = [&](matmul_plan& plan) {
        plan.execute(b.cublaslt, x, w, nullptr, nullptr, y, how.workspace, b.stream());
    };
    const double flops = 2.0 * side * side * side;
    double best = 0.0;
    for (const bool tuned : {false, true}) {
        matmul_plan* const plan = tuned ? b.matmul.tune(p, how, run) : b.matmul.find(p);
        if (plan == nullptr) {
            b.to->skip("matmul", "half, 8192 x 8192 x 8192", "cuBLASLt has no plan");
            return;
        }
        const spread us = b.time(1, [&](int) { run(*plan); });
        b.to->add("matmul", std::string("half, 8192 x 8192 x 8192, ") + (tuned ? "measured" : "expected best"), us, 0.0,
                  flops);
        best = std::max(best, flops / us.median * 1e-6);
    }
    b.to->matmul_rate = best;
    b.to->add(
        record().text("kind", "ceilings").value("copy_gb_per_s", b.to->copy_rate).value("matmul_tflop_per_s", best));
}

__global__ void tiny_kernel(float* x) { *x = *x * 0.5F + 1.0F; }

void launch_gap(bench& b) {
    constexpr int kernels = 300;
    b.written.start_again();
    auto* const x = b.written.take<float>(1);
    const auto all = [&] {
        for (int i = 0; i < kernels; ++i) {
            launch("tiny", tiny_kernel, dim3(1), 1, 0, b.stream(), x);
        }
    };
    device_event begin;
    device_event end;
    const auto timed = [&](auto&& enqueue) {
        std::vector<double> times;
        for (int i = 0; i < 22; ++i) {
            begin.record(b.stream());
            enqueue();
            end.record(b.stream());
            const double us = end.microseconds_since(begin) / kernels;
            if (i > 1) {
                times.push_back(us);
            }
        }
        return spread_of(times);
    };
    const recorded_work graph = recorded_work::of(b.stream(), all);
    b.to->add("launch", "one of 300 dependent kernels in a graph", timed([&] { graph.enqueue(b.stream()); }), 0.0, 0.0);
    b.to->add("launch", "one of 300 kernels launched one by one", timed(all), 0.0, 0.0);
}

// ---- convolutions ----------------------------------------------------------------------------------------------------

std::string name_of_conv(const conv_case& c) {
    std::string text = size_text(c.x) + " -> " + std::to_string(c.out) + ", " + std::to_string(c.kernel) + "x" +
                       std::to_string(c.kernel);
    text += c.stride > 1 ? ", stride " + std::to_string(c.stride) : "";
    text += c.residual ? ", residual" : "";
    return text;
}

conv2d_problem problem_of(const conv_case& c) {
    conv2d_problem p;
    p.n = c.x.n;
    p.h = c.x.h;
    p.w = c.x.w;
    p.in = c.x.c;
    p.out = c.out;
    p.kernel = c.kernel;
    p.stride = c.stride;
    p.residual = c.residual;
    p.bias = true;
    return padded(p, c.padding);
}

double flops_of(const conv2d_problem& p) {
    return 2.0 * p.n * p.rows() * p.columns() * p.out * static_cast<double>(p.in) * p.kernel * p.kernel;
}

/// One set of a convolution's tensors.
struct conv_tensors {
    const element* x;
    const element* w;
    const element* residual;
    const element* bias;
    element* y;
};

std::vector<conv_tensors> tensors_for(bench& b, std::size_t x, std::size_t w, std::size_t residual, std::size_t out,
                                      std::size_t y) {
    b.halves.start_again();
    b.written.start_again();
    const std::size_t read = bytes_of_elements(x + w + residual + out) + 1024;
    std::vector<conv_tensors> all;
    for (int i = b.sets(read, bytes_of_elements(y) + 256, b.halves); i > 0; --i) {
        all.push_back({b.halves.take<element>(x), b.halves.take<element>(w),
                       residual == 0 ? nullptr : b.halves.take<element>(residual), b.halves.take<element>(out),
                       b.written.take<element>(y)});
    }
    return all;
}

/// Adds a convolution's time with the plan that is expected to be the fastest, and with the one that is.
void convolution(bench& b, const conv_case& c, int count) {
    const conv2d_problem p = problem_of(c);
    const std::string name = name_of_conv(c);
    const std::size_t result = static_cast<std::size_t>(p.n) * static_cast<std::size_t>(p.rows()) *
                               static_cast<std::size_t>(p.columns()) * static_cast<std::size_t>(p.out);
    const std::size_t weights = static_cast<std::size_t>(p.in) * static_cast<std::size_t>(p.out) *
                                static_cast<std::size_t>(p.kernel) * static_cast<std::size_t>(p.kernel);
    const auto size = [&] {
        return tensors_for(b, c.x.size(), weights, p.residual ? result : 0, static_cast<std::size_t>(p.out), result);
    };
    double before = 0.0;
    for (const bool tuned : {false, true}) {
        const execution_plan* plan = b.conv2d.find(p);
        if (plan == nullptr) {
            b.to->skip("conv2d", name, b.conv2d.why_not(p));
            return;
        }
        if (tuned) {
            const auto how = b.measuring(c.x.n > 1 ? 3 : 7);
            b.halves.start_again();
            const auto* const x = b.halves.take<element>(c.x.size());
            const auto* const w = b.halves.take<element>(weights);
            const auto* const residual = p.residual ? b.halves.take<element>(result) : nullptr;
            const auto* const bias = b.halves.take<element>(static_cast<std::size_t>(p.out));
            auto* const y = b.written.take<element>(result);
            plan = b.conv2d.tune(p, how, [&](const execution_plan& each) {
                execute_conv2d(each, b.cudnn, x, w, residual, bias, y, how.workspace);
            });
        }
        const auto sets = size();
        void* const workspace = b.scratch();
        const spread us = b.time(static_cast<int>(sets.size()), [&](int i) {
            const conv_tensors& t = sets[static_cast<std::size_t>(i)];
            execute_conv2d(*plan, b.cudnn, t.x, t.w, t.residual, t.bias, t.y, workspace);
        });
        record more;
        more.value("batch", c.x.n).value("size", c.x.h).value("count", count).value("tuned", tuned ? 1.0 : 0.0);
        more.value("engine", static_cast<double>(plan->engine()));
        if (tuned) {
            more.value("gain", before / us.median);
        }
        before = us.median;
        b.to->add("conv2d", name + (tuned ? ", measured" : "") + ", engine " + std::to_string(plan->engine()), us, 0.0,
                  flops_of(p), more);
    }
}

/// A 1x1 convolution as the product that it is.
void pointwise(bench& b, const conv_case& c, int count) {
    matmul_problem p;
    p.pixels = static_cast<std::int64_t>(c.x.n) * static_cast<std::int64_t>(c.x.plane());
    p.in = c.x.c;
    p.out = c.out;
    p.residual = c.residual;
    p.bias = true;
    const auto result = static_cast<std::size_t>(p.pixels) * static_cast<std::size_t>(p.out);
    const std::size_t weights = static_cast<std::size_t>(p.in) * static_cast<std::size_t>(p.out);
    for (const bool tuned : {false, true}) {
        matmul_plan* plan = b.matmul.find(p);
        if (plan == nullptr) {
            b.to->skip("matmul", name_of_conv(c), "cuBLASLt has no plan");
            return;
        }
        if (tuned) {
            const auto how = b.measuring(5);
            b.halves.start_again();
            const auto* const x = b.halves.take<element>(c.x.size());
            const auto* const w = b.halves.take<element>(weights);
            const auto* const residual = p.residual ? b.halves.take<element>(result) : nullptr;
            const auto* const bias = b.halves.take<element>(static_cast<std::size_t>(p.out));
            auto* const y = b.written.take<element>(result);
            plan = b.matmul.tune(p, how, [&](matmul_plan& each) {
                each.execute(b.cublaslt, x, w, residual, bias, y, how.workspace, b.stream());
            });
        }
        const auto sets =
            tensors_for(b, c.x.size(), weights, p.residual ? result : 0, static_cast<std::size_t>(p.out), result);
        void* const workspace = b.scratch();
        const spread us = b.time(static_cast<int>(sets.size()), [&](int i) {
            const conv_tensors& t = sets[static_cast<std::size_t>(i)];
            plan->execute(b.cublaslt, t.x, t.w, t.residual, t.bias, t.y, workspace, b.stream());
        });
        record more;
        more.value("batch", c.x.n).value("size", c.x.h).value("count", count).value("tuned", tuned ? 1.0 : 0.0);
        const std::size_t moved = c.x.size() + weights + result * (p.residual ? 2 : 1);
        b.to->add("matmul", name_of_conv(c) + (tuned ? ", measured" : ""), us,
                  static_cast<double>(bytes_of_elements(moved)), 2.0 * static_cast<double>(p.pixels) * p.in * p.out,
                  more);
    }
}

/// A 3x3 convolution of doubled pixels: four convolutions of the small image, or doubling and one large convolution.
void doubled(bench& b, const conv_case& c, int count) {
    const shape4 small{c.x.n, c.x.c, c.x.h / 2, c.x.w / 2};
    const std::string name = size_text(small) + " -> " + std::to_string(c.out) + ", doubled, 3x3";
    conv2d_problem p;
    p.n = small.n;
    p.h = small.h;
    p.w = small.w;
    p.in = small.c;
    p.out = c.out;
    p.bias = true;
    const std::size_t result = c.x.size() / static_cast<std::size_t>(c.x.c) * static_cast<std::size_t>(c.out);
    const std::size_t of_phase = static_cast<std::size_t>(c.out) * 4 * static_cast<std::size_t>(small.c);
    const double flops = flops_of(problem_of(c)); // of the plain way, whichever is taken
    std::array<const execution_plan*, 4> plans{};
    std::array<conv2d_problem, 4> phases{};
    for (int i = 0; i < 4; ++i) {
        phases[static_cast<std::size_t>(i)] = doubled_phase(p, i / 2, i % 2);
        plans[static_cast<std::size_t>(i)] = b.conv2d.find(phases[static_cast<std::size_t>(i)]);
        if (plans[static_cast<std::size_t>(i)] == nullptr) {
            b.to->skip("doubled", name, b.conv2d.why_not(phases[static_cast<std::size_t>(i)]));
            return;
        }
    }
    record more;
    more.value("batch", c.x.n).value("size", c.x.h).value("count", count);
    auto sets = tensors_for(b, small.size(), 4 * of_phase, 0, static_cast<std::size_t>(c.out), result);
    void* workspace = b.scratch();
    const spread folded = b.time(static_cast<int>(sets.size()), [&](int i) {
        const conv_tensors& t = sets[static_cast<std::size_t>(i)];
        for (std::size_t k = 0; k < 4; ++k) {
            execute_conv2d(*plans[k], b.cudnn, t.x, t.w + k * of_phase, nullptr, t.bias,
                           t.y + doubled_offset(phases[k]), workspace);
        }
    });
    b.to->add("doubled", name + ", four phases", folded, 0.0, flops, more);

    const conv2d_problem plain = problem_of(c);
    const execution_plan* const plan = b.conv2d.find(plain);
    if (plan == nullptr) {
        b.to->skip("doubled", name + ", plain", b.conv2d.why_not(plain));
        return;
    }
    sets = tensors_for(b, small.size(), static_cast<std::size_t>(plain.in) * static_cast<std::size_t>(c.out) * 9, 0,
                       static_cast<std::size_t>(c.out), result + c.x.size());
    workspace = b.scratch();
    const spread large = b.time(static_cast<int>(sets.size()), [&](int i) {
        const conv_tensors& t = sets[static_cast<std::size_t>(i)];
        element* const between = t.y + result;
        nearest_up(t.x, small, between, b.stream());
        execute_conv2d(*plan, b.cudnn, between, t.w, nullptr, t.bias, t.y, workspace);
    });
    more.value("gain_of_phases", large.median / folded.median);
    b.to->add("doubled", name + ", plain", large, 0.0, flops, more);
}

/// The first and the last convolution, and one of the kernels for shapes that libraries refuse.
void own_convolutions(bench& b, int batch) {
    const shape4 image{batch, 3, 256, 256};
    const shape4 features{batch, 256, 256, 256};
    const repaint::conv2d_options options{.padding = 1};
    for (const bool first : {true, false}) {
        b.halves.start_again();
        b.floats.start_again();
        b.written.start_again();
        const int out = first ? 256 : 6;
        const std::size_t weights = static_cast<std::size_t>(out) * 9 * static_cast<std::size_t>(first ? 3 : 256);
        const auto* const w = b.floats.take<float>(weights);
        const auto* const bias = b.floats.take<float>(256);
        record more;
        more.value("batch", batch);
        if (first) {
            const auto* const x = b.floats.take<float>(image.size());
            auto* const y = b.written.take<element>(features.size());
            const spread us = b.time(1, [&](int) {
                conv2d_from_image(x, image, w, {256, 3, 3, 3}, bias, conv2d_residual<element>{}, options, y,
                                  b.stream());
            });
            b.to->add("image conv", size_text(image) + " -> 256, 3x3", us,
                      static_cast<double>(image.size() * sizeof(float) + bytes_of_elements(features.size())),
                      2.0 * 27.0 * static_cast<double>(features.size()), more);
        } else {
            const auto* const x = b.halves.take<element>(features.size());
            auto* const y = b.written.take<float>(2 * image.size());
            const spread us = b.time(1, [&](int) {
                conv2d_to_image(part<element>{x, 256, 256}, features, w, {6, 256, 3, 3}, bias, conv2d_residual<float>{},
                                options, y, b.stream());
            });
            b.to->add("image conv", size_text(features) + " -> 6, 3x3", us,
                      static_cast<double>(2 * image.size() * sizeof(float) + bytes_of_elements(features.size())),
                      2.0 * 9.0 * 256.0 * 2.0 * static_cast<double>(image.size()), more);
        }
    }
    if (batch == 1) {
        const conv_case c{{1, 256, 64, 64}, 256, 3, 1, 1, false, false};
        const auto sets = tensors_for(b, c.x.size(), 256 * 256 * 9, 0, 256, c.x.size());
        b.floats.start_again();
        const auto* const bias = b.floats.take<float>(256);
        const spread us = b.time(static_cast<int>(sets.size()), [&](int i) {
            const conv_tensors& t = sets[static_cast<std::size_t>(i)];
            conv2d_direct(part<element>{t.x, 256, 256}, c.x, t.w, {256, 256, 3, 3}, bias, conv2d_residual<element>{},
                          {.padding = 1}, t.y, b.stream());
        });
        b.to->add("own conv", name_of_conv(c), us, 0.0, flops_of(problem_of(c)), record().value("batch", 1));
    }
}

// ---- normalisation ---------------------------------------------------------------------------------------------------

void group_norms(bench& b, const norm_case& c, int count) {
    const int images = c.x.n;
    const int pixels = static_cast<int>(c.x.plane());
    const repaint::group_norm_options options{.groups = 32, .then = activation::silu};
    const std::size_t size = bytes_of_elements(c.x.size());
    const int sets = b.sets(size, size, b.halves);
    b.halves.start_again();
    b.written.start_again();
    b.floats.start_again();
    std::vector<part<element>> x;
    std::vector<element*> y;
    for (int i = 0; i < sets; ++i) {
        x.push_back({b.halves.take<element>(c.x.size()), c.x.c, c.x.c});
        y.push_back(b.written.take<element>(c.x.size()));
    }
    const part<element> none{nullptr, 0, 0};
    const auto channels = static_cast<std::size_t>(c.x.c);
    const auto of_images = static_cast<std::size_t>(images);
    const modulation m{b.floats.take<float>(channels), b.floats.take<float>(channels),
                       b.floats.take<float>(2 * channels * of_images), 2 * static_cast<std::ptrdiff_t>(c.x.c)};
    // Scratch and moments are small: they lie beside the workspace of libraries, which is not used here.
    b.workspace.start_again();
    auto* const moments = b.workspace.take<channel_moments>(channels * of_images);
    auto* const partial = b.workspace.take<float>(channel_statistics_scratch(images, pixels, c.x.c) + 1);
    const auto at = [](auto& all, int i) { return all[static_cast<std::size_t>(i)]; };
    const auto more = [&](const char* way) {
        record r;
        r.value("batch", images).value("size", c.x.h).value("count", count).text("way", way);
        r.value("tensor_bytes", static_cast<double>(size));
        r.value("larger_than_l2", size > static_cast<std::size_t>(b.on.properties().l2CacheSize) ? 1.0 : 0.0);
        return r;
    };
    const std::string name = size_text(c.x);
    const auto apply = [&](int i) {
        normalise(measured_part<element>{at(x, i), moments}, measured_part<element>{none, nullptr}, images, c.x.h,
                  c.x.w, m, options, false, at(y, i), b.stream());
    };
    const spread statistics =
        b.time(sets, [&](int i) { channel_statistics(at(x, i), images, pixels, partial, moments, b.stream()); });
    b.to->add("group norm", name + ", statistics", statistics, static_cast<double>(size), 0.0, more("statistics"));
    b.to->add("group norm", name + ", apply", b.time(sets, apply), 2.0 * static_cast<double>(size), 0.0, more("apply"));
    const spread both = b.time(sets, [&](int i) {
        channel_statistics(at(x, i), images, pixels, partial, moments, b.stream());
        apply(i);
    });
    b.to->add("group norm", name + ", statistics and apply", both, 3.0 * static_cast<double>(size), 0.0, more("both"));

    const cudaDeviceProp& p = b.on.properties();
    const residency device{p.multiProcessorCount, p.sharedMemPerMultiprocessor, p.sharedMemPerBlockOptin,
                           p.reservedSharedMemPerBlock};
    const resident_plan plan =
        plan_resident<element>(c.x.h, c.x.w, c.x.c, options.groups, vectorised(x[0], none, y[0]), false, device);
    if (!plan.fits()) {
        return;
    }
    auto* const scratch = b.workspace.take<float>(plan.scratch(images) + 1);
    auto* const barriers = b.workspace.take<grid_barrier>(static_cast<std::size_t>(plan.barriers()) + 1);
    check(cudaMemsetAsync(barriers, 0, (static_cast<std::size_t>(plan.barriers()) + 1) * sizeof(grid_barrier),
                          b.stream()),
          "barriers");
    const spread once = b.time(sets, [&](int i) {
        normalise_resident(unmeasured_part<element>{at(x, i), moments}, unmeasured_part<element>{none, nullptr}, images,
                           c.x.h, c.x.w, m, options, false, plan, scratch, barriers, at(y, i), b.stream());
    });
    b.to->add("group norm", name + ", one pass", once, 2.0 * static_cast<double>(size), 0.0,
              more("one pass").value("gain", both.median / once.median));
}

// ---- the rest --------------------------------------------------------------------------------------------------------

void attentions(bench& b, const attention_case& c, int count, int batch) {
    attention_problem p;
    p.n = batch;
    p.heads = c.heads;
    p.head_channels = c.width;
    p.tokens = c.tokens;
    const auto size =
        static_cast<std::size_t>(batch) * static_cast<std::size_t>(c.tokens) * static_cast<std::size_t>(p.channels());
    std::string name = std::to_string(batch) + " x " + std::to_string(c.tokens) + " tokens, ";
    name += std::to_string(c.heads) + " heads of " + std::to_string(c.width);
    const double flops = 4.0 * static_cast<double>(size) * c.tokens;
    const auto sets = tensors_for(b, 3 * size, 0, 0, 0, size);
    const auto add = [&](const std::string& way, auto&& enqueue) {
        const spread us =
            b.time(static_cast<int>(sets.size()), [&](int i) { enqueue(sets[static_cast<std::size_t>(i)]); });
        record more;
        more.value("batch", batch).value("count", count).text("way", way);
        b.to->add("attention", name + ", " + way, us, 0.0, flops, more);
    };
    if (const execution_plan* const plan = b.attention.find(p)) {
        void* const workspace = b.scratch();
        add("cuDNN", [&](const conv_tensors& t) { execute_attention(*plan, b.cudnn, p, t.x, t.y, workspace); });
    } else {
        b.to->skip("attention", name + ", cuDNN", b.attention.why_not(p));
    }
    add("own", [&](const conv_tensors& t) {
        attention_direct(t.x, {batch, c.tokens, c.heads, c.width}, t.y, b.stream());
    });
}

void linears(bench& b, int in, int out, int count) {
    const std::size_t weights = static_cast<std::size_t>(in) * static_cast<std::size_t>(out);
    const auto sets = tensors_for(b, 0, weights, 0, 0, 2 * static_cast<std::size_t>(out));
    b.floats.start_again();
    const auto* const x = b.floats.take<float>(static_cast<std::size_t>(in));
    const auto* const bias = b.floats.take<float>(static_cast<std::size_t>(out));
    const spread us = b.time(static_cast<int>(sets.size()), [&](int i) {
        const conv_tensors& t = sets[static_cast<std::size_t>(i)];
        linear(x, 1, in, t.w, out, bias, nullptr, false, activation::none, reinterpret_cast<float*>(t.y), b.stream());
    });
    b.to->add("linear", std::to_string(in) + " -> " + std::to_string(out), us,
              static_cast<double>(bytes_of_elements(weights)), 0.0, record().value("count", count));
}

void resizes(bench& b, int batch) {
    for (const int side : {128, 64}) {
        const shape4 s{batch, side == 128 ? 256 : 512, side, side};
        const auto sets = tensors_for(b, s.size(), 0, 0, 0, 4 * s.size());
        record more;
        more.value("batch", batch);
        const spread up = b.time(static_cast<int>(sets.size()), [&](int i) {
            nearest_up(sets[static_cast<std::size_t>(i)].x, s, sets[static_cast<std::size_t>(i)].y, b.stream());
        });
        b.to->add("resize", size_text(s) + ", nearest up", up, 5.0 * static_cast<double>(bytes_of_elements(s.size())),
                  0.0, more);
        const spread down = b.time(static_cast<int>(sets.size()), [&](int i) {
            average_down(sets[static_cast<std::size_t>(i)].x, s, sets[static_cast<std::size_t>(i)].y, b.stream());
        });
        b.to->add("resize", size_text(s) + ", average down", down,
                  1.25 * static_cast<double>(bytes_of_elements(s.size())), 0.0, more);
    }
}

void diffusion_steps(bench& b, int batch) {
    const shape4 s{batch, 3, 256, 256};
    const std::size_t size = s.size() / static_cast<std::size_t>(s.n);
    const auto image = static_cast<double>(s.size() * sizeof(float));
    const repaint::diffusion_process process{repaint::noise_schedule::linear().respaced("250")};
    const repaint::posterior step = process.reverse(100);
    const repaint::mixing marginal = process.marginal(100);
    const int sets = b.sets(4 * s.size() * sizeof(float), s.size() * sizeof(float), b.floats);
    b.floats.start_again();
    b.written.start_again();
    std::vector<const float*> predictions;
    std::vector<float*> x;
    const auto* const known = b.floats.take<float>(s.size());
    const auto* const keep = b.floats.take<float>(s.plane());
    for (int i = 0; i < sets; ++i) {
        predictions.push_back(b.floats.take<float>(2 * s.size()));
        x.push_back(b.written.take<float>(s.size()));
    }
    b.workspace.start_again();
    auto* const seeds = b.workspace.take<std::uint64_t>(static_cast<std::size_t>(batch));
    check(cudaMemsetAsync(seeds, 7, static_cast<std::size_t>(batch) * sizeof(std::uint64_t), b.stream()), "seeds");
    const auto add = [&](const std::string& what, double bytes, auto&& enqueue) {
        const spread us = b.time(sets, [&](int i) { enqueue(static_cast<std::size_t>(i)); });
        b.to->add("diffusion", size_text(s) + ", " + what, us, bytes, 0.0, record().value("batch", batch));
    };
    std::uint64_t draw = 0;
    add("normal", image, [&](std::size_t i) { normal(seeds, ++draw, s.n, size, x[i], b.stream()); });
    add("reverse step and draw", 4.0 * image, [&](std::size_t i) {
        reverse_step_with_draw(x[i], predictions[i], 2 * size, seeds, ++draw, step, nullptr, nullptr, s.n, size,
                               b.stream());
    });
    add("merge and draw", 2.0 * image + image / batch * 4.0 / 3.0, [&](std::size_t i) {
        merge_with_draw(x[i], s, {known, 1, keep, 1, 1}, seeds, ++draw, marginal, b.stream());
    });
    add("forward step and draw", 2.0 * image,
        [&](std::size_t i) { forward_step_with_draw(x[i], seeds, ++draw, marginal, s.n, size, b.stream()); });
}

// ---- all of it -------------------------------------------------------------------------------------------------------

/// Calls f unless the time is over; an error of one measurement is said and does not end the others.
template <class F> void measure(results& to, const clock& time, double until, const std::string& what, F&& f) {
    if (time.seconds() > until) {
        to.skip("primitive", what, "no time left");
        return;
    }
    try {
        f();
    } catch (const repaint::error& failed) {
        to.skip("primitive", what, failed.what());
        check(cudaDeviceSynchronize(), what.c_str()); // a device that has failed ends all
    }
}

void primitives(results& to, const clock& time, double until) {
    bench b(to);
    const auto part_of = [&](const std::string& what, auto&& f) { measure(to, time, until, what, f); };
    part_of("the device", [&] { ceilings(b); });
    part_of("launches", [&] { launch_gap(b); });
    for (const int batch : {1, 16}) {
        const recording_backend network = recorded(batch);
        part_of("own convolutions", [&] { own_convolutions(b, batch); });
        part_of("resizing", [&] { resizes(b, batch); });
        for (const auto& [norm, count] : network.norms) {
            part_of(size_text(norm.x), [&, &c = norm, n = count] { group_norms(b, c, n); });
        }
        for (const auto& [attention, count] : network.attentions) {
            part_of("attention", [&, &c = attention, n = count] { attentions(b, c, n, batch); });
        }
        if (batch == 1) {
            for (const auto& [sizes, count] : network.linears) {
                part_of("linear", [&, s = sizes, n = count] { linears(b, s.first, s.second, n); });
            }
        }
        for (const auto& [conv, count] : network.convolutions) {
            part_of(name_of_conv(conv), [&, &c = conv, n = count] {
                if (c.x.c < 8 || c.out < 8) {
                    return; // among the own ones
                }
                if (c.kernel == 1) {
                    pointwise(b, c, n);
                    return;
                }
                convolution(b, c, n);
                if (c.doubled) {
                    doubled(b, c, n);
                }
            });
        }
    }
    for (const int batch : {1, 16, 64}) {
        part_of("diffusion steps", [&] { diffusion_steps(b, batch); });
    }
}

int run(const std::vector<std::string>& arguments) {
    if (!arguments.empty() && arguments.front() == "serve") {
        return serve({arguments.begin() + 1, arguments.end()});
    }
    std::string file;
    std::string only;
    double seconds = 90.0;
    for (std::size_t i = 0; i < arguments.size(); ++i) {
        const bool more = i + 1 < arguments.size();
        if (arguments[i] == "--seconds" && more) {
            seconds = std::strtod(arguments[++i].c_str(), nullptr);
        } else if (arguments[i] == "--only" && more &&
                   (arguments[i + 1] == "primitives" || arguments[i + 1] == "networks")) {
            only = arguments[++i];
        } else if (file.empty() && !arguments[i].starts_with("-")) {
            file = arguments[i];
        } else {
            std::fprintf(stderr,
                         "cuda_benchmark [FILE] [--seconds N] [--only primitives|networks]: %s is none of these\n",
                         arguments[i].c_str());
            return 2;
        }
    }
    const clock time;
    const device on(0);
    const cudaDeviceProp& p = on.properties();
    int driver = 0;
    check(cudaDriverGetVersion(&driver), "the CUDA driver");
    const std::string cudnn_version = cudnn_version_text(cudnn().version());
    std::printf("%s: %d multiprocessors, %.0f GB, L2 %.0f MB, CUDA %s, cuDNN %s\n", p.name, p.multiProcessorCount,
                static_cast<double>(p.totalGlobalMem) * 1e-9, p.l2CacheSize / 1048576.0,
                cuda_version_text(driver).c_str(), cudnn_version.c_str());
    if (file == "device") {
        return 0;
    }
    results to(file);
    to.add(record()
               .text("kind", "device")
               .text("name", p.name)
               .value("multiprocessors", p.multiProcessorCount)
               .value("bytes", static_cast<double>(p.totalGlobalMem))
               .value("l2_bytes", p.l2CacheSize)
               .text("driver", cuda_version_text(driver))
               .text("cudnn", cudnn_version)
               .text("properties", device_properties::of_device(0).json()));
    if (only != "networks") {
        primitives(to, time, only.empty() ? 0.45 * seconds : seconds);
    }
    if (only != "primitives") {
        networks(to, time, seconds);
    }
    std::printf("all of this took %.0f s\n", time.seconds());
    return 0;
}

} // namespace

} // namespace benchmark

int main(int argc, char** argv) {
    try {
        return benchmark::run({argv + 1, argv + argc});
    } catch (const std::exception& failed) {
        std::fprintf(stderr, "cuda_benchmark: %s\n", failed.what());
        return 1;
    }
}
