#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include <repaint/diffusion/torch_cuda_generator.hpp>
#include <repaint/diffusion/torch_generator.hpp>

#include "engine.hpp"

namespace cli {

/// The noise sources' states as words, so that they can be stored: the draws of philox, the generators of the others.
[[nodiscard]] std::vector<std::uint64_t> to_words(std::uint64_t draws);
[[nodiscard]] std::vector<std::uint64_t> to_words(const repaint::torch_cpu_generator::state& s);
[[nodiscard]] std::vector<std::uint64_t> to_words(const repaint::torch_cuda_generator::state& s);

/// The other way round. Throws format_error when the words are not such a state's.
void from_words(const std::vector<std::uint64_t>& words, std::uint64_t& draws);
void from_words(const std::vector<std::uint64_t>& words, repaint::torch_cpu_generator::state& s);
void from_words(const std::vector<std::uint64_t>& words, repaint::torch_cuda_generator::state& s);

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
