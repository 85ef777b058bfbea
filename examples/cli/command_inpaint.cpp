#include <algorithm>
#include <cstdio>
#include <stdexcept>
#include <system_error>
#include <utility>

#include "batch_run.hpp"
#include "commands.hpp"
#include "image_files.hpp"
#include "mask_files.hpp"
#include "run_state.hpp"
#include "summary.hpp"
#include "terminal.hpp"

namespace cli {

namespace {

namespace fs = std::filesystem;
using repaint::host_tensor;
using repaint::shape4;

/// What the command line names: images, and a mask for all or for each.
class inpaint_input {
public:
    explicit inpaint_input(const inpaint_command& command)
        : images_(read_images(command.images, command.range)),
          masks_(read_masks(command.masks, images_, command.walk.system == repaint::sampling_system::diffusers,
                            command.quiet)) {
        check_one_or_each(images_.size(), "image", masks_.size(), "mask");
        check_one_or_each(images_.size(), "image", command.labels.given.size(), "label");
    }

    [[nodiscard]] const std::vector<source_image>& images() const { return images_; }
    [[nodiscard]] const host_tensor& mask_of(std::size_t image) const { return mask(image).keep; }

    /// Throws unless every mask has its image's size. one_size: the images must have one size.
    void check_masks(bool one_size) const {
        for (std::size_t i = 0; i < images_.size(); ++i) {
            check_mask_fits(mask(i), images_[i]);
            const shape4 s{1, mask_of(i).shape().c, images_[i].height(), images_[i].width()};
            try {
                repaint::check_keep_mask(s, mask_of(i));
            } catch (const std::exception& wrong) {
                throw std::invalid_argument(mask(i).name + ": " + wrong.what());
            }
            if (one_size && !alike(0, i)) {
                throw std::invalid_argument(images_[i].file.string() + " is " + std::to_string(s.w) + "x" +
                                            std::to_string(s.h) + ", the first image is not: one .npy holds one size");
            }
        }
    }

    /// Throws unless the network takes every image.
    void check_images(const engine& model) const {
        for (const auto& image : images_) {
            const int channels = image.pixels ? model.network().in_channels : image.values.shape().c;
            if (image.pixels && channels != 1 && channels != 3) {
                throw std::invalid_argument("the network takes images of " + std::to_string(channels) +
                                            " channels, a picture has 1 or 3: give an .npy");
            }
            try {
                check_image_shape(model, {1, channels, image.height(), image.width()});
            } catch (const repaint::shape_error& wrong) {
                throw repaint::shape_error(image.file.string() + ": " + wrong.what());
            }
        }
    }

    /// Whether two images have one size.
    [[nodiscard]] bool alike(std::size_t a, std::size_t b) const {
        return images_[a].width() == images_[b].width() && images_[a].height() == images_[b].height();
    }

    /// The part that is to be filled, of all images.
    [[nodiscard]] double unknown() const {
        double sum = 0.0;
        for (std::size_t i = 0; i < images_.size(); ++i) {
            sum += part_to_fill(mask_of(i));
        }
        return sum / static_cast<double>(images_.size());
    }

    /// What the files of the results are called.
    [[nodiscard]] std::vector<std::string> stems() const {
        std::vector<std::string> names;
        for (const auto& image : images_) {
            names.push_back(image.file.stem().string());
        }
        return names;
    }

private:
    [[nodiscard]] const source_mask& mask(std::size_t image) const { return masks_[masks_.size() == 1 ? 0 : image]; }

    std::vector<source_image> images_;
    std::vector<source_mask> masks_;
};

template <class T> std::string joined(const std::vector<T>& list) {
    std::string text;
    for (const auto& item : list) {
        text += text.empty() ? "" : " ";
        if constexpr (std::is_same_v<T, fs::path>) {
            text += item.string();
        } else if constexpr (std::is_same_v<T, std::string>) {
            text += item;
        } else {
            text += std::to_string(item);
        }
    }
    return text.empty() ? "none" : text;
}

/// Everything the pictures depend on, for the check when a run is resumed. Not the backend: a run may go on elsewhere,
/// and then differs by no more than the backends do.
std::map<std::string, std::string> settings_of(const inpaint_command& c, const engine& e) {
    const auto& j = c.walk.jumps;
    return {{"model",
             c.model.weights.filename().string() + " of " + std::to_string(e.description().parameters) + " parameters"},
            {"image", joined(c.images)},
            {"keep", joined(c.masks.keep)},
            {"paint", joined(c.masks.paint)},
            {"mask", std::to_string(c.masks.tolerance) + " " +
                         (c.masks.threshold ? std::to_string(*c.masks.threshold) : "none") + " " +
                         std::to_string(c.masks.grow) + " " + std::to_string(c.masks.feather)},
            {"range", c.range ? std::to_string(c.range->low) + " " + std::to_string(c.range->high) : "none"},
            {"algorithm", to_string(c.walk.system)},
            {"eta", c.eta ? std::to_string(*c.eta) : "none"},
            {"timesteps", c.walk.timesteps},
            {"jumps", joined(std::vector<int>{j.n_sample, j.jump_length, j.jump_n_sample, j.jump2_length,
                                              j.jump2_n_sample, j.jump3_length, j.jump3_n_sample, j.start_resampling})},
            {"seed", std::to_string(c.seed)},
            {"noise", to_string(c.noise)},
            {"label", c.labels.drawn ? "random" : joined(c.labels.given)},
            {"classifier", c.model.classifier ? c.model.classifier->filename().string() + " times " +
                                                    std::to_string(c.model.classifier_scale)
                                              : "none"},
            {"samples", std::to_string(c.samples)},
            {"batch", std::to_string(c.batch)},
            {"raw", c.raw ? "yes" : "no"},
            {"out", c.out.string()}};
}

repaint::inpaint_options options_of(const inpaint_command& command) {
    repaint::inpaint_options options;
    options.timesteps = command.walk.timesteps;
    options.jumps = command.walk.jumps;
    options.eta = command.eta;
    options.composite = !command.raw;
    options.system = command.walk.system;
    return options;
}

/// OUT.resume, beside OUT, where a stopped run leaves its state.
fs::path state_file_of(const inpaint_command& command) {
    fs::path file = command.out;
    if (!file.has_filename()) {
        file = file.parent_path();
    }
    file += ".resume";
    return file;
}

/// The batch that a stopped run goes on with. Throws format_error when its state does not fit these batches.
std::size_t resumed_batch(const fs::path& file, const run_state& state, const std::vector<picture_batch>& batches,
                          bool array) {
    const std::size_t first = state.first_picture;
    const auto found =
        std::find_if(batches.begin(), batches.end(), [first](const picture_batch& b) { return b.first == first; });
    if (found == batches.end() || state.finished.size() != (array ? first : 0)) {
        throw repaint::format_error(file.string() + ": stopped at picture " + std::to_string(first) + " with " +
                                    counted(state.finished.size(), "finished picture") +
                                    ", which does not fit this run");
    }
    return static_cast<std::size_t>(found - batches.begin());
}

/// Takes what became of an image. keep: null for a raw sample, of which nothing is known: every pixel comes from the
/// network, alpha still from the original.
void add_filled(output& out, std::size_t p, const host_tensor& filled, const source_image& image,
                const host_tensor* keep, const repaint::value_range& range) {
    const host_tensor nothing({1, 1, image.height(), image.width()});
    out.add(p, filled, range, image, keep != nullptr ? *keep : nothing);
}

} // namespace

int inpaint(const inpaint_command& command) {
    const inpaint_input input(command);
    output out(command.out, input.stems(), command.samples);
    input.check_masks(out.is_array());
    const auto model = make_engine(command.model.files(), command.model.computing());
    input.check_images(*model);
    check_labels(*model, command.labels.given, command.labels.drawn);

    const auto options = options_of(command);
    // Picture p is sample p % samples of image p / samples.
    const auto samples = static_cast<std::size_t>(command.samples);
    const batch_run work(batches_of(
        input.images().size() * samples, static_cast<std::size_t>(command.batch), model->evaluations(options),
        [&](std::size_t first, std::size_t p) { return input.alike(first / samples, p / samples); }));
    const auto& batches = work.batches();
    const auto settings = settings_of(command, *model);
    std::optional<run_state> resumed;
    std::size_t begin = 0;
    if (command.resume) {
        resumed = load_run_state(*command.resume, settings);
        begin = resumed_batch(*command.resume, *resumed, batches, out.is_array());
        out.finished() = resumed->finished;
    }
    if (!command.quiet) {
        const auto& first = input.images().front();
        print_summary(*model, {command.model.weights, batches.back().last,
                               shape4{static_cast<int>(batches.front().size()), model->network().in_channels,
                                      first.height(), first.width()},
                               input.unknown(), work.evaluations()});
    }

    saved_batch stopped;
    batch_steps steps;
    steps.make = [&](std::size_t i, const progress_observer& observe) {
        std::vector<batch_picture> pictures;
        for (std::size_t p = batches[i].first; p < batches[i].last; ++p) {
            const std::size_t image = p / samples;
            pictures.push_back({&input.images()[image], &input.mask_of(image), command.labels.of(image)});
        }
        auto request = request_for(pictures, options, *model);
        request.seed = command.seed + batches[i].first;
        request.noise = command.noise;
        request.draw_labels = command.labels.drawn;
        auto outcome = model->inpaint(request, resumed && i == begin ? &resumed->batch : nullptr, observe);
        stopped = std::move(outcome.stopped);
        return std::move(outcome.images);
    };
    steps.keep = [&](std::size_t i, const host_tensor& images) {
        for (std::size_t p = batches[i].first; p < batches[i].last; ++p) {
            add_filled(out, p, repaint::image_copy(images, static_cast<int>(p - batches[i].first)),
                       input.images()[p / samples], command.raw ? nullptr : &input.mask_of(p / samples),
                       model->data_range());
        }
    };
    steps.stop = [&](std::size_t i) {
        const fs::path file = state_file_of(command);
        save_run_state(file, {settings, batches[i].first, stopped, out.finished()});
        std::fprintf(stderr, "stopped; to go on, repeat the command with --resume %s\n", file.c_str());
    };
    const int status = work.run(steps, command.quiet, begin);
    if (status == 0) {
        out.finish();
        if (command.resume) {
            std::error_code gone;
            fs::remove(*command.resume, gone);
        }
    }
    return status;
}

} // namespace cli
