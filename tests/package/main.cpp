#include <repaint/backend/reference.hpp>
#include <repaint/io/image.hpp>
#include <repaint/repaint.hpp>

repaint::host_tensor from_the_other_translation_unit();

int main() {
    repaint::reference_backend backend;
    const repaint::host_tensor host = from_the_other_translation_unit();
    const repaint::host_tensor back = backend.download(backend.upload(host));
    return back.shape() == host.shape() && back(0, 2, 4, 3) == 0.5F ? 0 : 1;
}
