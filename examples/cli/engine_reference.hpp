#pragma once

#include "engine.hpp"

namespace cli {

[[nodiscard]] std::unique_ptr<engine> make_reference_engine(const model_source& source, const engine_options& options);

} // namespace cli
