#include "outputs.hpp"

#include <algorithm>
#include <exception>
#include <map>
#include <stdexcept>
#include <string>
#include <system_error>

#include <unistd.h>

#include <repaint/core/text.hpp>
#include <repaint/error.hpp>
#include <repaint/io/atomic_file.hpp>

#include "image_files.hpp"
#include "terminal.hpp"

namespace cli {

namespace {

namespace fs = std::filesystem;

} // namespace

void check_writable(const fs::path& file, double bytes) {
    std::error_code unknown;
    if (fs::is_directory(file, unknown)) {
        throw repaint::error(repaint::shown(file) + ": is a folder, expected the name of a file");
    }
    const fs::path folder = fs::absolute(file).parent_path();
    if (!fs::is_directory(folder, unknown)) {
        throw repaint::error(repaint::shown(file) + ": there is no folder " + repaint::shown(folder) +
                             ": make it first");
    }
    const repaint::atomic_file probe(file); // removed again
    const auto room = fs::space(folder, unknown);
    if (!unknown && static_cast<double>(room.available) < bytes) {
        throw repaint::error(repaint::shown(file) + ": about " + bytes_text(bytes) +
                             " will be written, but the disk has " + bytes_text(static_cast<double>(room.available)) +
                             " left");
    }
}

void check_no_input(const std::vector<fs::path>& files, const std::vector<fs::path>& inputs) {
    for (const auto& file : files) {
        for (const auto& input : inputs) {
            std::error_code different;
            if (fs::equivalent(file, input, different)) { // links followed; false where there is no file
                throw std::invalid_argument(file.string() + " would be written over the input " + input.string() +
                                            ": give another folder for -o");
            }
        }
    }
}

void write_or_keep(const fs::path& file, const std::function<void(const fs::path&)>& write) {
    try {
        write(file);
    } catch (const repaint::error& refused) {
        std::error_code none;
        const fs::path elsewhere =
            fs::temp_directory_path(none) / ("repaint-" + std::to_string(::getpid()) + "-" + file.filename().string());
        try {
            write(elsewhere);
        } catch (const repaint::error&) {
            throw refused;
        }
        throw repaint::error(std::string(refused.what()) + "; the result is kept in " + elsewhere.string());
    }
}

bool is_litter(const fs::path& name) {
    const std::string last = repaint::lower_case(name.filename().string());
    return last.starts_with('.') || last == "__macosx" || last == "thumbs.db" || last == "ehthumbs.db" ||
           last == "desktop.ini" || last == "@eadir" || last == "$recycle.bin";
}

std::vector<fs::path> list_inputs(const fs::path& path, bool recursive, bool arrays) {
    std::error_code wrong;
    if (path == "-") { // standard input
        return {path};
    }
    if (!fs::exists(path, wrong)) {
        throw repaint::error(path.string() + ": there is no such file or folder");
    }
    if (!fs::is_directory(path, wrong)) {
        return {path};
    }
    std::vector<fs::path> files;
    auto entry = fs::recursive_directory_iterator(path, wrong);
    for (; !wrong && entry != fs::recursive_directory_iterator(); entry.increment(wrong)) {
        const fs::path& file = entry->path();
        std::error_code unreadable;
        if (entry->is_directory(unreadable) && (!recursive || is_litter(file))) {
            entry.disable_recursion_pending();
        } else if (!is_litter(file) && (is_picture_name(file) || (arrays && lower_extension(file) == ".npy")) &&
                   entry->is_regular_file(unreadable)) {
            files.push_back(file);
        }
    }
    if (wrong) {
        throw repaint::error(path.string() + ": the folder cannot be read: " + wrong.message());
    }
    if (files.empty()) {
        throw repaint::error(path.string() + ": there is no .png, .jpg or .jpeg" +
                             (arrays ? std::string(" or .npy") : std::string()) + " in this folder" +
                             (recursive ? "" : "; --recursive looks into its subfolders"));
    }
    std::sort(files.begin(), files.end());
    return files;
}

} // namespace cli
