#pragma once

#include <string>

#include <repaint/diffusion/torch_cuda_generator.hpp>

namespace cli {

enum class noise_kind { philox, torch_cpu, torch_cuda };

/// Where random numbers come from.
struct noise_choice {
    noise_kind kind = noise_kind::philox;
    std::string device; ///< torch_cuda: the GPU on which PyTorch would have drawn them
};

/// "philox", "torch-cpu", "torch-cuda": what --noise calls them, and the other way round.
[[nodiscard]] std::string to_string(noise_kind kind);
[[nodiscard]] noise_kind parse_noise_kind(const std::string& name);

/// "torch-cuda H200": all that the numbers depend on besides the seed.
[[nodiscard]] std::string to_string(const noise_choice& noise);

/// "A100, H100, ...": the GPUs that --noise-device knows.
[[nodiscard]] std::string noise_devices();

/// Of torch_cuda. Throws std::invalid_argument when the device is not one of noise_devices().
[[nodiscard]] repaint::torch_cuda_device noise_device(const noise_choice& noise);

/// Throws std::invalid_argument unless a device is given that is known, or none where none is needed.
void check_noise(const noise_choice& noise);

} // namespace cli
