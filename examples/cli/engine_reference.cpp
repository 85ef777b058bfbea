#include <repaint/backend/reference.hpp>

#include "basic_engine.hpp"
#include "engine_reference.hpp"

// OpenBLAS takes its number of threads from this function; other BLAS libraries do not have it.
extern "C" void openblas_set_num_threads(int) __attribute__((weak));

namespace cli {

std::unique_ptr<engine> make_reference_engine(const source_opener& open, const engine_options& options) {
    // One unless told: several of OpenBLAS's threads stall for many times their gain when something else uses the
    // cores.
    const int used = options.threads > 0 ? options.threads : 1;
    if (openblas_set_num_threads != nullptr) {
        openblas_set_num_threads(used);
    }
    engine_options with = options;
    with.threads = used;
    return std::make_unique<basic_engine<repaint::reference_backend>>("reference", with, open);
}

} // namespace cli
