#pragma once

#include <filesystem>
#include <functional>
#include <vector>

/// What is written: looked at before the work, and not lost after it.
namespace cli {

/// Throws repaint::error unless a file of that name can be written: its folder is there and takes a file, the name is no
/// folder, and the disk has room for `bytes` more.
void check_writable(const std::filesystem::path& file, double bytes = 0.0);

/// Throws std::invalid_argument when one of the files is one of the inputs, under whatever name.
void check_no_input(const std::vector<std::filesystem::path>& files, const std::vector<std::filesystem::path>& inputs);

/// Calls write(file). When that fails, calls it with a file in the folder for temporary files, and throws repaint::error
/// that says why and where the result is kept.
void write_or_keep(const std::filesystem::path& file, const std::function<void(const std::filesystem::path&)>& write);

/// The files that `path` stands for: itself, or what is_picture_name says of the files in a folder, with `recursive`
/// those of its subfolders, too; .npy files as well, if asked for. Sorted by path. What operating systems and programs
/// leave in folders is passed over. Throws repaint::error when there is nothing of that name, or nothing in it.
[[nodiscard]] std::vector<std::filesystem::path> list_inputs(const std::filesystem::path& path, bool recursive,
                                                             bool arrays);

/// Whether a file or folder is one of those that systems leave everywhere: hidden ones (and so ._NAME of macOS),
/// __MACOSX, Thumbs.db and the like.
[[nodiscard]] bool is_litter(const std::filesystem::path& name);

} // namespace cli
