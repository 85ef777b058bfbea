// RePaint with a network of your own: anything that takes x_t and t and returns a prediction will do. Here the pictures
// are grey ramps with a known mean and variance, so the best possible denoiser is one line of arithmetic.
//
//   c++ -std=c++20 your_own_denoiser.cpp $(pkg-config --cflags --libs openblas)
#include <cmath>
#include <cstdio>

#include <repaint/backend/cpu.hpp>
#include <repaint/repaint.hpp>

using backend = repaint::cpu_backend;

/// Pictures of 8x8 pixels whose column c is N(mean(c), 0.1^2): returns epsilon, the noise in x_t.
struct ramp_denoiser {
    const repaint::noise_schedule& schedule;

    backend::tensor operator()(backend& b, const backend::tensor& x, int t) {
        const float signal = schedule.marginal(t).signal;
        const float noise = schedule.marginal(t).noise;
        const float variance = 0.01F;
        auto values = b.download(x);
        for (int i = 0; i < values.shape().h; ++i) {
            for (int j = 0; j < values.shape().w; ++j) {
                float& value = values(0, 0, i, j);
                const float mean = static_cast<float>(j) / 4.0F - 0.875F;
                const float gain = signal * variance / (signal * signal * variance + noise * noise);
                const float x0 = mean + gain * (value - signal * mean);
                value = (value - signal * x0) / noise;
            }
        }
        return b.upload(values);
    }
};

int main() {
    backend b;
    const repaint::diffusion_process process{.schedule = repaint::noise_schedule::linear().respaced("100"),
                                             .variance = repaint::variance_type::fixed_small};
    const auto walk = repaint::jump_schedule(process.size(), {.jump_length = 10, .jump_n_sample = 5});

    const repaint::host_tensor known({1, 1, 8, 8}); // what is known is black in the middle: 0
    const auto keep = repaint::make_mask(repaint::mask_kind::half, 8, 8);

    ramp_denoiser denoise{process.schedule};
    const repaint::known_region<backend> condition(b.upload(known), b.upload(keep));
    repaint::philox_noise noise(1);
    const auto filled = b.download(repaint::sample(b, denoise, condition, noise, process, walk, {1, 1, 8, 8}));
    for (int i = 0; i < 8; ++i) {
        for (int j = 0; j < 8; ++j) {
            std::printf("%6.2f", static_cast<double>(filled(0, 0, i, j)));
        }
        std::printf("\n");
    }
}
