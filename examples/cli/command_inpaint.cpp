#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdio>
#include <span>
#include <stdexcept>
#include <system_error>
#include <utility>

#include <repaint/io/mapped_file.hpp>
#include <repaint/io/zip_archive.hpp>
#include <repaint/model/model_folder.hpp>

#include "batch_run.hpp"
#include "commands.hpp"
#include "image_files.hpp"
#include "mask_files.hpp"
#include "outputs.hpp"
#include "pairing.hpp"
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
        : files_(files_of(command.images, command.recursive)), images_(read_images(files_, command.range)),
          masks_(read_masks(in_files(command.masks, files_, command.recursive), images_,
                            command.walk.system == repaint::sampling_system::diffusers, command.quiet)) {
        check_one_or_each(images_.size(), "image", masks_.size(), "mask");
        check_one_or_each(images_.size(), "image", command.labels.given.size(), "label");
    }

    [[nodiscard]] const std::vector<fs::path>& files() const { return files_; }

    /// The files of the masks, but for those that are taken from the pictures themselves..
    [[nodiscard]] std::vector<fs::path> mask_files() const {
        std::vector<fs::path> files;
        for (const auto& mask : masks_) {
            const bool own = std::find(files_.begin(), files_.end(), fs::path(mask.name)) != files_.end();
            if (!own) {
                files.emplace_back(mask.name);
            }
        }
        return files;
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
            image.check(model.data_range());
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

    /// Width and height of every picture, in order, `samples` times each.
    [[nodiscard]] std::vector<std::pair<int, int>> sizes(std::size_t samples) const {
        std::vector<std::pair<int, int>> all;
        for (const auto& image : images_) {
            all.insert(all.end(), samples, {image.width(), image.height()});
        }
        return all;
    }

    /// Values of all pictures together.
    [[nodiscard]] double values() const {
        double sum = 0.0;
        for (const auto& image : images_) {
            sum += 3.0 * image.width() * image.height();
        }
        return sum;
    }

    /// What the files of the results are called, with the subfolders of a folder that was given.
    [[nodiscard]] std::vector<std::string> stems(const std::vector<fs::path>& given) const {
        std::vector<std::string> names;
        for (const auto& image : images_) {
            fs::path name = image.file.filename();
            std::error_code none;
            if (given.size() == 1 && fs::is_directory(given.front(), none)) {
                name = image.file.lexically_relative(given.front());
            }
            names.push_back(name.replace_extension().string());
        }
        return names;
    }

    /// A checksum of all that was read: a run goes on with the same pictures and masks, whatever they are called by now.
    [[nodiscard]] std::string checksum() const {
        std::uint32_t sum = 0;
        const auto add = [&sum](std::span<const std::byte> bytes) {
            const std::uint32_t own = repaint::detail::crc32(bytes);
            const std::array<std::uint32_t, 2> both{sum, own};
            sum = repaint::detail::crc32(std::as_bytes(std::span(both)));
        };
        for (std::size_t i = 0; i < images_.size(); ++i) {
            if (images_[i].pixels) {
                add(std::as_bytes(std::span(images_[i].pixels->pixels)));
            } else {
                add(std::as_bytes(images_[i].values.values()));
            }
            add(std::as_bytes(mask_of(i).values()));
        }
        return std::to_string(images_.size()) + " with the checksum " + std::to_string(sum);
    }

private:
    static std::vector<fs::path> files_of(const std::vector<fs::path>& given, bool recursive) {
        std::vector<fs::path> files;
        for (const auto& path : given) {
            const auto some = list_inputs(path, recursive, true);
            files.insert(files.end(), some.begin(), some.end());
        }
        return files;
    }

    /// The same masks with the files of folders in their place, in the order of the images.
    static mask_options in_files(mask_options masks, const std::vector<fs::path>& images, bool recursive) {
        for (auto* words : {&masks.keep, &masks.paint}) {
            std::error_code none;
            if (words->size() != 1 || !fs::is_directory(words->front(), none)) {
                continue;
            }
            const auto paired = pair_files(images, list_inputs(words->front(), recursive, true),
                                           {.first = "pictures", .second = "masks"});
            words->clear();
            for (const auto& [image, mask] : paired.pairs) {
                words->push_back(mask.string());
            }
            if (paired.how != "by name" && images.size() > 1) {
                std::fprintf(stderr, "note: pictures and masks were paired %s\n", paired.how.c_str());
            }
        }
        return masks;
    }

    [[nodiscard]] const source_mask& mask(std::size_t image) const { return masks_[masks_.size() == 1 ? 0 : image]; }

    std::vector<fs::path> files_;
    std::vector<source_image> images_;
    std::vector<source_mask> masks_;
};

/// A checksum of a model's file: of its size, its beginning and its end, and of what lies at even distances between. The
/// whole of it would be gigabytes.
std::string checksum_of(const fs::path& model) {
    constexpr std::size_t piece = std::size_t{1} << 16U;
    constexpr std::size_t pieces = 64;
    const repaint::mapped_file file(repaint::locate_model(model.string()).weights);
    const auto bytes = file.bytes();
    std::vector<std::uint64_t> sums{bytes.size()};
    for (std::size_t i = 0; i < pieces && !bytes.empty(); ++i) {
        const std::size_t from = bytes.size() <= piece ? 0 : (bytes.size() - piece) / (pieces - 1) * i;
        sums.push_back(repaint::detail::crc32(bytes.subspan(from, std::min(piece, bytes.size() - from))));
    }
    return std::to_string(repaint::detail::crc32(std::as_bytes(std::span(sums))));
}

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
std::map<std::string, std::string> settings_of(const inpaint_command& c, const inpaint_input& input, const engine& e) {
    const auto& j = c.walk.jumps;
    return {{"model", e.description().family + " of " + std::to_string(e.description().parameters) +
                          " parameters with the checksum " + checksum_of(c.model.weights) + " " + c.model.entry},
            {"pictures and masks", input.checksum()},
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
            {"quality", std::to_string(c.quality)},
            {"keep-alpha", c.keep_alpha ? "yes" : "no"},
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
    fs::path file = command.out == "-" || command.out == "/dev/stdout" ? fs::path("repaint") : command.out;
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
    const auto samples = static_cast<std::size_t>(command.samples);
    output out(command.out, input.stems(command.images), command.samples, input.files());
    out.check_masks(input.mask_files());
    out.set_options(command.quality, command.keep_alpha);
    out.check_room(static_cast<double>(samples) * input.values());
    check_writable(state_file_of(command));
    input.check_masks(out.is_array());
    const auto sizes = input.sizes(samples);
    const std::string extension = lower_extension(command.out);
    const bool deep = std::any_of(input.images().begin(), input.images().end(),
                                  [](const auto& image) { return image.pixels && !image.pixels->deep.empty(); });
    if (!command.quiet && (extension == ".jpg" || extension == ".jpeg")) {
        if (deep) {
            std::fprintf(stderr, "note: a JPEG has 8 bits; -o with .png keeps the 16 of the input\n");
        }
        if (std::any_of(input.images().begin(), input.images().end(),
                        [](const auto& image) { return image.pixels && image.pixels->channels % 2 == 0; })) {
            std::fprintf(stderr,
                         "note: a JPEG has no alpha: what is transparent is shown on white; -o with .png keeps it\n");
        }
    }
    if (!command.quiet && is_picture_name(command.out)) {
        const bool to_jpeg = extension != ".png";
        for (const auto& image : input.images()) {
            const auto* said = image.pixels ? image.pixels->metadata.get() : nullptr;
            if (said != nullptr && !said->pieces.empty() && (said->format == repaint::file_format::jpeg) != to_jpeg) {
                std::fprintf(stderr,
                             "note: of what %s says beside its pixels, EXIF, XMP and the profile go into a file of "
                             "another format, the rest (gamma, texts, resolution) does not\n",
                             image.file.c_str());
            }
        }
    }
    if (!command.quiet) {
        print_pictures(sizes, input.unknown());
    }
    const auto model = make_engine(command.model.files(), command.model.computing());
    input.check_images(*model);
    check_labels(*model, command.labels.given, command.labels.drawn);

    const auto options = options_of(command);
    // Picture p is sample p % samples of image p / samples.
    batch_run work(batches_of(
        input.images().size() * samples, static_cast<std::size_t>(command.batch), model->evaluations(options),
        [&](std::size_t first, std::size_t p) { return input.alike(first / samples, p / samples); }));
    work.set_costs([&](const picture_batch& batch) {
        const auto& [width, height] = sizes[batch.first];
        return model->multiply_adds({static_cast<int>(batch.size()), model->network().in_channels, height, width});
    });
    const auto& batches = work.batches();
    const auto settings = settings_of(command, input, *model);
    std::optional<run_state> resumed;
    std::size_t begin = 0;
    if (command.resume) {
        resumed = load_run_state(*command.resume, settings);
        begin = resumed_batch(*command.resume, *resumed, batches, out.is_array());
        out.finished() = resumed->finished;
    }
    if (!command.quiet) {
        print_summary(*model, command.model.weights, work.evaluations(), sizes);
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
        const run_state state{settings, batches[i].first, stopped, out.finished()};
        write_or_keep(file, [&](const fs::path& to) { save_run_state(to, state); });
        std::fprintf(stderr, "stopped; to go on, repeat the command with --resume %s\n", file.c_str());
    };
    const int status = work.run(steps, command.quiet, begin, resumed.has_value());
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
