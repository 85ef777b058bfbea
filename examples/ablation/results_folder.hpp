#pragma once

#include <cstddef>
#include <filesystem>

#include <repaint/image/picture.hpp>

#include "plan.hpp"
#include "tables.hpp"

namespace ablation {

/// The folder an ablation goes to: the fills that the contact sheet shows, the sheet and the tables.
class results_folder {
public:
    /// The first `shown` pictures are on the contact sheet, with every kind of mask. The plan must outlive this.
    results_folder(std::filesystem::path folder, const ablation_plan& plan, std::size_t shown);

    [[nodiscard]] bool is_shown(std::size_t at) const { return at < shown_; }

    /// The file of a fill that is shown.
    [[nodiscard]] std::filesystem::path fill(const fill_batch& batch, std::size_t at) const;
    void save_fill(const std::filesystem::path& file, const repaint::picture& filled) const;

    /// Where a stopped ablation leaves its state.
    [[nodiscard]] std::filesystem::path stopped() const { return folder_ / "stopped.safetensors"; }

    /// ablation.csv, comparisons.csv and contact_sheet.png of what there is.
    void save_results(const fill_table& fills) const;

private:
    [[nodiscard]] repaint::picture sheet() const;

    std::filesystem::path folder_;
    const ablation_plan* plan_;
    std::size_t shown_;
};

} // namespace ablation
