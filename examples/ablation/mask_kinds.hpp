#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace ablation {

/// Masks of one kind, one for each picture.
struct mask_kind {
    std::string name;
    std::vector<std::filesystem::path> masks;
};

/// The kinds, and in words how they were found.
struct mask_kinds {
    std::vector<mask_kind> kinds;
    std::string how;
};

/// The kinds of masks that `path` stands for, named after file or folder. A file: one mask for all pictures. A folder of
/// folders: each is a kind, one mask for all or paired as pair_files does. A folder of masks: paired with the pictures
/// when names or, with no name in common, numbers agree; else each mask is a kind of its own, for all pictures. Throws
/// repaint::error when there is nothing, std::invalid_argument when it does not fit the pictures or is more than 24
/// kinds.
[[nodiscard]] mask_kinds find_mask_kinds(const std::filesystem::path& path,
                                         const std::vector<std::filesystem::path>& pictures);

} // namespace ablation
