#pragma once

#include <string>

#include <repaint/backend/cuda/device_problem.hpp>
#include <repaint/backend/cuda/runtime.cuh>

namespace repaint::detail::cuda {

/// A device and the one stream that a backend enqueues its work on.
class device {
public:
    /// Throws device_error when there is no such device or it cannot be used, saying why.
    explicit device(int index) : index_(index) {
        if (const std::string problem = device_problem(index); !problem.empty()) {
            throw device_error(problem);
        }
        check(cudaGetDeviceProperties(&properties_, index), "the properties of the device");
        check(cudaSetDevice(index), "choosing the device");
        check(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "making a stream");
    }
    device(const device&) = delete;
    device& operator=(const device&) = delete;
    ~device() {
        (void)cudaSetDevice(index_);
        (void)cudaStreamSynchronize(stream_);
        (void)cudaStreamDestroy(stream_);
    }

    /// Of this thread from now on, which may have used another before.
    void use() const { check(cudaSetDevice(index_), "choosing the device"); }

    [[nodiscard]] int index() const { return index_; }
    [[nodiscard]] cudaStream_t stream() const { return stream_; }
    [[nodiscard]] const cudaDeviceProp& properties() const { return properties_; }
    [[nodiscard]] std::string name() const { return properties_.name; }

private:
    int index_;
    cudaStream_t stream_ = nullptr;
    cudaDeviceProp properties_{};
};

} // namespace repaint::detail::cuda
