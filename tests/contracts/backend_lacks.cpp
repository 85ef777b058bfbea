// A backend of a user's own that lacks one primitive. Whatever takes a backend first says which.
// entry: INPAINTER allocate upload download synchronize pack_conv2d pack_norm conv2d group_norm attention resize concat
// entry: INPAINTER normal reverse_step forward_step merge
// entry: LOAD_MODEL allocate upload download synchronize pack_conv2d pack_norm conv2d group_norm attention resize concat
// says: the backend lacks @\b
#include <repaint/backend/dry.hpp>
#include <repaint/repaint.hpp>

struct my_backend : repaint::dry_backend {
    void WITHOUT() = delete;
};

#if defined(INPAINTER)
void make(my_backend& b, const repaint::diffusion_model<my_backend>& model) { const repaint::inpainter inpaint(b, model); }
#elif defined(LOAD_MODEL)
void make(my_backend& b) { (void)repaint::load_model(b, "model.safetensors"); }
#endif
