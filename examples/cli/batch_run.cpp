#include "batch_run.hpp"

#include <stdexcept>
#include <utility>

namespace cli {

std::vector<picture_batch> batches_of(std::size_t count, std::size_t most, std::size_t evaluations,
                                      const std::function<bool(std::size_t first, std::size_t p)>& alike) {
    std::vector<picture_batch> batches;
    for (std::size_t p = 0; p < count; ++p) {
        if (!batches.empty() && batches.back().size() < most && (!alike || alike(batches.back().first, p))) {
            batches.back().last = p + 1;
        } else {
            batches.push_back({p, p + 1, evaluations, 1.0});
        }
    }
    return batches;
}

void check_one_or_each(std::size_t items, const std::string& item, std::size_t given, const std::string& what) {
    if (given > 1 && given != items) {
        throw std::invalid_argument("there are " + counted(items, item) + " and " + counted(given, what) +
                                    ": give one " + what + " for all, or one for each " + item);
    }
}

double part_to_fill(const repaint::host_tensor& keep) {
    double sum = 0.0;
    for (const float value : keep.values()) {
        sum += 1.0 - static_cast<double>(value);
    }
    return sum / static_cast<double>(keep.size());
}

batch_request request_for(std::span<const batch_picture> pictures, repaint::inpaint_options options,
                          const engine& model) {
    batch_request request;
    request.options = std::move(options);
    std::vector<repaint::host_tensor> images;
    std::vector<const repaint::host_tensor*> keeps;
    for (const auto& picture : pictures) {
        images.push_back(picture.image->tensor(model.network().in_channels, model.data_range()));
        keeps.push_back(picture.keep);
        if (picture.label) {
            request.options.labels.push_back(*picture.label);
        }
    }
    request.images = repaint::joined(images);
    request.keep = stacked(keeps);
    return request;
}

batch_run::batch_run(std::vector<picture_batch> batches) : batches_(std::move(batches)) {}

std::size_t batch_run::evaluations() const {
    std::size_t sum = 0;
    for (const auto& batch : batches_) {
        sum += batch.evaluations;
    }
    return sum;
}

void batch_run::set_costs(const std::function<double(const picture_batch& batch)>& of_evaluation) {
    for (auto& batch : batches_) {
        batch.cost = of_evaluation(batch);
    }
}

int batch_run::run(const batch_steps& steps, bool quiet, std::size_t begin, bool resumed) const {
    double all = 0.0;
    for (const auto& batch : batches_) {
        all += batch.cost * static_cast<double>(batch.evaluations);
    }
    progress_bar bar(evaluations(), all, quiet, resumed);
    std::size_t evaluated = 0;
    double spent = 0.0;
    for (std::size_t i = 0; i < batches_.size(); ++i) {
        if (i >= begin) {
            const auto images = steps.make(i, [&](const repaint::progress& at) {
                bar.show(evaluated + at.evaluation, spent + batches_[i].cost * static_cast<double>(at.evaluation));
                return stop_.requested();
            });
            if (!images) {
                bar.end();
                steps.stop(i);
                return 130;
            }
            steps.keep(i, *images);
        }
        evaluated += batches_[i].evaluations;
        spent += batches_[i].cost * static_cast<double>(batches_[i].evaluations);
    }
    return 0;
}

} // namespace cli
