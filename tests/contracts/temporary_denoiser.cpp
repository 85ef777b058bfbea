// A denoiser that is made where it is given: taken, or refused in so many words.
// may compile
// says: denoise
#include <vector>

#include <repaint/backend/dry.hpp>
#include <repaint/repaint.hpp>

struct my_denoiser {
    repaint::dry_backend::tensor operator()(repaint::dry_backend& b, const repaint::dry_backend::tensor& x, int) const {
        return b.allocate(x.shape());
    }
};

void run(repaint::dry_backend& b, repaint::known_region<repaint::dry_backend>& known, repaint::philox_noise& noise,
         const repaint::diffusion_process& process, const std::vector<repaint::transition>& walk) {
    (void)repaint::sample(b, my_denoiser{}, known, noise, process, walk, {1, 3, 8, 8});
}
