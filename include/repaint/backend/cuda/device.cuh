#pragma once

#include <string>

#include <repaint/backend/cuda/runtime.cuh>

namespace repaint::detail::cuda {

inline std::string cuda_version_text(int version) {
    return std::to_string(version / 1000) + "." + std::to_string(version % 1000 / 10);
}

/// How many devices there are. Throws device_error saying why when none can be used.
inline int usable_devices() {
    int driver = 0;
    int runtime = 0;
    check(cudaDriverGetVersion(&driver), "the CUDA driver");
    check(cudaRuntimeGetVersion(&runtime), "the CUDA runtime");
    if (driver == 0) {
        throw device_error("there is no NVIDIA driver on this machine, which the backend cuda needs");
    }
    if (driver / 1000 < runtime / 1000) {
        throw device_error("the NVIDIA driver is for CUDA " + cuda_version_text(driver) + ", this program for CUDA " +
                           cuda_version_text(runtime) + ": update the driver");
    }
    int count = 0;
    const cudaError_t status = cudaGetDeviceCount(&count);
    if (status == cudaErrorNoDevice || (status == cudaSuccess && count == 0)) {
        (void)cudaGetLastError();
        throw device_error("there is no CUDA device on this machine, which the backend cuda needs");
    }
    check(status, "looking for CUDA devices");
    return count;
}

/// A device and the one stream that a backend enqueues its work on.
class device {
public:
    /// Throws device_error when there is no such device or it cannot be used, saying why.
    explicit device(int index) : index_(index) {
        const int count = usable_devices();
        if (index < 0 || index >= count) {
            throw device_error("there is no CUDA device " + std::to_string(index) + ": this machine has " +
                               std::to_string(count) + ", counted from 0");
        }
        check(cudaGetDeviceProperties(&properties_, index), "the properties of the device");
        if (properties_.major < 8) {
            throw device_error(name() + " has compute capability " + std::to_string(properties_.major) + "." +
                               std::to_string(properties_.minor) + ", the backend cuda needs 8.0 or more");
        }
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
