// RePaint with a network of your own: anything that takes x_t and t and returns a prediction will do. Here the pictures
// are grey ramps with a known mean and variance, so the best possible denoiser is one line of arithmetic.
//
//   c++ -std=c++20 -O2 -I include examples/your_own_denoiser.cpp -pthread
#include <cstdio>

#include <repaint/backend/cpu.hpp>
#include <repaint/repaint.hpp>

/// Pictures of 8x8 pixels whose column j is N(j / 4 - 7/8, 0.1^2): returns epsilon, the noise in x_t.
struct ramp_denoiser {
    repaint::noise_schedule schedule;

    template <class B> repaint::tensor_of<B> operator()(B& b, const repaint::tensor_of<B>& x, int t) const {
        const auto [signal, noise] = schedule.marginal(t); // x_t = signal * x_0 + noise * epsilon
        const float gain = signal * 0.01F / (signal * signal * 0.01F + noise * noise);
        auto values = b.download(x);
        for (std::size_t i = 0; i < values.size(); ++i) {
            float& value = values.values()[i];
            const float mean = static_cast<float>(i % 8) / 4.0F - 0.875F;
            value = (value - signal * (mean + gain * (value - signal * mean))) / noise;
        }
        return b.upload(values);
    }
};

int main() {
    repaint::cpu_backend b;
    const repaint::diffusion_process process{.schedule = repaint::noise_schedule::linear().respaced("100"),
                                             .reading = {.variance = repaint::variance_type::fixed_small}};
    const repaint::inpainter inpaint(b, ramp_denoiser{process.schedule}, process, {.jumps = {.jump_n_sample = 5}});
    const auto keep = repaint::make_mask(repaint::mask_kind::half, 8, 8);
    const auto filled = inpaint(repaint::host_tensor({1, 1, 8, 8}), keep, repaint::philox_noise(1)); // known: grey, 0
    for (int i = 0; i < 8; ++i) {
        for (int j = 0; j < 8; ++j) {
            std::printf("%6.2f%s", static_cast<double>(filled(0, 0, i, j)), j == 7 ? "\n" : "");
        }
    }
}
