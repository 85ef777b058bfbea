#include <repaint/repaint.hpp>

#include <repaint/backend/cpu.hpp>
#include <repaint/image/codecs.hpp>

int main() {
    repaint::cpu_backend backend;
    const auto model = repaint::load_model(backend, "examples/models/faces32.safetensors");
    const auto face = repaint::read_picture("examples/models/demo/face-1.png");
    const auto keep = repaint::make_mask(repaint::mask_kind::half, face.width, face.height); // 1 = known
    const repaint::inpainter inpaint(backend, model, {.timesteps = 50, .jumps = {.jump_n_sample = 4}});
    const auto filled = inpaint(repaint::to_tensor(face), keep, repaint::philox_noise(42));
    repaint::write_picture("filled.png", repaint::compose_picture(face, filled, 0, keep));
}
