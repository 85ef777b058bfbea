#include <repaint/backend/cuda.hpp>

#include "basic_engine.hpp"
#include "engine_cuda.hpp"

namespace cli {

std::unique_ptr<engine> make_cuda_float_engine(const source_opener& open, const engine_options& options,
                                               const repaint::cuda_options& backend) {
    return std::make_unique<basic_engine<repaint::basic_cuda_backend<float>>>("cuda", options, open, backend);
}

} // namespace cli
