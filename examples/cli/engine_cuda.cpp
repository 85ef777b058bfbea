#include "engine_cuda.hpp"

#include <stdexcept>

#include <repaint/backend/cuda/problem.hpp>

namespace cli {

bool cuda_available() { return repaint::cuda_problem().empty(); }

std::unique_ptr<engine> make_cuda_engine(const source_opener& open, const engine_options& options) {
    engine_options with = options;
    with.threads = 1; // of the processor
    if (with.precision.empty()) {
        with.precision = options.strict ? "float" : "half";
    } else if (options.strict && with.precision != "float") {
        throw std::invalid_argument("--strict with the backend cuda means --precision float, not " + with.precision);
    }
    repaint::cuda_options backend;
    backend.device = options.device.value_or(0);
    backend.tf32 = with.precision == "tf32";
    backend.tune = options.tune;
    backend.plans = options.plans;
    if (with.precision == "half") {
        return make_cuda_half_engine(open, with, backend);
    }
    if (with.precision == "bfloat16") {
        return make_cuda_bfloat16_engine(open, with, backend);
    }
    return make_cuda_float_engine(open, with, backend);
}

} // namespace cli
