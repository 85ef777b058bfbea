#include "tables.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdlib>
#include <limits>
#include <optional>
#include <span>
#include <stdexcept>
#include <system_error>
#include <utility>

#include <repaint/error.hpp>
#include <repaint/evaluation/mean_interval.hpp>
#include <repaint/io/atomic_file.hpp>
#include <repaint/io/bytes.hpp>
#include <repaint/io/json.hpp>
#include <repaint/io/mapped_file.hpp>

#include "csv.hpp"

namespace ablation {

namespace {

namespace fs = std::filesystem;

using cli::csv_field;
using cli::csv_number;

constexpr double undefined = std::numeric_limits<double>::quiet_NaN();

/// Of pictures.csv; the measures come after them.
const std::vector<std::string> first_columns{"picture",     "mask", "timesteps",   "jump_length", "jump_n_sample",
                                             "evaluations", "seed", "fingerprint", "seconds"};

double number(const std::string& text, const std::string& place) {
    if (text.empty()) {
        return undefined;
    }
    char* end = nullptr;
    const double value = std::strtod(text.c_str(), &end);
    if (end != text.c_str() + text.size()) {
        throw repaint::format_error(place + ": \"" + repaint::printable(text, 40) + "\" is no number");
    }
    return value;
}

double as_written(double value) { return number(csv_number(value), "a number"); }

void write_text(const fs::path& file, const std::string& text) {
    repaint::write_file_atomically(file, std::as_bytes(std::span(text)));
}

void append(std::string& line, const std::string& field) {
    line += ',';
    line += field;
}

std::string jump_length_text(const walk_setting& s) { return s.passes > 1 ? std::to_string(s.jump_length) : ""; }

/// The settings of the table that is there, else nothing.
std::map<std::string, std::string> read_settings(const fs::path& file) {
    std::map<std::string, std::string> settings;
    const auto json = repaint::read_json(file);
    for (const auto& [key, value] : json.as_object()) {
        settings.emplace(key, value.as_string());
    }
    return settings;
}

std::string json_of(const std::map<std::string, std::string>& settings) {
    std::string text = "{";
    for (const auto& [key, value] : settings) {
        text += text.size() == 1 ? "\n    " : ",\n    ";
        text += repaint::json_string(key);
        text += ": ";
        text += repaint::json_string(value);
    }
    return text + "\n}\n";
}

template <class T> T whole_number(const std::string& text, const std::string& place) {
    T value{};
    const auto end = std::from_chars(text.data(), text.data() + text.size(), value);
    if (end.ec != std::errc() || end.ptr != text.data() + text.size()) {
        throw repaint::format_error(place + ": \"" + repaint::printable(text, 40) + "\" is no whole number");
    }
    return value;
}

std::vector<int> ascending(std::vector<int> values) {
    std::sort(values.begin(), values.end());
    values.erase(std::unique(values.begin(), values.end()), values.end());
    return values;
}

/// The mean of the differences a - b of pictures that both have.
repaint::mean_interval difference(const std::vector<const fill_result*>& a, const std::vector<const fill_result*>& b,
                                  std::size_t measure) {
    std::vector<double> values;
    for (std::size_t i = 0; i < a.size(); ++i) {
        if (a[i] != nullptr && b[i] != nullptr) {
            values.push_back(a[i]->measures[measure] - b[i]->measures[measure]);
        }
    }
    return repaint::mean_with_interval(values);
}

/// The point of the sweeps that a point is compared with.
std::optional<walk_setting> compared_with(const sweep_point& point, const std::vector<sweep_point>& points) {
    if (point.setting.passes == 1) {
        return std::nullopt;
    }
    if (point.sweep == sweep_kind::resampling) {
        return walk_setting{point.setting.timesteps * point.setting.passes, 0, 1};
    }
    const auto first = std::find_if(points.begin(), points.end(), [&](const sweep_point& other) {
        return other.sweep == sweep_kind::jump_length && other.setting.passes == point.setting.passes;
    });
    return first->setting == point.setting ? std::nullopt : std::optional(first->setting);
}

} // namespace

std::string to_string(const walk_setting& setting) {
    std::string text = "T " + std::to_string(setting.timesteps);
    if (setting.passes > 1) {
        text += ", j " + std::to_string(setting.jump_length) + ", r " + std::to_string(setting.passes);
    }
    return text;
}

std::string to_string(sweep_kind sweep) {
    switch (sweep) {
    case sweep_kind::slowing_down: return "slowing-down";
    case sweep_kind::resampling: return "resampling";
    default: return "jump-length";
    }
}

sweep_choice parse_sweep_choice(const std::string& text) {
    if (text == "resampling") {
        return sweep_choice::resampling;
    }
    if (text == "jump-length") {
        return sweep_choice::jump_length;
    }
    if (text == "all") {
        return sweep_choice::all;
    }
    throw std::invalid_argument("there is no sweep " + text);
}

std::vector<sweep_point> resampling_points(int timesteps, int jump_length, std::vector<int> passes) {
    const auto counts = ascending(std::move(passes));
    std::vector<sweep_point> points;
    for (const int r : counts) {
        points.push_back({sweep_kind::slowing_down, {timesteps * r, 0, 1}});
    }
    for (const int r : counts) {
        points.push_back({sweep_kind::resampling, {timesteps, r > 1 ? jump_length : 0, r}});
    }
    return points;
}

std::vector<sweep_point> jump_length_points(int timesteps, std::vector<int> jump_lengths, std::vector<int> passes) {
    const auto lengths = ascending(std::move(jump_lengths));
    std::vector<sweep_point> points;
    for (const int r : ascending(std::move(passes))) {
        for (const int j : lengths) {
            points.push_back({sweep_kind::jump_length, {timesteps, j, r}});
        }
    }
    return points;
}

std::vector<walk_setting> settings_of(const std::vector<sweep_point>& points) {
    std::vector<walk_setting> settings;
    for (const auto& point : points) {
        if (std::find(settings.begin(), settings.end(), point.setting) == settings.end()) {
            settings.push_back(point.setting);
        }
    }
    return settings;
}

fill_table::fill_table(fs::path folder, std::vector<std::string> measures,
                       const std::map<std::string, std::string>& settings)
    : folder_(std::move(folder)), measures_(std::move(measures)) {
    std::error_code refused;
    fs::create_directories(folder_, refused);
    if (refused) {
        throw repaint::error(folder_.string() + ": the folder cannot be made: " + refused.message());
    }
    const fs::path about = folder_ / "settings.json";
    if (!fs::exists(about)) {
        if (fs::exists(folder_ / "pictures.csv")) {
            throw std::invalid_argument(folder_.string() +
                                        " holds a pictures.csv and no settings.json: give another folder");
        }
        write_text(about, json_of(settings));
        return;
    }
    const auto before = read_settings(about);
    for (const auto& [key, value] : settings) {
        const auto found = before.find(key);
        if (found == before.end() || found->second != value) {
            throw std::invalid_argument(folder_.string() + " holds an ablation with " + key + " " +
                                        (found == before.end() ? "unknown" : repaint::printable(found->second)) +
                                        ", now it is " + value + ": give another folder");
        }
    }
    const fs::path file = folder_ / "pictures.csv";
    if (!fs::exists(file)) {
        return;
    }
    const repaint::mapped_file content(file);
    const auto bytes = content.bytes();
    const auto rows = cli::parse_csv({reinterpret_cast<const char*>(bytes.data()), bytes.size()}, file.string());
    auto columns = first_columns;
    columns.insert(columns.end(), measures_.begin(), measures_.end());
    if (rows.empty() || rows.front() != columns) {
        throw repaint::format_error(file.string() + ": not the table of an ablation with these measures");
    }
    for (std::size_t i = 1; i < rows.size(); ++i) {
        const std::string place = file.string() + ", line " + std::to_string(i + 1);
        const auto& row = rows[i];
        if (row.size() != columns.size()) {
            throw repaint::format_error(place + ": " + std::to_string(row.size()) + " fields, expected " +
                                        std::to_string(columns.size()));
        }
        const walk_setting setting{whole_number<int>(row[2], place),
                                   row[3].empty() ? 0 : whole_number<int>(row[3], place),
                                   whole_number<int>(row[4], place)};
        fill_result result{whole_number<std::size_t>(row[5], place),
                           whole_number<std::uint64_t>(row[6], place),
                           row[7],
                           number(row[8], place),
                           {}};
        for (std::size_t m = 0; m < measures_.size(); ++m) {
            result.measures.push_back(number(row[first_columns.size() + m], place));
        }
        fills_.insert_or_assign({row[0], row[1], setting}, std::move(result));
    }
}

const fill_result* fill_table::find(const fill_key& key) const {
    const auto found = fills_.find(key);
    return found == fills_.end() ? nullptr : &found->second;
}

void fill_table::add(const fill_key& key, fill_result result) {
    result.seconds = as_written(result.seconds);
    std::transform(result.measures.begin(), result.measures.end(), result.measures.begin(), as_written);
    fills_.insert_or_assign(key, std::move(result));
}

void fill_table::save() const {
    std::string text;
    for (const auto& column : first_columns) {
        text += (text.empty() ? "" : ",") + column;
    }
    for (const auto& measure : measures_) {
        append(text, measure);
    }
    text += '\n';
    for (const auto& [key, result] : fills_) {
        text += csv_field(key.picture);
        append(text, csv_field(key.mask));
        append(text, std::to_string(key.setting.timesteps));
        append(text, jump_length_text(key.setting));
        append(text, std::to_string(key.setting.passes));
        append(text, std::to_string(result.evaluations));
        append(text, std::to_string(result.seed));
        append(text, result.fingerprint);
        append(text, csv_number(result.seconds));
        for (const double value : result.measures) {
            append(text, csv_number(value));
        }
        text += '\n';
    }
    write_text(folder_ / "pictures.csv", text);
}

std::vector<const fill_result*> fill_selection::row(const std::string& mask, const walk_setting& setting) const {
    std::vector<const fill_result*> results;
    for (const auto& picture : pictures) {
        results.push_back(fills->find({picture, mask, setting}));
    }
    return results;
}

std::string summary_csv(const fill_selection& of) {
    std::string text = "sweep,mask,timesteps,jump_length,jump_n_sample,evaluations,pictures,exact,seconds";
    for (const auto& measure : of.fills->measures()) {
        append(text, measure);
        append(text, measure + "_ci95");
    }
    text += '\n';
    for (const auto& point : of.points) {
        for (const auto& mask : of.masks) {
            const auto row = of.row(mask, point.setting);
            std::size_t pictures = 0;
            std::size_t exact = 0;
            std::size_t evaluations = 0;
            double seconds = 0.0;
            for (const auto* result : row) {
                if (result != nullptr) {
                    ++pictures;
                    exact += std::any_of(result->measures.begin(), result->measures.end(),
                                         [](double value) { return std::isinf(value); })
                                 ? 1U
                                 : 0U;
                    evaluations = result->evaluations;
                    seconds += result->seconds;
                }
            }
            if (pictures == 0) {
                continue;
            }
            text += to_string(point.sweep);
            append(text, csv_field(mask));
            append(text, std::to_string(point.setting.timesteps));
            append(text, jump_length_text(point.setting));
            append(text, std::to_string(point.setting.passes));
            append(text, std::to_string(evaluations));
            append(text, std::to_string(pictures));
            append(text, std::to_string(exact));
            append(text, csv_number(seconds));
            for (std::size_t m = 0; m < of.fills->measures().size(); ++m) {
                std::vector<double> values;
                for (const auto* result : row) {
                    if (result != nullptr) {
                        values.push_back(result->measures[m]);
                    }
                }
                const auto mean = repaint::mean_with_interval(values);
                append(text, csv_number(mean.mean));
                append(text, csv_number(mean.half_width));
            }
            text += '\n';
        }
    }
    return text;
}

std::string comparisons_csv(const fill_selection& of) {
    std::string text = "sweep,mask,timesteps,jump_length,jump_n_sample,evaluations,against_timesteps,"
                       "against_jump_length,against_jump_n_sample,against_evaluations,pictures";
    for (const auto& measure : of.fills->measures()) {
        append(text, measure + "_difference");
        append(text, measure + "_ci95");
    }
    text += '\n';
    for (const auto& point : of.points) {
        const auto other = compared_with(point, of.points);
        if (!other) {
            continue;
        }
        for (const auto& mask : of.masks) {
            const auto a = of.row(mask, point.setting);
            const auto b = of.row(mask, *other);
            std::size_t pictures = 0;
            std::string evaluations;
            std::string other_evaluations;
            for (std::size_t i = 0; i < a.size(); ++i) {
                if (a[i] != nullptr && b[i] != nullptr) {
                    ++pictures;
                    evaluations = std::to_string(a[i]->evaluations);
                    other_evaluations = std::to_string(b[i]->evaluations);
                }
            }
            if (pictures == 0) {
                continue;
            }
            text += to_string(point.sweep);
            append(text, csv_field(mask));
            append(text, std::to_string(point.setting.timesteps));
            append(text, jump_length_text(point.setting));
            append(text, std::to_string(point.setting.passes));
            append(text, evaluations);
            append(text, std::to_string(other->timesteps));
            append(text, jump_length_text(*other));
            append(text, std::to_string(other->passes));
            append(text, other_evaluations);
            append(text, std::to_string(pictures));
            for (std::size_t m = 0; m < of.fills->measures().size(); ++m) {
                const auto mean = difference(a, b, m);
                append(text, csv_number(mean.mean));
                append(text, csv_number(mean.half_width));
            }
            text += '\n';
        }
    }
    return text;
}

} // namespace ablation
