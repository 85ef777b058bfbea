// A noise that is made where it is given: taken, or refused in so many words.
// may compile
// says: noise
#include <vector>

#include <repaint/backend/dry.hpp>
#include <repaint/repaint.hpp>

struct my_denoiser {
    repaint::dry_backend::tensor operator()(repaint::dry_backend& b, const repaint::dry_backend::tensor& x, int) const {
        return b.allocate(x.shape());
    }
};

void run(repaint::dry_backend& b, my_denoiser& denoise, repaint::known_region<repaint::dry_backend>& known,
         const repaint::diffusion_process& process, const std::vector<repaint::transition>& walk) {
    (void)repaint::sample(b, denoise, known, repaint::philox_noise(1), process, walk, {1, 3, 8, 8});
}
