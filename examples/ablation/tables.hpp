#pragma once

#include <compare>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

namespace ablation {

/// How a picture is filled: timesteps T, jumps of j, r passes. Without jumps (one pass) j is 0.
struct walk_setting {
    int timesteps = 0;
    int jump_length = 0;
    int passes = 1;

    friend auto operator<=>(const walk_setting&, const walk_setting&) = default;
};

/// "T 250" or "T 250, j 10, r 4".
[[nodiscard]] std::string to_string(const walk_setting& setting);

enum class sweep_kind { slowing_down, resampling, jump_length };

/// "slowing-down", "resampling", "jump-length".
[[nodiscard]] std::string to_string(sweep_kind sweep);

/// Which of the paper's tables are made: 2 (resampling, with slowing down), 3 (jump lengths) or both.
enum class sweep_choice { resampling, jump_length, all };

/// "resampling", "jump-length", "all". Throws std::invalid_argument for any other text.
[[nodiscard]] sweep_choice parse_sweep_choice(const std::string& text);

/// A point of a sweep. A setting may be in several sweeps, and is run once.
struct sweep_point {
    sweep_kind sweep;
    walk_setting setting;
};

/// The paper's table 2: r times the timesteps in one pass, then r passes over the timesteps with jumps of jump_length,
/// which take about as many evaluations. Without repetitions, in ascending order.
[[nodiscard]] std::vector<sweep_point> resampling_points(int timesteps, int jump_length, std::vector<int> passes);

/// The paper's table 3: every jump length with every number of passes. Without repetitions, in ascending order.
[[nodiscard]] std::vector<sweep_point> jump_length_points(int timesteps, std::vector<int> jump_lengths,
                                                          std::vector<int> passes);

/// The settings of the points in their order, each once.
[[nodiscard]] std::vector<walk_setting> settings_of(const std::vector<sweep_point>& points);

/// Which fill it is: the picture, the kind of its mask and the setting.
struct fill_key {
    std::string picture;
    std::string mask;
    walk_setting setting;

    friend auto operator<=>(const fill_key&, const fill_key&) = default;
};

/// What came of it. fingerprint: of the picture's and the mask's pixels.
struct fill_result {
    std::size_t evaluations = 0;
    std::uint64_t seed = 0;
    std::string fingerprint;
    double seconds = 0.0;
    std::vector<double> measures; ///< NaN: undefined
};

/// The fills of an ablation, in the file pictures.csv of its folder beside settings.json, which says what else they
/// depend on.
class fill_table {
public:
    /// Reads what the folder has; makes the folder where there is none. measures: the columns' names. settings: what the
    /// results depend on. Throws std::invalid_argument naming the first setting that differs from before, format_error
    /// for files that are not such a table's, repaint::error for a folder that cannot be made.
    fill_table(std::filesystem::path folder, std::vector<std::string> measures,
               const std::map<std::string, std::string>& settings);

    [[nodiscard]] const std::vector<std::string>& measures() const { return measures_; }
    /// Null when there is none yet.
    [[nodiscard]] const fill_result* find(const fill_key& key) const;
    /// Keeps the numbers as the file will have them.
    void add(const fill_key& key, fill_result result);
    void save() const;

private:
    std::filesystem::path folder_;
    std::vector<std::string> measures_;
    std::map<fill_key, fill_result> fills_;
};

/// Fills of some pictures and kinds of masks, for tables.
struct fill_selection {
    const fill_table* fills;
    std::vector<std::string> pictures;
    std::vector<std::string> masks;
    std::vector<sweep_point> points;

    /// What there is of a kind of masks in a setting, in the order of the pictures; null: not yet filled.
    [[nodiscard]] std::vector<const fill_result*> row(const std::string& mask, const walk_setting& setting) const;
};

/// A row for each sweep, kind of masks and setting: the means of the measures and half their 95 % intervals. exact: fills
/// with an infinite measure, the PSNR of equal pictures, which the means of that measure leave out.
[[nodiscard]] std::string summary_csv(const fill_selection& of);

/// Settings against each other, picture by picture: resampling against slowing down with about as many evaluations, jump
/// lengths against the first one with as many passes. Means of the differences and half their 95 % intervals; what is
/// infinite in one of them is left out.
[[nodiscard]] std::string comparisons_csv(const fill_selection& of);

} // namespace ablation
