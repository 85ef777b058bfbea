#include <algorithm>
#include <array>
#include <cmath>
#include <concepts>
#include <cstdio>
#include <limits>
#include <map>
#include <stdexcept>
#include <utility>

#include <repaint/evaluation/diversity.hpp>
#include <repaint/evaluation/mean_interval.hpp>
#include <repaint/evaluation/psnr.hpp>
#include <repaint/evaluation/ssim.hpp>
#include <repaint/image/codecs.hpp>
#include <repaint/io/atomic_file.hpp>

#include "commands.hpp"
#include "csv.hpp"
#include "engine_cpu.hpp"
#include "image_files.hpp"
#include "mask_files.hpp"
#include "pairing.hpp"
#include "terminal.hpp"

namespace cli {

namespace {

namespace fs = std::filesystem;
using repaint::host_tensor;

constexpr double not_measured = std::numeric_limits<double>::quiet_NaN();

/// A picture of the truth with its mask and with the results that are compared with it.
struct picture_group {
    fs::path truth;
    std::optional<fs::path> mask;
    std::vector<fs::path> results;
    std::vector<std::size_t> rows; ///< of the table, one for each result
};

/// One column of the table; NaN where there is no number.
struct measurement {
    std::string name;
    bool of_picture; ///< one number for all samples of a picture
    std::vector<double> values;
};

std::string size_of(const host_tensor& t) { return std::to_string(t.shape().w) + "x" + std::to_string(t.shape().h); }

host_tensor read_rgb(const fs::path& file) { return repaint::to_tensor(repaint::read_picture(file)); }

/// The results of a group in one tensor.
host_tensor read_results(const picture_group& group, const host_tensor& truth) {
    std::vector<host_tensor> results;
    for (const auto& file : group.results) {
        results.push_back(read_rgb(file));
        if (results.back().shape() != truth.shape()) {
            throw std::invalid_argument(file.string() + " is " + size_of(results.back()) + ", but " +
                                        group.truth.string() + " is " + size_of(truth) +
                                        ": a result and its truth must have the same size");
        }
    }
    return repaint::joined(results);
}

std::optional<host_tensor> read_mask(const picture_group& group, const host_tensor& truth) {
    if (!group.mask) {
        return std::nullopt;
    }
    host_tensor keep = read_keep_mask(*group.mask, true);
    if (keep.shape().h != truth.shape().h || keep.shape().w != truth.shape().w) {
        throw std::invalid_argument(group.mask->string() + " is " + size_of(keep) + ", but " + group.truth.string() +
                                    " is " + size_of(truth) + ": a mask and its picture must have the same size");
    }
    return keep;
}

/// Measures group after group into a table.
class evaluation {
public:
    /// features: empty without LPIPS weights. diversity: some picture has several results.
    evaluation(repaint::ssim_window window, perceptual_features features, bool diversity, std::size_t rows)
        : window_(window), features_(std::move(features)), diversity_(diversity), rows_(rows) {}

    void add(const picture_group& group) {
        const host_tensor truth = read_rgb(group.truth);
        const host_tensor results = read_results(group, truth);
        const auto mask = read_mask(group, truth);
        try {
            repaint::lpips_features seen;
            repaint::lpips_features wanted;
            if (features_) {
                seen = features_(results);
                wanted = features_(truth);
            }
            enter(group, "psnr", repaint::psnr(results, truth));
            enter(group, "ssim", repaint::ssim(results, truth, window_));
            if (features_) {
                enter(group, "lpips", repaint::lpips_distance(seen, wanted));
            }
            if (mask) {
                enter(group, "psnr_hole", repaint::psnr(results, truth, *mask));
                enter(group, "ssim_hole", repaint::ssim(results, truth, *mask, window_));
                if (features_) {
                    enter(group, "lpips_hole", repaint::lpips_distance(seen, wanted, *mask));
                }
            }
            if (!diversity_) {
                return;
            }
            if (features_) {
                enter(group, "diversity", [&] { return repaint::lpips_diversity(seen); });
            }
            enter(group, "deviation", [&] { return repaint::sample_deviation(results); });
            if (mask && features_) {
                enter(group, "diversity_hole", [&] { return repaint::lpips_diversity(seen, *mask); });
            }
            if (mask) {
                enter(group, "deviation_hole", [&] { return repaint::sample_deviation(results, *mask); });
            }
        } catch (const repaint::shape_error& wrong) {
            throw repaint::shape_error(group.truth.string() + ": " + wrong.what());
        }
    }

    [[nodiscard]] const std::vector<measurement>& table() const { return table_; }

private:
    std::vector<double>& column(const char* name, bool of_picture) {
        const auto found = std::find_if(table_.begin(), table_.end(), [&](const auto& m) { return m.name == name; });
        if (found != table_.end()) {
            return found->values;
        }
        table_.push_back({name, of_picture, std::vector<double>(rows_, not_measured)});
        return table_.back().values;
    }

    void enter(const picture_group& group, const char* name, const std::vector<double>& values) {
        auto& to = column(name, false);
        for (std::size_t i = 0; i < group.rows.size(); ++i) {
            to[group.rows[i]] = values[i];
        }
    }

    template <std::invocable F> void enter(const picture_group& group, const char* name, F between_samples) {
        auto& to = column(name, true);
        if (group.rows.size() > 1) {
            const double value = between_samples();
            for (const std::size_t row : group.rows) {
                to[row] = value;
            }
        }
    }

    repaint::ssim_window window_;
    perceptual_features features_;
    bool diversity_;
    std::size_t rows_;
    std::vector<measurement> table_;
};

std::string csv(const std::vector<measurement>& table, const std::vector<std::pair<fs::path, fs::path>>& files,
                const std::vector<repaint::mean_interval>& means) {
    std::string text = "file,truth";
    for (const auto& column : table) {
        text += ',' + column.name;
    }
    text += '\n';
    for (std::size_t row = 0; row < files.size(); ++row) {
        text += csv_field(files[row].first.string()) + ',' + csv_field(files[row].second.string());
        for (const auto& column : table) {
            text += ',' + csv_number(column.values[row]);
        }
        text += '\n';
    }
    std::string last = "ci95,";
    text += "mean,";
    for (const auto& mean : means) {
        text += ',' + csv_number(mean.mean);
        last += ',' + csv_number(mean.half_width);
    }
    return text + '\n' + last + '\n';
}

/// The samples of a picture are no independent measurements: they count as one, their mean. Unless there is one picture
/// only; then the interval is that of its samples.
std::vector<double> independent(const measurement& column, const std::vector<picture_group>& groups) {
    if (groups.size() == 1 && !column.of_picture) {
        return column.values;
    }
    std::vector<double> values;
    for (const auto& group : groups) {
        std::vector<double> samples;
        for (const std::size_t row : group.rows) {
            samples.push_back(column.values[row]);
        }
        values.push_back(repaint::mean_with_interval(samples).mean);
    }
    return values;
}

void print_summary(const std::vector<measurement>& table, const std::vector<repaint::mean_interval>& means,
                   std::size_t pictures, std::size_t results) {
    std::fprintf(stderr, "mean and 95 %% interval (Student's t) over %s%s\n",
                 pictures > 1 ? counted(pictures, "picture").c_str() : counted(results, "result").c_str(),
                 pictures > 1 && results > pictures ? ", each the mean of its samples" : "");
    for (std::size_t i = 0; i < table.size(); ++i) {
        std::string line = means[i].count == 0 ? "none" : csv_number(means[i].mean);
        if (means[i].count > 1) {
            line += " +- " + csv_number(means[i].half_width);
        }
        const auto all = repaint::mean_with_interval(table[i].values);
        if (all.infinite > 0) {
            line += ", without " + counted(all.infinite, "infinite value");
        }
        if (all.undefined > 0) {
            line += ", without " + counted(all.undefined, "result") + " that " +
                    (all.undefined == 1 ? "has none" : "have none");
        }
        std::fprintf(stderr, "%-16s %s\n", table[i].name.c_str(), line.c_str());
    }
}

} // namespace

void evaluate(const evaluate_command& command) {
    const auto results = list_pictures(command.results);
    const auto truths = list_pictures(command.truth);
    const auto paired = pair_files(results, truths, {"results", "pictures of the truth", true});

    std::vector<picture_group> groups;
    std::map<fs::path, std::size_t> places;
    for (std::size_t row = 0; row < paired.pairs.size(); ++row) {
        const auto& [result, truth] = paired.pairs[row];
        const auto [place, added] = places.emplace(truth, groups.size());
        if (added) {
            groups.push_back({truth, std::nullopt, {}, {}});
        }
        groups[place->second].results.push_back(result);
        groups[place->second].rows.push_back(row);
    }
    std::string masks_paired;
    if (command.masks) {
        const auto files = list_pictures(*command.masks);
        std::vector<fs::path> compared;
        for (const auto& [truth, place] : places) {
            compared.push_back(truth);
        }
        // As many masks as pictures of the truth: one each, also where only some have results.
        const auto masks =
            pair_files(files.size() == truths.size() ? truths : compared, files, {"pictures of the truth", "masks"});
        for (const auto& [truth, mask] : masks.pairs) {
            if (const auto place = places.find(truth); place != places.end()) {
                groups[place->second].mask = mask;
            }
        }
        masks_paired = masks.how;
    }

    std::optional<repaint::atomic_file> out; // opened now: what cannot be written is better known before the work
    if (command.out) {
        out.emplace(*command.out);
    }
    perceptual_features features;
    if (!command.lpips.empty()) {
        engine_options options;
        options.threads = command.threads;
        features = make_cpu_lpips(command.lpips, options);
    }
    evaluation evaluated(command.ssim, std::move(features), groups.size() < results.size(), results.size());
    for (const auto& group : groups) {
        evaluated.add(group);
    }

    const auto& table = evaluated.table();
    std::vector<repaint::mean_interval> means;
    for (const auto& column : table) {
        means.push_back(repaint::mean_with_interval(independent(column, groups)));
    }
    const std::string text = csv(table, paired.pairs, means);
    if (out) {
        out->write(std::as_bytes(std::span(text)));
        out->commit();
    } else {
        std::fwrite(text.data(), 1, text.size(), stdout);
    }
    std::fprintf(stderr, "%s for %zu of %s, paired %s (%s with %s first)\n", counted(results.size(), "result").c_str(),
                 groups.size(), counted(truths.size(), "true picture").c_str(), paired.how.c_str(),
                 paired.pairs.front().first.c_str(), paired.pairs.front().second.c_str());
    if (command.masks) {
        std::fprintf(stderr, "their masks paired %s (%s with %s first)\n", masks_paired.c_str(),
                     groups.front().truth.c_str(), groups.front().mask->c_str());
    }
    print_summary(table, means, groups.size(), results.size());
}

} // namespace cli
