// RePaint with a condition of your own: what is known is not pixels, but a face at an eighth of its size (ILVR, Choi et
// al. 2021). Run it in the top folder:  c++ -std=c++20 -O2 -I include examples/your_own_conditioner.cpp -pthread
#include <cstdio>

#include <repaint/backend/cpu.hpp>
#include <repaint/repaint.hpp>

using tensor = repaint::cpu_backend::tensor;

/// Every square of `side` pixels becomes its mean.
tensor coarse(repaint::cpu_backend& b, const tensor& x, int side) {
    const auto half = repaint::ops::resize(b, x, repaint::resampling::average_down);
    return repaint::ops::resize(b, side == 2 ? b.duplicate(half) : coarse(b, half, side / 2),
                                repaint::resampling::nearest_up);
}

struct alike_from_afar {
    tensor face;

    void operator()(repaint::cpu_backend& b, tensor& x, repaint::mixing level, auto& noise) const {
        auto change = noise(b, x.shape()); // becomes the face at x's level, then that less x, all of it coarse
        repaint::ops::forward_step(b, change, face, {.signal = level.noise, .noise = level.signal});
        repaint::ops::forward_step(b, change, x, {.signal = 1.0F, .noise = -1.0F});
        repaint::ops::forward_step(b, x, coarse(b, change, 8), {.signal = 1.0F, .noise = 1.0F});
    }
};

int main() {
    repaint::cpu_backend b;
    const auto model = repaint::load_model(b, "examples/models/faces32.safetensors");
    const repaint::unconditional_sampler draw(b, model, {.timesteps = 50});
    const auto face = draw({1, 3, 32, 32}, repaint::philox_noise(1));
    repaint::inpainter like_it(b, model, {.timesteps = 50, .jumps = {.jump_n_sample = 1}, .composite = false});
    like_it.condition_with([](auto&, tensor known, tensor) { return alike_from_afar{std::move(known)}; });
    const auto other = like_it(face, repaint::host_tensor({1, 1, 32, 32}), repaint::philox_noise(2));
    const auto was = b.download(coarse(b, b.upload(face), 8)), is = b.download(coarse(b, b.upload(other), 8));
    std::printf("a pixel:    %5.2f became %5.2f\nits square: %5.2f became %5.2f\n", face(0, 0, 9, 9), other(0, 0, 9, 9),
                was(0, 0, 9, 9), is(0, 0, 9, 9));
}
