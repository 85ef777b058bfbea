#include "noise_choice.hpp"

#include <stdexcept>

namespace cli {

std::string to_string(noise_kind kind) {
    switch (kind) {
    case noise_kind::torch_cpu: return "torch-cpu";
    case noise_kind::torch_cuda: return "torch-cuda";
    default: return "philox";
    }
}

noise_kind parse_noise_kind(const std::string& name) {
    for (const auto kind : {noise_kind::philox, noise_kind::torch_cpu, noise_kind::torch_cuda}) {
        if (name == to_string(kind)) {
            return kind;
        }
    }
    throw std::invalid_argument("there is no noise " + name);
}

std::string to_string(const noise_choice& noise) {
    return to_string(noise.kind) + (noise.device.empty() ? "" : " " + noise.device);
}

std::string noise_devices() {
    std::string names;
    for (const auto& each : repaint::torch_cuda_devices) {
        names += (names.empty() ? "" : ", ") + std::string(each.name);
    }
    return names;
}

repaint::torch_cuda_device noise_device(const noise_choice& noise) {
    const auto device = repaint::torch_cuda_device_named(noise.device);
    if (!device) {
        throw std::invalid_argument((noise.device.empty() ? "--noise torch-cuda needs --noise-device"
                                                          : "--noise-device " + noise.device + " is not known") +
                                    ", the GPU that PyTorch would draw on; accepted: " + noise_devices());
    }
    return *device;
}

void check_noise(const noise_choice& noise) {
    if (noise.kind == noise_kind::torch_cuda) {
        static_cast<void>(noise_device(noise));
    } else if (!noise.device.empty()) {
        throw std::invalid_argument("--noise " + to_string(noise.kind) + " has no --noise-device");
    }
}

} // namespace cli
