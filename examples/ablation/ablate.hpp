#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "options.hpp"
#include "tables.hpp"

namespace ablation {

/// The sweeps of the RePaint paper's tables 2 and 3; the defaults are the paper's.
struct ablate_command {
    cli::model_options model;
    std::filesystem::path images;
    std::filesystem::path keeps;
    std::filesystem::path out;
    sweep_choice sweep = sweep_choice::all;
    int timesteps = 250;
    std::vector<int> passes{1, 2, 3, 4};
    int jump_length = 10;
    std::vector<int> jump_lengths{1, 5, 10};
    std::vector<int> jump_passes{5, 10, 15};
    std::vector<std::filesystem::path> lpips; ///< files with the weights; none: no LPIPS
    std::size_t limit = 0;                    ///< pictures; 0: all
    std::size_t shown = 2;                    ///< pictures of the contact sheet for each kind of mask
    int batch = 0;                            ///< 0: what suits the pictures
    std::uint64_t seed = 0;
    cli::label_options labels;
    bool quiet = false;
};

/// The exit status: 0, or 130 when the run was interrupted; the same command goes on. Throws what the library throws.
int ablate(const ablate_command& command);

} // namespace ablation
