#pragma once

#include <repaint/backend/cuda/options.hpp>

#include "engine.hpp"

namespace cli {

/// Whether the backend cuda can be made here.
[[nodiscard]] bool cuda_available();

/// Throws std::invalid_argument when the options contradict each other.
[[nodiscard]] std::unique_ptr<engine> make_cuda_engine(const source_opener& open, const engine_options& options);

/// What make_cuda_engine chooses from, each compiled on its own (engine_cuda_half.cu, ...).
[[nodiscard]] std::unique_ptr<engine> make_cuda_half_engine(const source_opener& open, const engine_options& options,
                                                            const repaint::cuda_options& backend);
[[nodiscard]] std::unique_ptr<engine> make_cuda_bfloat16_engine(const source_opener& open,
                                                                const engine_options& options,
                                                                const repaint::cuda_options& backend);
[[nodiscard]] std::unique_ptr<engine> make_cuda_float_engine(const source_opener& open, const engine_options& options,
                                                             const repaint::cuda_options& backend);

} // namespace cli
