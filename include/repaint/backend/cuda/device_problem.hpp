#pragma once

#include <string>

#include <repaint/backend/cuda/status.hpp>

namespace repaint::detail::cuda {

/// "12.8" of 12080.
inline std::string cuda_version_text(int version) {
    return std::to_string(version / 1000) + "." + std::to_string(version % 1000 / 10);
}

/// Why a device cannot be used, in a sentence; empty when it can. index: as CUDA counts devices.
inline std::string device_problem(int index) {
    int driver = 0;
    int runtime = 0;
    if (const cudaError_t status = cudaDriverGetVersion(&driver); status != cudaSuccess) {
        return status_text(status, "the CUDA driver");
    }
    if (const cudaError_t status = cudaRuntimeGetVersion(&runtime); status != cudaSuccess) {
        return status_text(status, "the CUDA runtime");
    }
    if (driver == 0) {
        return "there is no NVIDIA driver on this machine, which the backend cuda needs";
    }
    if (driver / 1000 < runtime / 1000) {
        return "the NVIDIA driver is for CUDA " + cuda_version_text(driver) + ", this program for CUDA " +
               cuda_version_text(runtime) + ": update the driver";
    }
    int count = 0;
    const cudaError_t counted = cudaGetDeviceCount(&count);
    if (counted == cudaErrorNoDevice || (counted == cudaSuccess && count == 0)) {
        (void)cudaGetLastError();
        return "there is no CUDA device on this machine, which the backend cuda needs";
    }
    if (counted != cudaSuccess) {
        return status_text(counted, "looking for CUDA devices");
    }
    if (index < 0 || index >= count) {
        return "there is no CUDA device " + std::to_string(index) + ": this machine has " + std::to_string(count) +
               ", counted from 0";
    }
    cudaDeviceProp properties{};
    if (const cudaError_t status = cudaGetDeviceProperties(&properties, index); status != cudaSuccess) {
        return status_text(status, "the properties of the device");
    }
    if (properties.major < 8) {
        return std::string(properties.name) + " has compute capability " + std::to_string(properties.major) + "." +
               std::to_string(properties.minor) + ", the backend cuda needs 8.0 or more";
    }
    return {};
}

} // namespace repaint::detail::cuda
