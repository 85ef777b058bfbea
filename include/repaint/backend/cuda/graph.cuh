#pragma once

#include <utility>

#include <repaint/backend/cuda/runtime.cuh>

namespace repaint::detail::cuda {

/// Work that was recorded once and can be enqueued again as a whole: a CUDA graph. The memory that it reads and writes
/// must stay where it was. Moves, does not copy.
class recorded_work {
public:
    /// Nothing.
    recorded_work() = default;
    recorded_work(recorded_work&& other) noexcept : graph_(std::exchange(other.graph_, nullptr)) {}
    recorded_work& operator=(recorded_work&& other) noexcept {
        std::swap(graph_, other.graph_);
        return *this;
    }
    ~recorded_work() {
        if (graph_ != nullptr) {
            (void)cudaGraphExecDestroy(graph_);
        }
    }

    /// Records what `enqueue` puts on the stream, without doing it. Throws device_error, and what enqueue throws; the
    /// stream is then as it was before.
    template <class F> [[nodiscard]] static recorded_work of(cudaStream_t stream, F&& enqueue) {
        // Relaxed: other threads may use the device as they like, and this one may take memory from it.
        check(cudaStreamBeginCapture(stream, cudaStreamCaptureModeRelaxed), "recording a CUDA graph");
        cudaGraph_t graph = nullptr;
        try {
            enqueue();
        } catch (...) {
            if (cudaStreamEndCapture(stream, &graph) == cudaSuccess && graph != nullptr) {
                (void)cudaGraphDestroy(graph);
            }
            (void)cudaGetLastError();
            throw;
        }
        check(cudaStreamEndCapture(stream, &graph), "recording a CUDA graph");
        recorded_work work;
        const cudaError_t status = cudaGraphInstantiate(&work.graph_, graph, 0);
        (void)cudaGraphDestroy(graph);
        check(status, "making a CUDA graph ready");
        return work;
    }

    [[nodiscard]] explicit operator bool() const { return graph_ != nullptr; }

    /// Throws device_error.
    void enqueue(cudaStream_t stream) const { check(cudaGraphLaunch(graph_, stream), "launching a CUDA graph"); }

private:
    cudaGraphExec_t graph_ = nullptr;
};

} // namespace repaint::detail::cuda
