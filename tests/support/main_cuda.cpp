#if __has_include(<catch2/catch_session.hpp>)
#include <catch2/catch_session.hpp>
#else
#define CATCH_CONFIG_RUNNER
#include <catch2/catch.hpp>
#endif

#include <cstdio>
#include <string>

#include <cuda_runtime_api.h>

namespace {

/// Why no test can run on the first device of this machine; empty when they can.
std::string missing() {
    int driver = 0;
    if (cudaDriverGetVersion(&driver) != cudaSuccess || driver == 0) {
        return "there is no NVIDIA driver on this machine";
    }
    int count = 0;
    if (const cudaError_t status = cudaGetDeviceCount(&count); status != cudaSuccess && status != cudaErrorNoDevice) {
        return cudaGetErrorString(status);
    }
    if (count == 0) {
        return "there is no CUDA device on this machine";
    }
    cudaDeviceProp properties{};
    if (const cudaError_t status = cudaGetDeviceProperties(&properties, 0); status != cudaSuccess) {
        return cudaGetErrorString(status);
    }
    if (properties.major < 8) {
        return std::string(properties.name) + " has compute capability " + std::to_string(properties.major) + "." +
               std::to_string(properties.minor) + ", 8.0 is needed";
    }
    return {};
}

} // namespace

int main(int argc, char** argv) {
    if (const std::string reason = missing(); !reason.empty()) {
        std::printf("skipped: %s\n", reason.c_str());
        return 77; // what ctest is told to expect
    }
    return Catch::Session().run(argc, argv);
}
