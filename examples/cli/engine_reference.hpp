#pragma once

#include "engine.hpp"

namespace cli {

[[nodiscard]] std::unique_ptr<engine> make_reference_engine(const source_opener& open, const engine_options& options);

} // namespace cli
