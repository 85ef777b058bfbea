#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <functional>
#include <limits>
#include <map>
#include <set>
#include <stdexcept>
#include <system_error>
#include <utility>

#include <repaint/evaluation/mean_interval.hpp>
#include <repaint/evaluation/psnr.hpp>
#include <repaint/evaluation/ssim.hpp>
#include <repaint/io/atomic_file.hpp>
#include <repaint/io/bytes.hpp>
#include <repaint/image/codecs.hpp>

#include "ablation.hpp"
#include "commands.hpp"
#include "engine_cpu.hpp"
#include "image_files.hpp"
#include "mask_kinds.hpp"
#include "pairing.hpp"
#include "plot.hpp"
#include "run_state.hpp"
#include "summary.hpp"
#include "terminal.hpp"

namespace cli {

namespace {

namespace fs = std::filesystem;
using repaint::host_tensor;
using repaint::picture;
using repaint::shape4;

constexpr double undefined = std::numeric_limits<double>::quiet_NaN();

/// Pictures of the contact sheet for each kind of mask, and rows of the whole sheet.
constexpr std::size_t most_sheet_rows = 120;

/// A picture that is filled again and again.
struct source_picture {
    std::string name;   ///< below the folder of the pictures
    fs::path fill_name; ///< what its fills are called: the name without its extension where no other has it
    source_image image;

    [[nodiscard]] const picture& pixels() const { return *image.pixels; }
};

/// All of an ablation: every picture with every kind of mask in every setting.
struct ablation_plan {
    std::vector<source_picture> pictures;
    std::vector<std::string> kinds;
    std::vector<std::vector<std::size_t>> masks; ///< of each kind: which of keeps each picture has
    std::vector<host_tensor> keeps;              ///< (1, 1 or 3, h, w)
    std::vector<sweep_point> points;
    std::vector<walk_setting> settings; ///< of the points, each once

    [[nodiscard]] const host_tensor& keep(std::size_t kind, std::size_t at) const { return keeps[masks[kind][at]]; }
};

/// Fills that are made together: the pictures [first, last) with a kind of mask in a setting.
struct fill_batch {
    std::size_t first;
    std::size_t last;
    std::size_t kind;
    std::size_t setting;
};

std::vector<sweep_point> points_of(const ablate_command& command) {
    std::vector<sweep_point> points;
    if (command.sweep != "jump-length") {
        points = resampling_points(command.timesteps, command.jump_length, command.passes);
    }
    if (command.sweep != "resampling") {
        const auto more = jump_length_points(command.timesteps, command.jump_lengths, command.jump_passes);
        points.insert(points.end(), more.begin(), more.end());
    }
    return points;
}

/// Refuses folders of which one holds the other: what is written would be taken for a picture the next time.
void check_apart(const fs::path& out, const fs::path& read) {
    if (!fs::is_directory(read)) {
        return;
    }
    const fs::path below = fs::weakly_canonical(out).lexically_relative(fs::weakly_canonical(read));
    if (!below.empty() && *below.begin() != "..") {
        throw std::invalid_argument("-o " + out.string() + " is in " + read.string() +
                                    ", whose pictures are read: give a folder outside of it");
    }
}

repaint::inpaint_options options_of(const walk_setting& setting) {
    repaint::inpaint_options options;
    options.timesteps = setting.timesteps;
    options.jumps.jump_n_sample = setting.passes;
    if (setting.passes > 1) {
        options.jumps.jump_length = setting.jump_length;
    }
    return options;
}

void check_picture(const engine& model, const fs::path& file, const picture& p) {
    try {
        check_image_shape(model, {1, model.network().in_channels, p.height, p.width});
    } catch (const repaint::shape_error& wrong) {
        throw repaint::shape_error(file.string() + ": " + wrong.what());
    }
}

/// Reads pictures and masks and checks that they belong together. how: in words, how the masks were found.
ablation_plan plan_of(const ablate_command& command, const engine& model, std::string& how) {
    ablation_plan plan;
    plan.points = points_of(command);
    plan.settings = settings_of(plan.points);
    const auto files = list_pictures(command.images);
    const auto found = find_mask_kinds(command.keeps, files);
    how = found.how;
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
                plan.keeps.push_back(repaint::keep_mask(repaint::read_picture(file), repaint::mask_polarity::keep));
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
    return plan;
}

/// What the results depend on besides pictures, masks, seeds and settings of the walk. Not the backend: results differ
/// by no more than the backends do.
std::map<std::string, std::string> dependencies_of(const ablate_command& command, const engine& model,
                                                   const std::vector<std::string>& measures) {
    const auto name = [](const fs::path& file) { return repaint::detail::printable(file.filename().string()); };
    std::string labels = command.draw_labels ? "random" : "";
    for (const int label : command.labels) {
        labels += (labels.empty() ? "" : " ") + std::to_string(label);
    }
    std::string columns;
    for (const auto& measure : measures) {
        columns += (columns.empty() ? "" : " ") + measure;
    }
    const auto& classifier = command.model.classifier;
    return {{"format", "repaint ablation 1"},
            {"model",
             name(command.model.weights) + " of " + std::to_string(model.description().parameters) + " parameters"},
            {"classifier",
             classifier ? name(*classifier) + " times " + std::to_string(command.model.classifier_scale) : "none"},
            {"labels", labels.empty() ? "none" : labels},
            {"measures", columns}};
}

std::string fingerprint(const picture& p, const host_tensor& keep) {
    const auto sum = [](auto values) { return repaint::detail::crc32(std::as_bytes(std::span(values))); };
    std::array<char, 20> text{};
    std::snprintf(text.data(), text.size(), "%08x%08x",
                  static_cast<unsigned>(sum(std::span<const std::uint8_t>(p.pixels))),
                  static_cast<unsigned>(sum(keep.values())));
    return text.data();
}

/// Images of one size in one tensor.
host_tensor batch_of(const std::vector<host_tensor>& images) {
    shape4 s = images.front().shape();
    std::vector<float> values;
    for (const auto& image : images) {
        values.insert(values.end(), image.values().begin(), image.values().end());
    }
    s.n = static_cast<int>(images.size());
    return {s, std::move(values)};
}

/// The mean absolute difference over the hole in 8-bit levels, channel by channel; NaN when there is no hole.
std::vector<double> absolute_error(const host_tensor& images, const host_tensor& truth, const host_tensor& keep) {
    std::vector<double> errors;
    for (int i = 0; i < images.shape().n; ++i) {
        const auto x = images.image(i);
        const auto y = truth.image(i);
        const auto known = keep.image(keep.shape().n == 1 ? 0 : i);
        double sum = 0.0;
        double weight = 0.0;
        for (std::size_t at = 0; at < x.size(); ++at) {
            const double missing = 1.0 - static_cast<double>(known[at % known.size()]);
            sum += missing * std::abs(static_cast<double>(x[at]) - static_cast<double>(y[at]));
            weight += missing;
        }
        errors.push_back(127.5 * sum / weight);
    }
    return errors;
}

std::vector<std::string> measure_names(bool perceptual) {
    if (perceptual) {
        return {"lpips_hole", "mae_hole", "psnr_hole", "ssim_hole", "lpips", "psnr", "ssim"};
    }
    return {"mae_hole", "psnr_hole", "ssim_hole", "psnr", "ssim"};
}

/// The measures of images, each in the order of measure_names.
std::vector<std::vector<double>> measured(const host_tensor& images, const host_tensor& truth, const host_tensor& keep,
                                          const perceptual_features& features) {
    constexpr int ssim_side = 7;
    const auto count = static_cast<std::size_t>(images.shape().n);
    const bool structure = images.shape().h >= ssim_side && images.shape().w >= ssim_side;
    const std::vector<double> none(count, undefined);
    std::vector<std::vector<double>> columns{absolute_error(images, truth, keep), repaint::psnr(images, truth, keep),
                                             structure ? repaint::ssim(images, truth, keep) : none,
                                             repaint::psnr(images, truth),
                                             structure ? repaint::ssim(images, truth) : none};
    if (features) {
        const auto seen = features(images);
        const auto wanted = features(truth);
        columns.insert(columns.begin(), repaint::lpips_distance(seen, wanted, keep));
        columns.insert(columns.begin() + 4, repaint::lpips_distance(seen, wanted));
    }
    std::vector<std::vector<double>> rows(count);
    for (std::size_t i = 0; i < count; ++i) {
        for (const auto& column : columns) {
            rows[i].push_back(column[i]);
        }
    }
    return rows;
}

/// The folder an ablation goes to: its fills for the contact sheet, its tables and its figures.
class ablation_folder {
public:
    ablation_folder(fs::path folder, const ablation_plan& plan, std::size_t shown)
        : folder_(std::move(folder)), plan_(&plan), shown_(std::min(shown, plan.pictures.size())) {}

    [[nodiscard]] bool is_shown(std::size_t at) const { return at < shown_; }

    [[nodiscard]] fs::path fill(const fill_batch& batch, std::size_t at) const {
        const auto& setting = plan_->settings[batch.setting];
        fs::path name = plan_->pictures[at].fill_name;
        name += "-t" + std::to_string(setting.timesteps);
        if (setting.passes > 1) {
            name += "-j" + std::to_string(setting.jump_length) + "-r" + std::to_string(setting.passes);
        }
        name += ".png";
        return folder_ / "fills" / plan_->kinds[batch.kind] / name;
    }

    void save_fill(const fs::path& file, const picture& filled) const {
        std::error_code refused;
        fs::create_directories(file.parent_path(), refused);
        if (refused) {
            throw repaint::error(file.parent_path().string() + ": the folder cannot be made: " + refused.message());
        }
        repaint::write_picture(file, filled);
    }

    [[nodiscard]] fs::path stopped() const { return folder_ / "stopped.safetensors"; }

    /// The tables and figures of what there is.
    void save_results(const fill_table& fills) const {
        ablation results{&fills, {}, plan_->kinds, plan_->points};
        for (const auto& p : plan_->pictures) {
            results.pictures.push_back(p.name);
        }
        write_text("ablation.csv", summary_csv(results));
        write_text("comparisons.csv", comparisons_csv(results));
        repaint::write_picture(folder_ / "ablation.png", drawn(figure(results)));
        repaint::write_picture(folder_ / "contact_sheet.png", drawn(sheet()));
    }

private:
    void write_text(const char* name, const std::string& text) const {
        repaint::write_file_atomically(folder_ / name, std::as_bytes(std::span(text)));
    }

    /// The line of the panel of each kind of mask through these points of the sweep.
    static plot_point point_of(const ablation& results, const std::string& mask, const walk_setting& setting,
                               bool over_evaluations) {
        std::vector<double> values;
        plot_point point;
        for (const auto* fill : results.row(mask, setting)) {
            if (fill != nullptr) {
                values.push_back(fill->measures.front());
                point.x = static_cast<double>(over_evaluations ? fill->evaluations
                                                               : static_cast<std::size_t>(setting.jump_length));
            }
        }
        const auto mean = repaint::mean_with_interval(values);
        point.y = mean.mean;
        point.half_width = mean.half_width;
        return point;
    }

    [[nodiscard]] plot_figure figure(const ablation& results) const {
        const bool perceptual = results.fills->measures().front() == "lpips_hole";
        plot_figure figure;
        figure.y_label = perceptual ? "LPIPS in the hole" : "absolute error in the hole";
        std::vector<std::string> passes;
        std::set<int> lengths;
        std::string timesteps;
        int jump_length = 0;
        for (const auto& point : plan_->points) {
            if (point.sweep == sweep_kind::resampling) {
                passes.push_back(std::to_string(point.setting.passes));
                jump_length = std::max(jump_length, point.setting.jump_length);
            }
            if (point.sweep == sweep_kind::jump_length) {
                lengths.insert(point.setting.jump_length);
            }
            if (point.sweep != sweep_kind::slowing_down) {
                timesteps = std::to_string(point.setting.timesteps);
            }
        }
        if (!passes.empty()) {
            std::string list;
            for (std::size_t i = 0; i < passes.size(); ++i) {
                list += (i == 0 ? "" : i + 1 == passes.size() ? " and " : ", ") + passes[i];
            }
            plot_section section{"Slowing down or resampling, at about equal cost", "network evaluations", {}, {}};
            for (const auto& kind : plan_->kinds) {
                plot_panel panel{kind,
                                 {{"slowing down: T is " + list + " times " + timesteps + ", one pass", {}},
                                  {"resampling: T = " + timesteps + ", j = " + std::to_string(jump_length) +
                                       ", r = " + list + " passes",
                                   {}}}};
                for (const auto& point : plan_->points) {
                    if (point.sweep != sweep_kind::jump_length) {
                        panel.lines[point.sweep == sweep_kind::slowing_down ? 0 : 1].points.push_back(
                            point_of(results, kind, point.setting, true));
                    }
                }
                section.panels.push_back(std::move(panel));
            }
            figure.sections.push_back(std::move(section));
        }
        if (!lengths.empty()) {
            plot_section section{"Jump length, at T = " + timesteps, "jump length j", {}, {}};
            section.x_ticks.assign(lengths.begin(), lengths.end());
            for (const auto& kind : plan_->kinds) {
                plot_panel panel{kind, {}};
                for (const auto& point : plan_->points) {
                    if (point.sweep != sweep_kind::jump_length) {
                        continue;
                    }
                    const std::string name = "r = " + std::to_string(point.setting.passes);
                    if (panel.lines.empty() || panel.lines.back().name != name) {
                        panel.lines.push_back({name, {}});
                    }
                    panel.lines.back().points.push_back(point_of(results, kind, point.setting, false));
                }
                section.panels.push_back(std::move(panel));
            }
            figure.sections.push_back(std::move(section));
        }
        figure.caption =
            std::string(perceptual ? "LPIPS (AlexNet)" : "Mean absolute error in 8-bit levels, 0 to 255,") +
            " over the hole; lower is better. Mean and its 95 % interval over " +
            counted(results.pictures.size(), "picture") +
            ". T: timesteps, j: jump length, r: passes over every stretch. The pictures and holes are the same "
            "in all settings, so that differences between them are known better than the intervals suggest: see "
            "comparisons.csv. The vertical axes differ and need not begin at 0.";
        return figure;
    }

    [[nodiscard]] picture_sheet sheet() const {
        picture_sheet sheet;
        sheet.columns = {{"", {"truth"}}, {"", {"input"}}};
        std::set<walk_setting> seen;
        for (const auto& point : plan_->points) {
            if (!seen.insert(point.setting).second) {
                continue;
            }
            const std::string group = point.sweep == sweep_kind::slowing_down ? "slowing down"
                                      : point.sweep == sweep_kind::resampling ? "resampling"
                                                                              : "jump length";
            sheet_column column{group, {"T " + std::to_string(point.setting.timesteps)}};
            if (point.setting.passes > 1) {
                column.lines.push_back("j " + std::to_string(point.setting.jump_length) + ", r " +
                                       std::to_string(point.setting.passes));
            }
            sheet.columns.push_back(std::move(column));
        }
        for (std::size_t kind = 0; kind < plan_->kinds.size(); ++kind) {
            for (std::size_t at = 0; at < shown_; ++at) {
                sheet.rows.push_back(plan_->kinds[kind]);
                auto& cells = sheet.cells.emplace_back();
                cells.push_back(plan_->pictures[at].pixels());
                cells.push_back(masked(plan_->pictures[at].pixels(), plan_->keep(kind, at)));
                for (std::size_t setting = 0; setting < plan_->settings.size(); ++setting) {
                    const fs::path file = fill({at, at + 1, kind, setting}, at);
                    cells.push_back(fs::exists(file) ? repaint::read_picture(file) : picture{});
                }
            }
        }
        return sheet;
    }

    /// The picture with its hole in grey.
    static picture masked(const picture& p, const host_tensor& keep) {
        host_tensor image = repaint::to_tensor(p, 3);
        const auto known = keep.values();
        for (std::size_t i = 0; i < image.size(); ++i) {
            image.values()[i] *= known[i % known.size()];
        }
        return repaint::to_picture(image);
    }

    fs::path folder_;
    const ablation_plan* plan_;
    std::size_t shown_;
};

/// The batches of fills that are not there yet. Some pictures go through all settings before the next ones, so that a
/// stopped ablation says something about each. Throws std::invalid_argument when a fill is there that was made with
/// another seed or of other pixels.
std::vector<fill_batch> batches_of(const ablate_command& command, const ablation_plan& plan,
                                   const std::vector<std::size_t>& evaluations, const fill_table& fills,
                                   const ablation_folder& out) {
    std::vector<std::vector<std::string>> fingerprints(plan.kinds.size());
    for (std::size_t kind = 0; kind < plan.kinds.size(); ++kind) {
        for (std::size_t at = 0; at < plan.pictures.size(); ++at) {
            fingerprints[kind].push_back(fingerprint(plan.pictures[at].pixels(), plan.keep(kind, at)));
        }
    }
    const auto is_done = [&](const fill_batch& batch, std::size_t at) {
        const auto& setting = plan.settings[batch.setting];
        const auto* fill = fills.find({plan.pictures[at].name, plan.kinds[batch.kind], setting});
        if (fill == nullptr) {
            return false;
        }
        const std::uint64_t seed = command.seed + at;
        if (fill->seed != seed || fill->fingerprint != fingerprints[batch.kind][at] ||
            fill->evaluations != evaluations[batch.setting]) {
            throw std::invalid_argument(
                command.out.string() + " holds " + plan.pictures[at].name + " with mask " + plan.kinds[batch.kind] +
                ", filled with " +
                (fill->seed != seed ? "seed " + std::to_string(fill->seed) + ", now it is " + std::to_string(seed)
                                    : "other pixels") +
                ": give another folder");
        }
        return !out.is_shown(at) || fs::exists(out.fill(batch, at));
    };
    std::vector<fill_batch> batches;
    for (std::size_t first = 0; first < plan.pictures.size();) {
        const auto& p = plan.pictures[first].pixels();
        // So many that they have 128 x 128 pixels together, at most 16: more gain nothing.
        const auto together = static_cast<std::size_t>(
            command.batch > 0 ? command.batch : std::clamp(128 * 128 / (p.width * p.height), 1, 16));
        std::size_t last = first + 1;
        while (last < plan.pictures.size() && last - first < together &&
               plan.pictures[last].pixels().width == p.width && plan.pictures[last].pixels().height == p.height) {
            ++last;
        }
        for (std::size_t kind = 0; kind < plan.kinds.size(); ++kind) {
            for (std::size_t setting = 0; setting < plan.settings.size(); ++setting) {
                bool joins = false;
                for (std::size_t at = first; at < last; ++at) {
                    if (is_done({at, at + 1, kind, setting}, at)) {
                        joins = false;
                    } else if (joins) {
                        batches.back().last = at + 1;
                    } else {
                        batches.push_back({at, at + 1, kind, setting});
                        joins = true;
                    }
                }
            }
        }
        first = last;
    }
    return batches;
}

std::map<std::string, std::string> name_of(const fill_batch& batch, const ablation_plan& plan) {
    return {{"first picture", repaint::detail::printable(plan.pictures[batch.first].name)},
            {"pictures", std::to_string(batch.last - batch.first)},
            {"mask", repaint::detail::printable(plan.kinds[batch.kind])},
            {"setting", text_of(plan.settings[batch.setting])}};
}

/// What was stopped in the middle, when it is this batch.
std::optional<run_state> stopped_batch(const fs::path& file, const fill_batch& batch, const ablation_plan& plan) {
    if (!fs::exists(file)) {
        return std::nullopt;
    }
    try {
        return load_run_state(file, name_of(batch, plan));
    } catch (const std::exception&) {
        return std::nullopt; // of another run of the folder, with other sweeps or pictures: it begins again
    }
}

void print_plan(const ablation_plan& plan, const std::string& how, const std::vector<std::size_t>& evaluations,
                std::size_t missing) {
    std::fprintf(stderr, "%s\n", how.c_str());
    std::string line;
    for (std::size_t i = 0; i < plan.settings.size(); ++i) {
        line += (i == 0 ? "" : "; ") + text_of(plan.settings[i]) + ": " + std::to_string(evaluations[i]);
    }
    std::fprintf(stderr, "network evaluations of a fill: %s\n", line.c_str());
    const std::size_t all = plan.pictures.size() * plan.kinds.size() * plan.settings.size();
    std::fprintf(stderr, "%s with %s of masks in %s: %s", counted(plan.pictures.size(), "picture").c_str(),
                 counted(plan.kinds.size(), "kind").c_str(), counted(plan.settings.size(), "setting").c_str(),
                 counted(all, "fill").c_str());
    std::fprintf(stderr, missing < all ? ", %s of them still to be made\n" : "\n", thousands(missing).c_str());
}

} // namespace

int ablate(const ablate_command& command) {
    check_apart(command.out, command.images);
    check_apart(command.out, command.keeps);
    const auto model = make_engine(command.model.files(), command.model.computing());
    const auto& network = model->network();
    if (network.in_channels != 1 && network.in_channels != 3) {
        throw std::invalid_argument("the network takes images of " + std::to_string(network.in_channels) +
                                    " channels, a picture has 1 or 3");
    }
    std::string how;
    const ablation_plan plan = plan_of(command, *model, how);
    if (command.labels.size() > 1 && command.labels.size() != plan.pictures.size()) {
        throw std::invalid_argument("there are " + counted(plan.pictures.size(), "picture") + " and " +
                                    counted(command.labels.size(), "label") +
                                    ": give one label for all, or one for each picture");
    }
    check_labels(*model, command.labels, command.draw_labels);
    if (plan.kinds.size() * std::min(command.shown, plan.pictures.size()) > most_sheet_rows) {
        throw std::invalid_argument("--shown " + std::to_string(command.shown) + " of " +
                                    counted(plan.kinds.size(), "kind") + " of masks makes more than the " +
                                    std::to_string(most_sheet_rows) + " rows that a contact sheet may have");
    }
    std::vector<std::size_t> evaluations;
    for (const auto& setting : plan.settings) {
        try {
            evaluations.push_back(model->evaluations(options_of(setting)));
        } catch (const std::invalid_argument& wrong) {
            throw std::invalid_argument("the setting " + text_of(setting) + ": " + wrong.what());
        }
    }
    perceptual_features features;
    if (!command.lpips.empty()) {
        features = make_cpu_lpips(command.lpips, command.model.engine);
        features(
            host_tensor({1, network.in_channels, plan.pictures[0].pixels().height, plan.pictures[0].pixels().width}));
    }

    fill_table fills(command.out, measure_names(!command.lpips.empty()),
                     dependencies_of(command, *model, measure_names(!command.lpips.empty())));
    const ablation_folder out(command.out, plan, command.shown);
    const auto batches = batches_of(command, plan, evaluations, fills, out);
    std::size_t total = 0;
    std::size_t missing = 0;
    double unknown = 0.0;
    for (const auto& batch : batches) {
        total += evaluations[batch.setting];
        missing += batch.last - batch.first;
    }
    for (std::size_t kind = 0; kind < plan.kinds.size(); ++kind) {
        for (std::size_t at = 0; at < plan.pictures.size(); ++at) {
            const auto values = plan.keep(kind, at).values();
            double sum = 0.0;
            for (const float value : values) {
                sum += 1.0 - static_cast<double>(value);
            }
            unknown += sum / static_cast<double>(values.size());
        }
    }

    const interruption stop;
    if (!command.quiet) {
        print_plan(plan, how, evaluations, missing);
        if (!batches.empty()) {
            const auto& p = plan.pictures[batches[0].first].pixels();
            print_summary(
                *model, {command.model.weights,
                         plan.pictures.size(),
                         {static_cast<int>(batches[0].last - batches[0].first), network.in_channels, p.height, p.width},
                         unknown / static_cast<double>(plan.kinds.size() * plan.pictures.size()),
                         total});
        }
    }
    progress_bar bar(total, command.quiet);
    std::size_t evaluated = 0;
    auto saved = std::chrono::steady_clock::now();
    for (const auto& batch : batches) {
        batch_request request;
        request.options = options_of(plan.settings[batch.setting]);
        request.seed = command.seed + batch.first;
        request.draw_labels = command.draw_labels;
        std::vector<host_tensor> images;
        std::vector<host_tensor> truth;
        std::vector<const host_tensor*> keeps;
        for (std::size_t at = batch.first; at < batch.last; ++at) {
            images.push_back(plan.pictures[at].image.tensor(network.in_channels, model->data_range()));
            truth.push_back(repaint::to_tensor(plan.pictures[at].pixels(), network.in_channels));
            keeps.push_back(&plan.keep(batch.kind, at));
            if (!command.labels.empty()) {
                request.options.labels.push_back(command.labels[command.labels.size() == 1 ? 0 : at]);
            }
        }
        request.images = batch_of(images);
        request.keep = stacked(keeps);

        const auto resumed = stopped_batch(out.stopped(), batch, plan);
        const auto start = std::chrono::steady_clock::now();
        std::size_t before = std::numeric_limits<std::size_t>::max();
        const auto outcome =
            model->inpaint(request, resumed ? &resumed->batch : nullptr, [&](const repaint::progress& at) {
                before = std::min(before, at.evaluation);
                bar.show(evaluated + at.evaluation);
                return stop.requested();
            });
        if (!outcome.images) {
            bar.end();
            fills.save();
            save_run_state(out.stopped(), {name_of(batch, plan), batch.first, outcome.stopped, {}});
            out.save_results(fills);
            std::fprintf(stderr, "stopped; %s has what is finished, and the same command goes on from there\n",
                         command.out.c_str());
            return 130;
        }
        const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - start;
        const auto all = evaluations[batch.setting];
        // A fill that was stopped and went on counts as if all of it had been as fast as its rest.
        const double rest = resumed ? static_cast<double>(all - std::min(all - 1, before)) : static_cast<double>(all);
        const double seconds =
            elapsed.count() / rest * static_cast<double>(all) / static_cast<double>(batch.last - batch.first);
        const host_tensor drawn = from_range(*outcome.images, model->data_range());
        std::vector<host_tensor> results;
        for (std::size_t at = batch.first; at < batch.last; ++at) {
            const auto index = static_cast<int>(at - batch.first);
            const auto& original = plan.pictures[at].pixels();
            const picture filled = repaint::composed(original, drawn, index, request.keep);
            if (out.is_shown(at)) {
                out.save_fill(out.fill(batch, at), filled);
            }
            results.push_back(repaint::to_tensor(filled, network.in_channels)); // in 8 bits, as it would be stored
        }
        const auto rows = measured(batch_of(results), batch_of(truth), request.keep, features);
        for (std::size_t at = batch.first; at < batch.last; ++at) {
            fills.add({plan.pictures[at].name, plan.kinds[batch.kind], plan.settings[batch.setting]},
                      {all, command.seed + at, fingerprint(plan.pictures[at].pixels(), plan.keep(batch.kind, at)),
                       seconds, rows[at - batch.first]});
        }
        if (resumed) {
            std::error_code gone;
            fs::remove(out.stopped(), gone);
        }
        evaluated += all;
        // Not after every batch: thousands of fills make a long table.
        if (std::chrono::steady_clock::now() - saved > std::chrono::seconds(10)) {
            fills.save();
            saved = std::chrono::steady_clock::now();
        }
    }
    bar.end();
    fills.save();
    out.save_results(fills);
    std::error_code gone;
    fs::remove(out.stopped(), gone);
    if (!command.quiet) {
        std::fprintf(stderr, "%s has ablation.csv, comparisons.csv, pictures.csv, ablation.png and contact_sheet.png\n",
                     command.out.c_str());
    }
    return 0;
}

} // namespace cli
