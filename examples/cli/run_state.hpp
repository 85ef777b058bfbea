#pragma once

#include <cstddef>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "engine.hpp"

namespace cli {

/// A stopped run on disk: a safetensors file with x, the noise source's state, the pictures that wait for the rest of
/// their .npy, and the settings the run depends on.
struct run_state {
    std::map<std::string, std::string> settings;
    std::size_t first_picture = 0; ///< of the batch that was stopped
    saved_batch batch;
    std::vector<repaint::host_tensor> finished; ///< only for an .npy of several pictures
};

void save_run_state(const std::filesystem::path& path, const run_state& state);

/// Throws format_error when the file is not such a state, std::invalid_argument naming the first setting that differs
/// from `settings`.
[[nodiscard]] run_state load_run_state(const std::filesystem::path& path,
                                       const std::map<std::string, std::string>& settings);

} // namespace cli
