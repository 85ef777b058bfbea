#include "results_folder.hpp"

#include <algorithm>
#include <cmath>
#include <span>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include <repaint/error.hpp>
#include <repaint/image/codecs.hpp>
#include <repaint/image/official_crop.hpp>
#include <repaint/io/atomic_file.hpp>

namespace ablation {

namespace {

namespace fs = std::filesystem;
using repaint::host_tensor;
using repaint::picture;

constexpr int largest_cell = 256;
constexpr int smallest_cell = 96;

/// The picture with its hole in grey.
picture masked(const picture& p, const host_tensor& keep) {
    host_tensor image = repaint::to_tensor(p, 3);
    const auto known = keep.values();
    for (std::size_t i = 0; i < image.size(); ++i) {
        image.values()[i] *= known[i % known.size()];
    }
    return repaint::to_picture(image);
}

/// The picture with `scale` times as many pixels a side, less than 1.
picture reduced(const picture& p, double scale) {
    const auto side = [scale](int pixels) { return std::max(1, static_cast<int>(std::lround(scale * pixels))); };
    const int width = side(p.width);
    const int height = side(p.height);
    return repaint::box_resized(p, width, height);
}

} // namespace

results_folder::results_folder(fs::path folder, const ablation_plan& plan, std::size_t shown)
    : folder_(std::move(folder)), plan_(&plan), shown_(std::min(shown, plan.pictures.size())) {}

fs::path results_folder::fill(const fill_batch& batch, std::size_t at) const {
    const auto& setting = plan_->settings[batch.setting];
    fs::path name = plan_->pictures[at].fill_name;
    name += "-t" + std::to_string(setting.timesteps);
    if (setting.passes > 1) {
        name += "-j" + std::to_string(setting.jump_length) + "-r" + std::to_string(setting.passes);
    }
    name += ".png";
    return folder_ / "fills" / plan_->kinds[batch.kind] / name;
}

void results_folder::save_fill(const fs::path& file, const picture& filled) const {
    std::error_code refused;
    fs::create_directories(file.parent_path(), refused);
    if (refused) {
        throw repaint::error(file.parent_path().string() + ": the folder cannot be made: " + refused.message());
    }
    repaint::write_picture(file, filled);
}

void results_folder::save_results(const fill_table& fills) const {
    fill_selection results{&fills, {}, plan_->kinds, plan_->points};
    for (const auto& p : plan_->pictures) {
        results.pictures.push_back(p.name);
    }
    const auto write_text = [&](const char* name, const std::string& text) {
        repaint::write_file_atomically(folder_ / name, std::as_bytes(std::span(text)));
    };
    write_text("ablation.csv", summary_csv(results));
    write_text("comparisons.csv", comparisons_csv(results));
    repaint::write_picture(folder_ / "contact_sheet.png", sheet());
}

picture results_folder::sheet() const {
    std::vector<std::vector<picture>> rows;
    for (std::size_t kind = 0; kind < plan_->kinds.size(); ++kind) {
        for (std::size_t at = 0; at < shown_; ++at) {
            const auto& truth = plan_->pictures[at].pixels();
            auto& cells = rows.emplace_back();
            cells.push_back(truth);
            cells.push_back(masked(truth, plan_->keep(kind, at)));
            for (std::size_t setting = 0; setting < plan_->settings.size(); ++setting) {
                const fs::path file = fill({at, at + 1, kind, setting}, at);
                cells.push_back(fs::exists(file) ? repaint::read_picture(file) : picture{});
            }
        }
    }
    int largest = 1;
    for (std::size_t at = 0; at < shown_; ++at) {
        largest = std::max({largest, plan_->pictures[at].pixels().width, plan_->pictures[at].pixels().height});
    }
    if (largest > largest_cell) {
        for (auto& row : rows) {
            for (auto& cell : row) {
                if (cell.width > 0) {
                    cell = reduced(cell, static_cast<double>(largest_cell) / largest);
                }
            }
        }
    }
    return repaint::contact_sheet(rows, {.scale = std::max(1, smallest_cell / largest)});
}

} // namespace ablation
