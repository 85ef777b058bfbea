// RePaint by a step of your own: instead of jumping back, three of Langevin's steps at every level (predictor and
// corrector, Song et al. 2021). Run it in the top folder:  c++ -std=c++20 -O2 -I include examples/your_own_step.cpp -pthread
#include <cstdio>

#include <repaint/backend/cpu.hpp>
#include <repaint/repaint.hpp>

using tensor = repaint::cpu_backend::tensor;

struct predictor_corrector {
    const repaint::diffusion_process& process;
    repaint::any_condition<repaint::cpu_backend>& known;

    static bool evaluates(const repaint::transition&) { return true; } // the walk only goes down

    void operator()(auto& b, tensor& x, repaint::transition move, bool, auto& denoise, auto& noise, tensor* x0) const {
        const auto level = process.marginal(move.from);
        known(b, x, level, noise);
        for (int i = 0; i < 3; ++i) { // x += step * score + sqrt(2 step) z, with step = 0.05 level.noise^2
            const auto epsilon = b.split(denoise(b, x, move.from), 3).first;
            repaint::ops::forward_step(b, x, epsilon, {1.0F, -0.05F * level.noise});
            repaint::ops::forward_step(b, x, noise(b, x.shape()), {1.0F, 0.3162F * level.noise});
            known(b, x, level, noise);
        }
        b.reverse_step(x, denoise(b, x, move.from), noise(b, x.shape()), process.reverse(move.from), x0, nullptr);
    }
};

int main() {
    repaint::cpu_backend b;
    const auto model = repaint::load_model(b, "examples/models/faces32.safetensors");
    const auto face = repaint::unconditional_sampler(b, model)({1, 3, 32, 32}, repaint::philox_noise(1));
    repaint::inpainter fill(b, model, {.timesteps = 50, .jumps = {.jump_n_sample = 1}});
    fill.step_with([](const auto& plan, auto& known) { return predictor_corrector{plan.process, known}; });
    const auto filled = fill(face, repaint::make_mask(repaint::mask_kind::half, 32, 32), repaint::philox_noise(2));
    for (int j = 12; j < 20; ++j) {
        std::printf("column %d: %5.2f became %5.2f\n", j, face(0, 0, 9, j), filled(0, 0, 9, j));
    }
}
