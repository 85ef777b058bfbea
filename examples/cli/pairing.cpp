#include "pairing.hpp"

#include <algorithm>
#include <cstddef>
#include <map>
#include <optional>
#include <stdexcept>
#include <string_view>

#include <repaint/error.hpp>

#include "outputs.hpp"

namespace cli {

namespace {

namespace fs = std::filesystem;

/// The folder that all files lie below.
fs::path common_folder(const std::vector<fs::path>& files) {
    fs::path common = files.front().parent_path();
    for (const auto& file : files) {
        const fs::path folder = file.parent_path();
        const auto end = std::mismatch(common.begin(), common.end(), folder.begin(), folder.end()).first;
        fs::path shorter;
        for (auto part = common.begin(); part != end; ++part) {
            shorter /= *part;
        }
        common = shorter;
    }
    return common;
}

/// What every file is called when looked up: its path below the common folder, or the last part of it.
std::vector<std::string> names_of(const std::vector<fs::path>& files, bool whole) {
    const fs::path folder = common_folder(files);
    std::vector<std::string> names;
    for (const auto& file : files) {
        const fs::path below = whole && !folder.empty() ? file.lexically_relative(folder) : file;
        names.push_back(whole ? fs::path(below).replace_extension().generic_string() : file.stem().string());
    }
    return names;
}

/// "face" for "face-2", "face-3" and so on.
std::optional<std::string> sample_of(const std::string& name) {
    const std::size_t dash = name.find_last_of('-');
    if (dash == std::string::npos || dash == 0 || dash + 1 == name.size() || name[dash + 1] == '0') {
        return std::nullopt;
    }
    const std::string_view number = std::string_view(name).substr(dash + 1);
    const bool digits = std::all_of(number.begin(), number.end(), [](char c) { return c >= '0' && c <= '9'; });
    return digits && number != "1" ? std::optional(name.substr(0, dash)) : std::nullopt;
}

/// The index in b for every name of a, or nothing; a name that b has twice pairs with nothing.
std::vector<std::optional<std::size_t>> partners(const std::vector<std::string>& a, const std::vector<std::string>& b,
                                                 bool samples) {
    std::map<std::string, std::optional<std::size_t>> places;
    for (std::size_t i = 0; i < b.size(); ++i) {
        const auto [at, added] = places.emplace(b[i], i);
        if (!added) {
            at->second.reset();
        }
    }
    std::vector<std::optional<std::size_t>> found;
    for (const auto& name : a) {
        auto at = places.find(name);
        const auto picture = samples && at == places.end() ? sample_of(name) : std::nullopt;
        if (picture) {
            at = places.find(*picture);
        }
        found.push_back(at == places.end() ? std::nullopt : at->second);
    }
    return found;
}

} // namespace

std::vector<fs::path> list_pictures(const fs::path& path) { return list_inputs(path, true, false); }

file_pairing pair_files(const std::vector<fs::path>& a, const std::vector<fs::path>& b,
                        const pairing_options& options) {
    if (a.empty() || b.empty()) {
        throw std::invalid_argument("there are no " + (a.empty() ? options.first : options.second) + " to pair");
    }
    file_pairing result;
    std::vector<std::optional<std::size_t>> by_name;
    std::size_t found = 0;
    for (const bool whole : {true, false}) {
        auto tried = partners(names_of(a, whole), names_of(b, whole), options.samples);
        const auto count =
            static_cast<std::size_t>(std::count_if(tried.begin(), tried.end(), [](const auto& at) { return at; }));
        if (by_name.empty() || count > found) {
            by_name = std::move(tried);
            found = count;
        }
    }
    if (found == a.size()) {
        for (std::size_t i = 0; i < a.size(); ++i) {
            result.pairs.emplace_back(a[i], b[*by_name[i]]);
        }
        result.how = "by name";
        return result;
    }
    const auto alone = std::find(by_name.begin(), by_name.end(), std::nullopt) - by_name.begin();
    const std::string first_alone = a[static_cast<std::size_t>(alone)].string();
    const bool mixed = found != 0;
    if ((mixed && !(options.mixed_by_order && a.size() == b.size())) || (b.size() != 1 && a.size() != b.size())) {
        throw std::invalid_argument(
            first_alone + " has no partner of its name among the " + options.second + " (" + std::to_string(b.size()) +
            "), " +
            (mixed ? "others of the " + options.first + " (" + std::to_string(a.size()) + ") have one"
                   : "and there are too many or too few " + options.first + " (" + std::to_string(a.size()) +
                         ") to pair them by order"));
    }
    for (std::size_t i = 0; i < a.size(); ++i) {
        result.pairs.emplace_back(a[i], b[b.size() == 1 ? 0 : i]);
    }
    result.how = b.size() == 1 ? "one for all" : "by sorted order";
    if (mixed) {
        result.how += ", as " + first_alone + " has no partner of its name";
    }
    return result;
}

} // namespace cli
