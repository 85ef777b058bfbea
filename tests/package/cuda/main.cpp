#include <cstdio>
#include <vector>

#include <repaint/backend/cuda/options.hpp>
#include <repaint/repaint.hpp>

repaint::host_tensor convolved(const repaint::host_tensor& x, const repaint::cuda_options& options);

int main() try {
    const repaint::host_tensor x({1, 3, 5, 4}, std::vector<float>(60, 0.5F));
    const auto y = convolved(x, {.libraries = false});
    const bool right = y.shape() == repaint::shape4{1, 4, 5, 4} && y(0, 3, 2, 1) == 28.0F && y(0, 0, 4, 3) == 13.0F;
    std::puts(right ? "the device convolves" : "the device convolves wrongly");
    return right ? 0 : 1;
} catch (const repaint::device_error& missing) {
    std::printf("no device: %s\n", missing.what());
}
