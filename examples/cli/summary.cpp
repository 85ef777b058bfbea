#include "summary.hpp"

#include <algorithm>
#include <array>
#include <cstdio>
#include <string>

#include "terminal.hpp"

namespace cli {

namespace {

std::string size_text(const std::pair<int, int>& size) {
    return std::to_string(size.first) + "x" + std::to_string(size.second);
}

/// "32x32", "32x32 and 128x128", "32x32 to 2048x1024 (7 sizes)"
std::string sizes_text(const std::vector<std::pair<int, int>>& sizes) {
    std::vector<std::pair<int, int>> different = sizes;
    const auto area = [](const auto& s) { return static_cast<long long>(s.first) * s.second; };
    std::sort(different.begin(), different.end(),
              [&](const auto& a, const auto& b) { return area(a) != area(b) ? area(a) < area(b) : a < b; });
    different.erase(std::unique(different.begin(), different.end()), different.end());
    if (different.size() > 3) {
        return size_text(different.front()) + " to " + size_text(different.back()) + " (" +
               std::to_string(different.size()) + " sizes)";
    }
    std::string text;
    for (std::size_t i = 0; i < different.size(); ++i) {
        text += (i == 0 ? "" : i + 1 == different.size() ? " and " : ", ") + size_text(different[i]);
    }
    return text;
}

} // namespace

void print_pictures(const std::vector<std::pair<int, int>>& sizes, const std::optional<double>& unknown) {
    std::string fill;
    if (unknown) {
        std::array<char, 32> text{};
        std::snprintf(text.data(), text.size(), *unknown >= 0.001 ? ", %.1f %% to fill" : ", %.3f %% to fill",
                      100.0 * *unknown);
        fill = text.data();
    }
    std::fprintf(stderr, "%s of %s%s\n", counted(sizes.size(), "picture").c_str(), sizes_text(sizes).c_str(),
                 fill.c_str());
    if (unknown && *unknown > 0.6) {
        std::fprintf(stderr,
                     "note: most of it will be filled; --keep takes masks with white where the picture is known, "
                     "--paint takes white where it is to be filled\n");
    }
    std::fflush(stderr);
}

void print_summary(const engine& model, const std::filesystem::path& weights, std::size_t evaluations,
                   const std::vector<std::pair<int, int>>& sizes) {
    const auto& about = model.description();
    std::string where(model.name());
    if (!model.precision().empty()) {
        where += " in " + std::string(model.precision());
    }
    std::fprintf(stderr, "%s: %s, %s parameters, on %s; %s\n", weights.filename().c_str(), about.family.c_str(),
                 thousands(about.parameters).c_str(), where.c_str(), counted(evaluations, "evaluation").c_str());
    print_remarks(model);
    const int trained = about.image_size;
    const auto far = std::find_if(sizes.begin(), sizes.end(), [trained](const auto& s) {
        return trained > 0 &&
               (s.first > 2 * trained || s.second > 2 * trained || 2 * s.first < trained || 2 * s.second < trained);
    });
    if (far != sizes.end()) {
        std::fprintf(stderr,
                     "note: the network was trained on pictures of %dx%d; what it makes of %s may look like pieces of "
                     "such\n",
                     trained, trained, size_text(*far).c_str());
    }
    print_notes(model);
}

void print_remarks(const engine& model) {
    for (const auto& remark : model.description().remarks) {
        if (!remark.starts_with("settings from")) {
            std::fprintf(stderr, "note: %s\n", remark.c_str());
        }
    }
}

void print_notes(const engine& model) {
    for (const auto& note : model.notes()) {
        std::fprintf(stderr, "note: %s\n", note.c_str());
    }
}

} // namespace cli
