#pragma once

#include <filesystem>
#include <string>
#include <utility>
#include <vector>

/// Which picture belongs to which: results to the truth, pictures to masks.
namespace cli {

/// The files that `path` stands for: itself when it is a file, else all .png, .jpg and .jpeg files (upper case, too) of
/// the folder and its subfolders, sorted by path, but what systems leave there (is_litter). Throws repaint::error when
/// there is nothing of that name, or no picture in it.
[[nodiscard]] std::vector<std::filesystem::path> list_pictures(const std::filesystem::path& path);

/// Pairs in the order of the first list, and the reason in words: "by name", "by sorted order", "one for all".
struct file_pairing {
    std::vector<std::pair<std::filesystem::path, std::filesystem::path>> pairs;
    std::string how;
};

/// What the two lists hold, for messages; and whether "face-2.png" of the first list, where the second has no "face-2"
/// but a "face", is a further sample of "face" (as `repaint inpaint --samples` names them).
struct pairing_options {
    std::string first = "pictures";
    std::string second = "masks";
    bool samples = false;
    bool mixed_by_order = false; ///< what has names with and without a partner goes by order, too
};

/// A partner out of b for every file of a. By name when every file of a finds its name in b, without the extension, and
/// below the folder that a list has in common (else the last part of the name alone, where that is unique); b may have
/// more. When no name at all is found: one b for all, or by order when both lists are as long. Anything else, with some
/// names found and others not above all, throws std::invalid_argument with a file that has no partner. "by sorted order"
/// names such a file when the options have it go by order.
[[nodiscard]] file_pairing pair_files(const std::vector<std::filesystem::path>& a,
                                      const std::vector<std::filesystem::path>& b, const pairing_options& options = {});

} // namespace cli
