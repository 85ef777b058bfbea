#pragma once

#include "engine.hpp"

namespace cli {

[[nodiscard]] std::unique_ptr<engine> make_reference_engine(const repaint::model_files& files, int threads);

} // namespace cli
