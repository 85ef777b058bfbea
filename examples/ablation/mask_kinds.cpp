#include "mask_kinds.hpp"

#include <algorithm>
#include <cstddef>
#include <set>
#include <stdexcept>
#include <system_error>

#include <repaint/error.hpp>

#include "pairing.hpp"
#include "terminal.hpp"

namespace ablation {

namespace {

namespace fs = std::filesystem;
using cli::counted;
using cli::list_pictures;
using cli::pair_files;

constexpr std::size_t most_kinds = 24;

std::string folder_name(const fs::path& folder) {
    return (folder.has_filename() ? folder : folder.parent_path()).filename().string();
}

std::vector<fs::path> subfolders(const fs::path& folder) {
    std::vector<fs::path> found;
    std::error_code wrong;
    auto entry = fs::directory_iterator(folder, wrong);
    for (; !wrong && entry != fs::directory_iterator(); entry.increment(wrong)) {
        std::error_code unreadable;
        if (entry->is_directory(unreadable) && !entry->path().filename().string().starts_with('.')) {
            found.push_back(entry->path());
        }
    }
    if (wrong) {
        throw repaint::error(folder.string() + ": the folder cannot be read: " + wrong.message());
    }
    std::sort(found.begin(), found.end());
    return found;
}

mask_kind paired_kind(const std::string& name, const std::vector<fs::path>& files,
                      const std::vector<fs::path>& pictures, std::string& how) {
    const auto paired = pair_files(pictures, files, {"pictures", "masks " + name});
    mask_kind kind{name, {}};
    for (const auto& [picture, mask] : paired.pairs) {
        kind.masks.push_back(mask);
    }
    how = paired.how;
    return kind;
}

bool share_a_name(const std::vector<fs::path>& a, const std::vector<fs::path>& b) {
    std::set<fs::path> stems;
    for (const auto& file : a) {
        stems.insert(file.stem());
    }
    return std::any_of(b.begin(), b.end(), [&](const fs::path& file) { return stems.contains(file.stem()); });
}

/// The name of each mask without its extension, unless two would have the same.
std::vector<std::string> kind_names(const std::vector<fs::path>& files) {
    std::set<fs::path> stems;
    for (const auto& file : files) {
        stems.insert(file.stem());
    }
    std::vector<std::string> names;
    for (const auto& file : files) {
        names.push_back((stems.size() == files.size() ? file.stem() : file.filename()).string());
    }
    return names;
}

mask_kinds kinds_of_folders(const std::vector<fs::path>& folders, const std::vector<fs::path>& pictures) {
    mask_kinds found;
    std::string each;
    for (const auto& folder : folders) {
        std::string how;
        found.kinds.push_back(paired_kind(folder_name(folder), list_pictures(folder), pictures, how));
        each += (each.empty() ? "" : ", ") + found.kinds.back().name + " (" + how + ")";
    }
    found.how = counted(folders.size(), "kind") + " of masks, a folder each: " + each;
    return found;
}

} // namespace

mask_kinds find_mask_kinds(const fs::path& path, const std::vector<fs::path>& pictures) {
    const auto files = list_pictures(path);
    std::error_code ignored;
    if (!fs::is_directory(path, ignored)) {
        return {{{path.stem().string(), std::vector(pictures.size(), path)}},
                "one mask, " + path.stem().string() + ", for all pictures"};
    }
    const auto folders = subfolders(path);
    const bool all_below =
        std::none_of(files.begin(), files.end(), [&](const fs::path& file) { return file.parent_path() == path; });
    if (!folders.empty() && !all_below) {
        throw std::invalid_argument(path.string() +
                                    " holds masks and folders: put every kind of mask into a folder of its own");
    }
    mask_kinds found;
    if (!folders.empty()) {
        found = kinds_of_folders(folders, pictures);
    } else if (files.size() == 1 || files.size() == pictures.size() || share_a_name(files, pictures)) {
        const std::string name = files.size() == 1 ? files.front().stem().string() : folder_name(path);
        std::string how;
        found.kinds.push_back(paired_kind(name, files, pictures, how));
        found.how = "one kind of masks, " + name + ": " + how;
    } else {
        const auto names = kind_names(files);
        for (std::size_t i = 0; i < files.size(); ++i) {
            found.kinds.push_back({names[i], std::vector(pictures.size(), files[i])});
            found.how += (i == 0 ? "" : ", ") + names[i];
        }
        found.how = counted(files.size(), "kind") +
                    " of masks, each for all pictures (neither their names nor their number " +
                    "are those of the pictures): " + found.how;
    }
    if (found.kinds.size() > most_kinds) {
        throw std::invalid_argument(path.string() + " has " + std::to_string(found.kinds.size()) +
                                    " kinds of masks for " + counted(pictures.size(), "picture") + ", accepted are " +
                                    std::to_string(most_kinds) + ": name masks like their pictures to pair them");
    }
    return found;
}

} // namespace ablation
