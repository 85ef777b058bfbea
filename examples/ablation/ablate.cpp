#include "ablate.hpp"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <limits>
#include <map>
#include <optional>
#include <stdexcept>
#include <system_error>
#include <utility>

#include <repaint/io/bytes.hpp>

#include "batch_run.hpp"
#include "measures.hpp"
#include "plan.hpp"
#include "results_folder.hpp"
#include "run_state.hpp"
#include "summary.hpp"
#include "terminal.hpp"

namespace ablation {

namespace {

namespace fs = std::filesystem;
using repaint::host_tensor;
using repaint::picture;
using repaint::shape4;

/// Rows of a contact sheet.
constexpr std::size_t most_sheet_rows = 120;

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

/// What the results depend on besides pictures, masks, seeds and settings of the walk. Not the backend: results differ
/// by no more than the backends do.
std::map<std::string, std::string> dependencies_of(const ablate_command& command, const cli::engine& model,
                                                   const std::vector<std::string>& measures) {
    const auto name = [](const fs::path& file) { return repaint::printable(file.filename().string()); };
    std::string labels = command.labels.drawn ? "random" : "";
    for (const int label : command.labels.given) {
        if (!labels.empty()) {
            labels += ' ';
        }
        labels += std::to_string(label);
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

/// The batches of fills that are not there yet. Some pictures go through all settings before the next ones, so that a
/// stopped ablation says something about each. Throws std::invalid_argument when a fill is there that was made with
/// another seed or of other pixels.
std::vector<fill_batch> missing_batches(const ablate_command& command, const ablation_plan& plan,
                                        const fill_table& fills, const results_folder& out) {
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
            fill->evaluations != plan.evaluations[batch.setting]) {
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
    return {{"first picture", repaint::printable(plan.pictures[batch.first].name)},
            {"pictures", std::to_string(batch.last - batch.first)},
            {"mask", repaint::printable(plan.kinds[batch.kind])},
            {"setting", to_string(plan.settings[batch.setting])}};
}

/// What was stopped in the middle, when it is this batch.
std::optional<cli::run_state> stopped_batch(const fs::path& file, const fill_batch& batch, const ablation_plan& plan) {
    if (!fs::exists(file)) {
        return std::nullopt;
    }
    try {
        return cli::load_run_state(file, name_of(batch, plan));
    } catch (const std::exception&) {
        return std::nullopt; // of another run of the folder, with other sweeps or pictures: it begins again
    }
}

/// The fills of some batches, made and measured.
class fill_run {
public:
    fill_run(const ablate_command& command, const ablation_plan& plan, cli::engine& model,
             cli::perceptual_features features, fill_table& fills, const results_folder& out)
        : command_(&command), plan_(&plan), model_(&model), features_(std::move(features)), fills_(&fills), out_(&out),
          batches_(missing_batches(command, plan, fills, out)) {}

    [[nodiscard]] const std::vector<fill_batch>& batches() const { return batches_; }

    /// Fills that are still to be made.
    [[nodiscard]] std::size_t missing() const {
        std::size_t sum = 0;
        for (const auto& batch : batches_) {
            sum += batch.last - batch.first;
        }
        return sum;
    }

    /// For cli::batch_run.
    [[nodiscard]] std::vector<cli::picture_batch> work() const {
        std::vector<cli::picture_batch> work;
        for (const auto& batch : batches_) {
            work.push_back({batch.first, batch.last, plan_->evaluations[batch.setting]});
        }
        return work;
    }

    /// The images of a batch; nothing when it was stopped.
    std::optional<host_tensor> make(const fill_batch& batch, const cli::progress_observer& observe) {
        std::vector<cli::batch_picture> pictures;
        for (std::size_t at = batch.first; at < batch.last; ++at) {
            pictures.push_back({&plan_->pictures[at].image, &plan_->keep(batch.kind, at), command_->labels.of(at)});
        }
        auto request = cli::request_for(pictures, options_of(plan_->settings[batch.setting]), *model_);
        request.seed = command_->seed + batch.first;
        request.draw_labels = command_->labels.drawn;
        resumed_ = stopped_batch(out_->stopped(), batch, *plan_);
        keep_ = request.keep;
        const auto start = std::chrono::steady_clock::now();
        std::size_t before = std::numeric_limits<std::size_t>::max();
        auto outcome =
            model_->inpaint(request, resumed_ ? &resumed_->batch : nullptr, [&](const repaint::progress& at) {
                before = std::min(before, at.evaluation);
                return observe(at);
            });
        const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - start;
        const auto all = plan_->evaluations[batch.setting];
        // A fill that was stopped and went on counts as if all of it had been as fast as its rest.
        const double rest = resumed_ ? static_cast<double>(all - std::min(all - 1, before)) : static_cast<double>(all);
        seconds_ = elapsed.count() / rest * static_cast<double>(all) / static_cast<double>(batch.last - batch.first);
        stopped_ = std::move(outcome.stopped);
        return std::move(outcome.images);
    }

    /// Measures the images and enters them into the table.
    void keep(const fill_batch& batch, const host_tensor& images) {
        const int channels = model_->network().in_channels;
        const host_tensor drawn = repaint::rescaled(images, model_->data_range(), {});
        std::vector<host_tensor> results;
        std::vector<host_tensor> truth;
        for (std::size_t at = batch.first; at < batch.last; ++at) {
            const auto& original = plan_->pictures[at].pixels();
            const picture filled = repaint::compose_picture(original, drawn, static_cast<int>(at - batch.first), keep_);
            if (out_->is_shown(at)) {
                out_->save_fill(out_->fill(batch, at), filled);
            }
            results.push_back(repaint::to_tensor(filled, channels)); // in 8 bits, as it would be stored
            truth.push_back(repaint::to_tensor(original, channels));
        }
        const auto rows = measured(repaint::joined(results), repaint::joined(truth), keep_, features_);
        for (std::size_t at = batch.first; at < batch.last; ++at) {
            const auto& pixels = plan_->pictures[at].pixels();
            fills_->add({plan_->pictures[at].name, plan_->kinds[batch.kind], plan_->settings[batch.setting]},
                        {plan_->evaluations[batch.setting], command_->seed + at,
                         fingerprint(pixels, plan_->keep(batch.kind, at)), seconds_, rows[at - batch.first]});
        }
        if (resumed_) {
            std::error_code gone;
            fs::remove(out_->stopped(), gone);
        }
        // Not after every batch: thousands of fills make a long table.
        if (std::chrono::steady_clock::now() - saved_ > std::chrono::seconds(10)) {
            fills_->save();
            saved_ = std::chrono::steady_clock::now();
        }
    }

    /// Saves where a batch was stopped.
    void save_stopped(const fill_batch& batch) const {
        cli::save_run_state(out_->stopped(), {name_of(batch, *plan_), batch.first, stopped_, {}});
    }

private:
    const ablate_command* command_;
    const ablation_plan* plan_;
    cli::engine* model_;
    cli::perceptual_features features_;
    fill_table* fills_;
    const results_folder* out_;
    std::vector<fill_batch> batches_;
    std::chrono::steady_clock::time_point saved_ = std::chrono::steady_clock::now();

    // Of the batch that is being made.
    std::optional<cli::run_state> resumed_;
    host_tensor keep_;
    double seconds_ = 0.0;
    cli::saved_batch stopped_;
};

/// The part that is to be filled, of all pictures with all kinds of masks.
double unknown(const ablation_plan& plan) {
    double sum = 0.0;
    for (std::size_t kind = 0; kind < plan.kinds.size(); ++kind) {
        for (std::size_t at = 0; at < plan.pictures.size(); ++at) {
            sum += cli::part_to_fill(plan.keep(kind, at));
        }
    }
    return sum / static_cast<double>(plan.kinds.size() * plan.pictures.size());
}

} // namespace

int ablate(const ablate_command& command) {
    check_apart(command.out, command.images);
    check_apart(command.out, command.keeps);
    const auto model = cli::make_engine(command.model.files(), command.model.computing());
    const auto& network = model->network();
    if (network.in_channels != 1 && network.in_channels != 3) {
        throw std::invalid_argument("the network takes images of " + std::to_string(network.in_channels) +
                                    " channels, a picture has 1 or 3");
    }
    const ablation_plan plan = plan_of(command, *model);
    cli::check_one_or_each(plan.pictures.size(), "picture", command.labels.given.size(), "label");
    cli::check_labels(*model, command.labels.given, command.labels.drawn);
    if (plan.kinds.size() * std::min(command.shown, plan.pictures.size()) > most_sheet_rows) {
        throw std::invalid_argument("--shown " + std::to_string(command.shown) + " of " +
                                    cli::counted(plan.kinds.size(), "kind") + " of masks makes more than the " +
                                    std::to_string(most_sheet_rows) + " rows that a contact sheet may have");
    }
    const auto measures = measure_names(!command.lpips.empty());
    cli::perceptual_features features;
    if (!command.lpips.empty()) {
        features = cli::make_cpu_lpips(command.lpips, command.model.engine);
        const auto& first = plan.pictures.front().pixels();
        features(host_tensor({1, network.in_channels, first.height, first.width})); // refuses what is too small
    }

    fill_table fills(command.out, measures, dependencies_of(command, *model, measures));
    const results_folder out(command.out, plan, command.shown);
    fill_run filling(command, plan, *model, std::move(features), fills, out);
    const auto& batches = filling.batches();
    const cli::batch_run work(filling.work());
    if (!command.quiet) {
        print_plan(plan, filling.missing());
        if (!batches.empty()) {
            std::vector<std::pair<int, int>> sizes;
            for (const auto& p : plan.pictures) {
                sizes.emplace_back(p.pixels().width, p.pixels().height);
            }
            cli::print_pictures(sizes, unknown(plan));
            cli::print_summary(*model, command.model.weights, work.evaluations(), sizes);
        }
    }
    cli::batch_steps steps;
    steps.make = [&](std::size_t i, const cli::progress_observer& observe) {
        return filling.make(batches[i], observe);
    };
    steps.keep = [&](std::size_t i, const host_tensor& images) { filling.keep(batches[i], images); };
    steps.stop = [&](std::size_t i) {
        fills.save();
        filling.save_stopped(batches[i]);
        out.save_results(fills);
        std::fprintf(stderr, "stopped; %s has what is finished, and the same command goes on from there\n",
                     command.out.c_str());
    };
    const int status = work.run(steps, command.quiet);
    if (status == 0) {
        fills.save();
        out.save_results(fills);
        std::error_code gone;
        fs::remove(out.stopped(), gone);
        if (!command.quiet) {
            std::fprintf(stderr, "%s has ablation.csv, comparisons.csv, pictures.csv and contact_sheet.png\n",
                         command.out.c_str());
        }
    }
    return status;
}

} // namespace ablation
