// An observer of the kind that other libraries have: (step, steps).
// says: observer
#include <repaint/backend/dry.hpp>
#include <repaint/repaint.hpp>

void run(repaint::dry_backend& b, const repaint::diffusion_model<repaint::dry_backend>& model,
         const repaint::host_tensor& image, const repaint::host_tensor& keep) {
    const repaint::inpainter inpaint(b, model);
    (void)inpaint(image, keep, repaint::philox_noise(1), [](int, int) {});
}
