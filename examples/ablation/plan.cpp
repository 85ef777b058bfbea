#include "plan.hpp"

#include <array>
#include <cstdio>
#include <map>
#include <set>
#include <span>
#include <stdexcept>
#include <utility>

#include <repaint/image/codecs.hpp>
#include <repaint/io/bytes.hpp>

#include "mask_files.hpp"
#include "mask_kinds.hpp"
#include "pairing.hpp"
#include "terminal.hpp"

namespace ablation {

namespace {

namespace fs = std::filesystem;
using cli::counted;
using cli::thousands;
using repaint::host_tensor;
using repaint::picture;

std::vector<sweep_point> points_of(const ablate_command& command) {
    std::vector<sweep_point> points;
    if (command.sweep != sweep_choice::jump_length) {
        points = resampling_points(command.timesteps, command.jump_length, command.passes);
    }
    if (command.sweep != sweep_choice::resampling) {
        const auto more = jump_length_points(command.timesteps, command.jump_lengths, command.jump_passes);
        points.insert(points.end(), more.begin(), more.end());
    }
    return points;
}

void check_picture(const cli::engine& model, const fs::path& file, const picture& p) {
    try {
        cli::check_image_shape(model, {1, model.network().in_channels, p.height, p.width});
    } catch (const repaint::shape_error& wrong) {
        throw repaint::shape_error(file.string() + ": " + wrong.what());
    }
}

} // namespace

repaint::inpaint_options options_of(const walk_setting& setting) {
    repaint::inpaint_options options;
    options.timesteps = setting.timesteps;
    options.jumps.jump_n_sample = setting.passes;
    if (setting.passes > 1) {
        options.jumps.jump_length = setting.jump_length;
    }
    return options;
}

ablation_plan plan_of(const ablate_command& command, cli::engine& model) {
    ablation_plan plan;
    plan.points = points_of(command);
    plan.settings = settings_of(plan.points);
    const auto files = cli::list_pictures(command.images);
    const auto found = find_mask_kinds(command.keeps, files);
    plan.kinds_found = found.how;
    const std::size_t count = command.limit > 0 ? std::min(files.size(), command.limit) : files.size();
    const bool folder = files.size() > 1 || files.front() != command.images;
    std::set<fs::path> fill_names;
    for (std::size_t i = 0; i < count; ++i) {
        const fs::path name = folder ? files[i].lexically_relative(command.images) : files[i].filename();
        fs::path fill_name = name;
        if (!fill_names.insert(fill_name.replace_extension()).second) {
            fill_name = name;
        }
        plan.pictures.push_back({name.generic_string(), fill_name, {files[i], repaint::read_picture(files[i]), {}}});
        check_picture(model, files[i], plan.pictures.back().pixels());
    }
    std::map<fs::path, std::size_t> places;
    for (const auto& kind : found.kinds) {
        plan.kinds.push_back(kind.name);
        auto& masks = plan.masks.emplace_back();
        for (std::size_t i = 0; i < count; ++i) {
            const fs::path& file = kind.masks[i];
            const auto [place, added] = places.emplace(file, plan.keeps.size());
            if (added) {
                plan.keeps.push_back(cli::read_keep_mask(file));
            }
            masks.push_back(place->second);
            const auto& p = plan.pictures[i].pixels();
            try {
                repaint::check_keep_mask({1, model.network().in_channels, p.height, p.width},
                                         plan.keeps[place->second]);
            } catch (const std::exception& wrong) {
                throw std::invalid_argument(files[i].string() + " with " + file.string() + ": " + wrong.what());
            }
        }
    }
    for (const auto& setting : plan.settings) {
        try {
            plan.evaluations.push_back(model.evaluations(options_of(setting)));
        } catch (const std::invalid_argument& wrong) {
            throw std::invalid_argument("the setting " + to_string(setting) + ": " + wrong.what());
        }
    }
    return plan;
}

std::string fingerprint(const picture& p, const host_tensor& keep) {
    const auto sum = [](auto values) { return repaint::detail::crc32(std::as_bytes(std::span(values))); };
    std::array<char, 20> text{};
    std::snprintf(text.data(), text.size(), "%08x%08x",
                  static_cast<unsigned>(sum(std::span<const std::uint8_t>(p.pixels))),
                  static_cast<unsigned>(sum(keep.values())));
    return text.data();
}

void print_plan(const ablation_plan& plan, std::size_t missing) {
    std::fprintf(stderr, "%s\n", plan.kinds_found.c_str());
    std::string line;
    for (std::size_t i = 0; i < plan.settings.size(); ++i) {
        line += (i == 0 ? "" : "; ") + to_string(plan.settings[i]) + ": " + std::to_string(plan.evaluations[i]);
    }
    std::fprintf(stderr, "network evaluations of a fill: %s\n", line.c_str());
    const std::size_t all = plan.pictures.size() * plan.kinds.size() * plan.settings.size();
    std::fprintf(stderr, "%s with %s of masks in %s: %s", counted(plan.pictures.size(), "picture").c_str(),
                 counted(plan.kinds.size(), "kind").c_str(), counted(plan.settings.size(), "setting").c_str(),
                 counted(all, "fill").c_str());
    std::fprintf(stderr, missing < all ? ", %s of them still to be made\n" : "\n", thousands(missing).c_str());
}

} // namespace ablation
