// inpaint.cpp with the part that needs nvcc in a file of its own: fill.cu.
#include <cstdio>
#include <exception>

#include <repaint/image/codecs.hpp>
#include <repaint/repaint.hpp>

repaint::host_tensor fill(const repaint::host_tensor& image, const repaint::host_tensor& keep);

int main() try {
    const auto face = repaint::read_picture("examples/models/demo/face-1.png");
    const auto keep = repaint::make_mask(repaint::mask_kind::half, face.width, face.height); // 1 = known
    repaint::write_picture("filled.png", repaint::compose_picture(face, fill(repaint::to_tensor(face), keep), 0, keep));
} catch (const repaint::device_error& e) {
    std::fprintf(stderr, "skipped: %s\n", e.what());
    return 1;
} catch (const std::exception& e) {
    std::fprintf(stderr, "%s\n", e.what());
    return 1;
}
