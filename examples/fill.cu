#include <repaint/repaint.hpp>

#include <repaint/backend/cuda.hpp>

repaint::host_tensor fill(const repaint::host_tensor& image, const repaint::host_tensor& keep) {
    repaint::cuda_backend backend; // half precision; basic_cuda_backend<float> or <__nv_bfloat16>
    const auto model = repaint::load_model(backend, "examples/models/faces32.safetensors");
    const repaint::inpainter inpaint(backend, model, {.timesteps = 50, .jumps = {.jump_n_sample = 4}});
    return inpaint(image, keep, repaint::philox_noise(42));
}
