// Does not compile, and the compiler's message has to name the primitive that is missing (tests/CMakeLists.txt).
#include <repaint/backend/dry.hpp>
#include <repaint/inpainter.hpp>

struct my_backend : repaint::dry_backend {
    void attention() = delete;
};

void make(my_backend& b, const repaint::diffusion_model<my_backend>& model) {
    const repaint::inpainter<my_backend> inpaint(b, model);
}
