#pragma once

#include <string>
#include <utility>

#include <repaint/backend/cuda/runtime.cuh>

namespace repaint::detail::cuda {

/// A device and the one stream that a backend enqueues its work on.
class device {
public:
#if defined(REPAINT_CUDA_ON_HOST)
    explicit device(int) {}
    [[nodiscard]] cudaStream_t stream() const { return nullptr; }
#else
    /// Throws device_error when there is no such device or it cannot be used, saying why.
    explicit device(int index) : index_(index) {
        int driver = 0;
        int runtime = 0;
        check(cudaDriverGetVersion(&driver), "the CUDA driver");
        check(cudaRuntimeGetVersion(&runtime), "the CUDA runtime");
        if (driver == 0) {
            throw device_error("there is no NVIDIA driver on this machine, which the backend cuda needs");
        }
        if (driver / 1000 < runtime / 1000) {
            throw device_error("the NVIDIA driver is for CUDA " + version_text(driver) + ", this program for CUDA " +
                               version_text(runtime) + ": update the driver");
        }
        int count = 0;
        const cudaError_t status = cudaGetDeviceCount(&count);
        if (status == cudaErrorNoDevice || (status == cudaSuccess && count == 0)) {
            throw device_error("there is no CUDA device on this machine, which the backend cuda needs");
        }
        check(status, "looking for CUDA devices");
        if (index < 0 || index >= count) {
            throw device_error("there is no CUDA device " + std::to_string(index) + ", this machine has " +
                               std::to_string(count) + ", counted from 0");
        }
        cudaDeviceProp properties{};
        check(cudaGetDeviceProperties(&properties, index), "the properties of the device");
        if (properties.major < 8) {
            throw device_error(std::string(properties.name) + " has compute capability " +
                               std::to_string(properties.major) + "." + std::to_string(properties.minor) +
                               ", the backend cuda needs 8.0 or more");
        }
        name_ = properties.name;
        processors_ = properties.multiProcessorCount;
        check(cudaSetDevice(index), "choosing the device");
        check(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "making a stream");
    }
    device(const device&) = delete;
    device& operator=(const device&) = delete;
    ~device() {
        if (stream_ != nullptr) {
            (void)cudaStreamSynchronize(stream_);
            (void)cudaStreamDestroy(stream_);
        }
    }

    [[nodiscard]] cudaStream_t stream() const { return stream_; }
    [[nodiscard]] const std::string& name() const { return name_; }
    [[nodiscard]] int processors() const { return processors_; }

private:
    static std::string version_text(int version) {
        return std::to_string(version / 1000) + "." + std::to_string(version % 1000 / 10);
    }

    int index_ = 0;
    cudaStream_t stream_ = nullptr;
    std::string name_;
    int processors_ = 0;
#endif
};

} // namespace repaint::detail::cuda
