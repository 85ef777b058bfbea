// A program of one file, compiled without CMake: the include path is all that it needs.
#include <repaint/backend/cpu.hpp>
#include <repaint/repaint.hpp>

int main() {
    repaint::cpu_backend backend;
    const repaint::host_tensor drawn = backend.download(repaint::philox_noise(1)(backend, {1, 3, 4, 4}));
    const auto keep = repaint::make_mask(repaint::mask_kind::half, 4, 4);
    return drawn.shape().size() == 48 && keep.shape().w == 4 ? 0 : 1;
}
