// The half of the test both_ways that is built as by a user whose build knows nothing but the include path.
#include "both_ways_values.hpp"

#if defined(REPAINT_COMPILED)
#error "this file is the header-only half"
#endif

namespace both_ways {

values header_only() { return values_of_this_way(); }

repaint::host_tensor drawn_header_only(repaint::shape4 shape, unsigned seed) {
    repaint::cpu_backend backend({.threads = 1});
    return backend.download(repaint::philox_noise(seed)(backend, shape));
}

void check_header_only(const repaint::shape4& images, const repaint::host_tensor& keep) {
    repaint::check_keep_mask(images, keep);
}

} // namespace both_ways
