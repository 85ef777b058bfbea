#include <algorithm>
#include <cstdio>
#include <stdexcept>
#include <utility>

#include <repaint/image/codecs.hpp>
#include <repaint/io/npy.hpp>

#include "commands.hpp"
#include "image_files.hpp"
#include "run_state.hpp"
#include "summary.hpp"
#include "terminal.hpp"

namespace cli {

namespace {

namespace fs = std::filesystem;
using repaint::host_tensor;
using repaint::shape4;

std::vector<host_tensor> read_masks(const inpaint_command& command) {
    const bool paint = command.keep.empty();
    std::vector<host_tensor> masks;
    for (const auto& file : paint ? command.paint : command.keep) {
        if (lower_extension(file) == ".npy") {
            host_tensor all = repaint::read_npy(file);
            for (int i = 0; i < all.shape().n; ++i) {
                host_tensor mask = image_of(all, i);
                if (paint) {
                    for (float& value : mask.values()) {
                        value = 1.0F - value;
                    }
                }
                masks.push_back(std::move(mask));
            }
        } else {
            masks.push_back(repaint::keep_mask(repaint::read_picture(file),
                                               paint ? repaint::mask_polarity::paint : repaint::mask_polarity::keep));
            if (command.walk.algorithm == repaint::algorithm::diffusers) {
                // RePaintPipeline knows no soft edges in mask pictures.
                for (float& value : masks.back().values()) {
                    value = value >= 0.5F ? 1.0F : 0.0F;
                }
            }
        }
    }
    return masks;
}

template <class T> std::string joined(const std::vector<T>& list) {
    std::string text;
    for (const auto& item : list) {
        text += text.empty() ? "" : " ";
        if constexpr (std::is_same_v<T, fs::path>) {
            text += item.string();
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
            {"keep", joined(c.keep)},
            {"paint", joined(c.paint)},
            {"algorithm", repaint::algorithm_name(c.walk.algorithm)},
            {"eta", c.eta ? std::to_string(*c.eta) : "none"},
            {"timesteps", c.walk.timesteps},
            {"jumps", joined(std::vector<int>{j.n_sample, j.jump_length, j.jump_n_sample, j.jump2_length,
                                              j.jump2_n_sample, j.jump3_length, j.jump3_n_sample, j.start_resampling})},
            {"seed", std::to_string(c.seed)},
            {"noise", to_string(c.noise)},
            {"label", c.draw_labels ? "random" : joined(c.labels)},
            {"classifier", c.model.classifier ? c.model.classifier->filename().string() + " times " +
                                                    std::to_string(c.model.classifier_scale)
                                              : "none"},
            {"samples", std::to_string(c.samples)},
            {"batch", std::to_string(c.batch)},
            {"raw", c.raw ? "yes" : "no"},
            {"out", c.out.string()}};
}

/// A run of pictures of one size, filled together: [first, last).
struct batch_range {
    std::size_t first;
    std::size_t last;
};

} // namespace

int inpaint(const inpaint_command& command) {
    const auto images = read_images(command.images);
    const auto masks = read_masks(command);
    if (masks.size() != 1 && masks.size() != images.size()) {
        throw std::invalid_argument("there are " + counted(images.size(), "image") + " and " +
                                    counted(masks.size(), "mask") + ": give one mask for all, or one for each image");
    }
    if (command.labels.size() > 1 && command.labels.size() != images.size()) {
        throw std::invalid_argument("there are " + counted(images.size(), "image") + " and " +
                                    counted(command.labels.size(), "label") +
                                    ": give one label for all, or one for each image");
    }
    const auto mask_of = [&](std::size_t image) -> const host_tensor& { return masks[masks.size() == 1 ? 0 : image]; };
    std::vector<std::string> stems;
    for (const auto& image : images) {
        stems.push_back(image.file.stem().string());
    }
    output out(command.out, stems, command.samples);
    for (std::size_t i = 0; i < images.size(); ++i) {
        const shape4 s{1, mask_of(i).shape().c, images[i].height(), images[i].width()};
        try {
            repaint::check_keep_mask(s, mask_of(i));
        } catch (const std::exception& wrong) {
            throw std::invalid_argument(images[i].file.string() + ": " + wrong.what());
        }
        if (out.is_array() && (s.h != images[0].height() || s.w != images[0].width())) {
            throw std::invalid_argument(images[i].file.string() + " is " + std::to_string(s.w) + "x" +
                                        std::to_string(s.h) + ", the first image is not: one .npy holds one size");
        }
    }

    const auto model = make_engine(command.model.files(), command.model.computing());
    const auto& network = model->network();
    for (const auto& image : images) {
        const int channels = image.pixels ? network.in_channels : image.values.shape().c;
        if (image.pixels && channels != 1 && channels != 3) {
            throw std::invalid_argument("the network takes images of " + std::to_string(channels) +
                                        " channels, a picture has 1 or 3: give an .npy");
        }
        try {
            check_image_shape(*model, {1, channels, image.height(), image.width()});
        } catch (const repaint::shape_error& wrong) {
            throw repaint::shape_error(image.file.string() + ": " + wrong.what());
        }
    }
    check_labels(*model, command.labels, command.draw_labels);

    // Picture p is sample p % samples of image p / samples.
    const auto samples = static_cast<std::size_t>(command.samples);
    const std::size_t pictures = images.size() * samples;
    const auto image_of_picture = [&](std::size_t p) { return p / samples; };
    std::vector<batch_range> batches;
    for (std::size_t p = 0; p < pictures; ++p) {
        const auto& image = images[image_of_picture(p)];
        const bool joins = !batches.empty() && p - batches.back().first < static_cast<std::size_t>(command.batch) &&
                           image.width() == images[image_of_picture(batches.back().first)].width() &&
                           image.height() == images[image_of_picture(batches.back().first)].height();
        if (joins) {
            batches.back().last = p + 1;
        } else {
            batches.push_back({p, p + 1});
        }
    }
    repaint::inpaint_options options;
    options.timesteps = command.walk.timesteps;
    options.jumps = command.walk.jumps;
    options.eta = command.eta;
    options.composite = !command.raw;
    options.algorithm = command.walk.algorithm;
    const std::size_t evaluations = batches.size() * model->evaluations(options);

    const auto settings = settings_of(command, *model);
    std::optional<run_state> resumed;
    if (command.resume) {
        resumed = load_run_state(*command.resume, settings);
        const std::size_t first = resumed->first_picture;
        const bool starts_batch =
            std::any_of(batches.begin(), batches.end(), [first](const batch_range& b) { return b.first == first; });
        if (!starts_batch || resumed->finished.size() != (out.is_array() ? first : 0)) {
            throw repaint::format_error(command.resume->string() + ": stopped at picture " + std::to_string(first) +
                                        " with " + counted(resumed->finished.size(), "finished picture") +
                                        ", which does not fit this run");
        }
        out.finished() = resumed->finished;
    }

    const interruption stop;
    if (!command.quiet) {
        const shape4 first{static_cast<int>(batches[0].last), network.in_channels, images[0].height(),
                           images[0].width()};
        double unknown = 0.0;
        for (std::size_t i = 0; i < images.size(); ++i) {
            double sum = 0.0;
            for (const float value : mask_of(i).values()) {
                sum += 1.0 - static_cast<double>(value);
            }
            unknown += sum / static_cast<double>(mask_of(i).size());
        }
        print_summary(*model, {command.model.weights, pictures, first, unknown / static_cast<double>(images.size()),
                               evaluations});
    }

    progress_bar bar(evaluations, command.quiet);
    std::size_t evaluated = 0;
    for (std::size_t index = 0; index < batches.size(); ++index) {
        const auto [first, last] = batches[index];
        if (resumed && first < resumed->first_picture) {
            evaluated += evaluations / batches.size();
            continue;
        }
        batch_request request;
        request.options = options;
        request.seed = command.seed + first;
        request.noise = command.noise;
        request.draw_labels = command.draw_labels;
        std::vector<const host_tensor*> keeps;
        std::vector<float> values;
        shape4 s;
        for (std::size_t p = first; p < last; ++p) {
            const std::size_t i = image_of_picture(p);
            const host_tensor image = images[i].tensor(network.in_channels, model->data_range());
            s = image.shape();
            values.insert(values.end(), image.values().begin(), image.values().end());
            keeps.push_back(&mask_of(i));
            if (!command.labels.empty()) {
                request.options.labels.push_back(command.labels[command.labels.size() == 1 ? 0 : i]);
            }
        }
        s.n = static_cast<int>(last - first);
        request.images = host_tensor(s, std::move(values));
        request.keep = stacked(keeps);

        const bool continues = resumed && first == resumed->first_picture;
        const auto outcome =
            model->inpaint(request, continues ? &resumed->batch : nullptr, [&](const repaint::progress& at) {
                bar.show(evaluated + at.evaluation);
                return stop.requested();
            });
        if (!outcome.images) {
            fs::path state_file = command.out;
            if (!state_file.has_filename()) {
                state_file = state_file.parent_path();
            }
            state_file += ".resume";
            save_run_state(state_file, {settings, first, outcome.stopped, out.finished()});
            bar.end();
            std::fprintf(stderr, "stopped; to go on, repeat the command with --resume %s\n", state_file.c_str());
            return 130;
        }
        evaluated += evaluations / batches.size();
        for (std::size_t p = first; p < last; ++p) {
            const std::size_t i = image_of_picture(p);
            const host_tensor filled = image_of(*outcome.images, static_cast<int>(p - first));
            if (images[i].pixels) {
                // Nothing is known of a raw sample: every pixel comes from the network, alpha still from the original.
                const host_tensor nothing(mask_of(i).shape());
                out.add(p, filled, model->data_range(), *images[i].pixels, command.raw ? nothing : mask_of(i));
            } else {
                out.add(p, filled, model->data_range());
            }
        }
    }
    out.finish();
    if (command.resume) {
        std::error_code gone;
        fs::remove(*command.resume, gone);
    }
    return 0;
}

} // namespace cli
