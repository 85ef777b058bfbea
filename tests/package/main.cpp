#include <memory>
#include <vector>

#include <repaint/backend/cpu.hpp>
#include <repaint/backend/reference.hpp>
#include <repaint/image/codecs.hpp>
#include <repaint/repaint.hpp>

repaint::host_tensor from_the_other_translation_unit();

namespace {

template <class B> bool round_trips(B& backend) {
    const repaint::host_tensor host = from_the_other_translation_unit();
    const repaint::host_tensor back = backend.download(backend.upload(host));
    return back.shape() == host.shape() && back(0, 2, 4, 3) == 0.5F;
}

repaint::host_weights constant(const repaint::shape4& s, float value) {
    const auto owner = std::make_shared<std::vector<float>>(s.size(), value);
    return {s, std::shared_ptr<const float>(owner, owner->data())};
}

/// Every weight 2, every input 0.5, bias 1: 3 x 9 products inside, 3 x 4 in a corner.
template <class B> bool convolves(B& backend) {
    const auto weights = backend.pack_conv2d(constant({4, 3, 3, 3}, 2.0F), constant({4, 1, 1, 1}, 1.0F));
    const auto x = backend.upload(from_the_other_translation_unit());
    const repaint::host_tensor y = backend.download(repaint::ops::conv2d(backend, x, weights, {.padding = 1}));
    return y.shape() == repaint::shape4{1, 4, 5, 4} && y(0, 3, 2, 1) == 28.0F && y(0, 0, 4, 3) == 13.0F;
}

} // namespace

int main() {
    repaint::reference_backend reference;
    repaint::cpu_backend cpu;
    return round_trips(reference) && round_trips(cpu) && convolves(reference) && convolves(cpu) ? 0 : 1;
}
