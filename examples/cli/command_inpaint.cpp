#include <algorithm>
#include <cctype>
#include <cstdio>
#include <set>
#include <stdexcept>
#include <utility>

#include <repaint/io/image.hpp>
#include <repaint/io/npy.hpp>

#include "commands.hpp"
#include "run_state.hpp"
#include "terminal.hpp"

namespace cli {

namespace {

namespace fs = std::filesystem;
using repaint::host_tensor;
using repaint::picture;
using repaint::shape4;

/// One image as it came: a picture, or a tensor from an .npy.
struct source_image {
    fs::path file;
    std::optional<picture> pixels;
    host_tensor values; ///< (1, c, h, w), empty while there are pixels

    [[nodiscard]] int width() const { return pixels ? pixels->width : values.shape().w; }
    [[nodiscard]] int height() const { return pixels ? pixels->height : values.shape().h; }
    [[nodiscard]] host_tensor tensor(int channels) const {
        return pixels ? repaint::to_tensor(*pixels, channels) : values;
    }
};

std::string lower_extension(const fs::path& path) {
    std::string extension = path.extension().string();
    std::transform(extension.begin(), extension.end(), extension.begin(),
                   [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    return extension;
}

host_tensor image_of(const host_tensor& all, int index) {
    const shape4 s = all.shape();
    const auto part = all.image(index);
    return {{1, s.c, s.h, s.w}, std::vector<float>(part.begin(), part.end())};
}

std::vector<source_image> read_images(const std::vector<fs::path>& files) {
    std::vector<source_image> images;
    for (const auto& file : files) {
        if (lower_extension(file) == ".npy") {
            const host_tensor all = repaint::read_npy(file);
            for (int i = 0; i < all.shape().n; ++i) {
                images.push_back({file, std::nullopt, image_of(all, i)});
            }
        } else {
            images.push_back({file, repaint::read_picture(file), {}});
        }
    }
    return images;
}

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
        }
    }
    return masks;
}

/// A mask for each of n images in one tensor; every mask gets as many channels as the one with the most.
host_tensor stacked(const std::vector<const host_tensor*>& parts) {
    if (std::all_of(parts.begin(), parts.end(), [&](const host_tensor* p) { return p == parts.front(); })) {
        return *parts.front();
    }
    shape4 s = parts.front()->shape();
    for (const auto* part : parts) {
        s.c = std::max(s.c, part->shape().c);
    }
    host_tensor result({static_cast<int>(parts.size()), s.c, s.h, s.w});
    for (std::size_t i = 0; i < parts.size(); ++i) {
        auto to = result.image(static_cast<int>(i));
        const auto from = parts[i]->values();
        for (std::size_t at = 0; at < to.size(); ++at) {
            to[at] = from[at % from.size()];
        }
    }
    return result;
}

/// Where the pictures go.
class output {
public:
    output(const fs::path& out, const std::vector<source_image>& images, int samples, bool raw) : raw_(raw) {
        const std::size_t count = images.size() * static_cast<std::size_t>(samples);
        const std::string extension = lower_extension(out);
        if (extension == ".npy") {
            array_ = out;
        } else if (fs::is_directory(out) || (count > 1 && !is_picture(extension)) ||
                   (count == 1 && extension.empty() && !out.has_filename())) {
            fs::create_directories(out);
            std::set<fs::path> used;
            for (const auto& image : images) {
                for (int sample = 1; sample <= samples; ++sample) {
                    files_.push_back(unused(used, out, image.file.stem().string(), sample));
                }
            }
        } else if (count > 1) {
            throw std::invalid_argument("-o " + out.string() + " is one file, but " + std::to_string(count) +
                                        " pictures are made: give a folder, or an .npy for all of them");
        } else if (is_picture(extension)) {
            files_.push_back(out);
        } else {
            throw std::invalid_argument("-o " + out.string() + " must end in .png, .jpg or .npy, or be a folder");
        }
        const fs::path folder = fs::absolute(out).parent_path();
        if (!fs::is_directory(folder)) {
            throw std::invalid_argument("-o " + out.string() + ": there is no folder " + folder.string());
        }
    }

    [[nodiscard]] bool is_array() const { return !array_.empty(); }

    /// Takes picture p, made from `image`; writes it unless all go into one .npy.
    void add(std::size_t p, const source_image& image, const host_tensor& filled, const host_tensor& keep) {
        if (is_array()) {
            finished_.push_back(filled);
        } else if (!image.pixels) {
            repaint::write_picture(files_[p], repaint::to_picture(filled));
        } else {
            // Nothing is known of a raw sample: every pixel comes from the network, alpha still from the original.
            const host_tensor nothing(keep.shape());
            repaint::write_picture(files_[p], repaint::composed(*image.pixels, filled, 0, raw_ ? nothing : keep));
        }
    }

    /// Writes what waits.
    void finish() const {
        if (!is_array()) {
            return;
        }
        shape4 s = finished_.front().shape();
        std::vector<float> values;
        for (const auto& one : finished_) {
            values.insert(values.end(), one.values().begin(), one.values().end());
        }
        s.n = static_cast<int>(finished_.size());
        repaint::write_npy(array_, host_tensor(s, std::move(values)));
    }

    [[nodiscard]] std::vector<host_tensor>& finished() { return finished_; }

private:
    static bool is_picture(const std::string& extension) {
        return extension == ".png" || extension == ".jpg" || extension == ".jpeg";
    }

    /// stem.png, or stem-2.png, stem-3.png and so on from `number` up, whichever is not taken.
    static fs::path unused(std::set<fs::path>& used, const fs::path& folder, const std::string& stem, int number) {
        for (;; ++number) {
            std::string name = stem;
            if (number > 1) {
                name += '-';
                name += std::to_string(number);
            }
            const fs::path file = folder / (name + ".png");
            if (used.insert(file).second) {
                return file;
            }
        }
    }

    bool raw_;
    fs::path array_;
    std::vector<fs::path> files_;
    std::vector<host_tensor> finished_;
};

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
            {"timesteps", c.walk.timesteps},
            {"jumps", joined(std::vector<int>{j.n_sample, j.jump_length, j.jump_n_sample, j.jump2_length,
                                              j.jump2_n_sample, j.jump3_length, j.jump3_n_sample, j.start_resampling})},
            {"seed", std::to_string(c.seed)},
            {"noise", c.noise == noise_kind::philox ? "philox" : "torch-cpu"},
            {"label", joined(c.labels)},
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
    output out(command.out, images, command.samples, command.raw);
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

    const auto model = make_engine(command.model.files(), command.model.engine);
    const auto& network = model->network();
    for (const auto& image : images) {
        const int channels = image.pixels ? network.in_channels : image.values.shape().c;
        if (image.pixels && channels != 1 && channels != 3) {
            throw std::invalid_argument("the network takes images of " + std::to_string(channels) +
                                        " channels, a picture has 1 or 3: give an .npy");
        }
        try {
            repaint::check_image_shape(network, {1, channels, image.height(), image.width()});
        } catch (const repaint::shape_error& wrong) {
            throw repaint::shape_error(image.file.string() + ": " + wrong.what());
        }
    }
    repaint::check_labels(network, command.labels);

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
    options.composite = !command.raw;
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
        model->time_evaluation(first); // the first one warms caches
        const double seconds = model->time_evaluation(first);
        double unknown = 0.0;
        for (std::size_t i = 0; i < images.size(); ++i) {
            double sum = 0.0;
            for (const float value : mask_of(i).values()) {
                sum += 1.0 - static_cast<double>(value);
            }
            unknown += sum / static_cast<double>(mask_of(i).size());
        }
        std::fprintf(stderr, "%s: %s, %s parameters, on %s; %s of %dx%d, %.1f %% to fill; %zu evaluations, about %s\n",
                     command.model.weights.filename().c_str(), model->description().family.c_str(),
                     thousands(model->description().parameters).c_str(), std::string(model->name()).c_str(),
                     counted(pictures, "picture").c_str(), images[0].width(), images[0].height(),
                     100.0 * unknown / static_cast<double>(images.size()), evaluations,
                     duration_text(seconds * static_cast<double>(evaluations)).c_str());
        for (const auto& remark : model->description().remarks) {
            if (!remark.starts_with("settings from")) {
                std::fprintf(stderr, "note: %s\n", remark.c_str());
            }
        }
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
        std::vector<const host_tensor*> keeps;
        std::vector<float> values;
        shape4 s;
        for (std::size_t p = first; p < last; ++p) {
            const std::size_t i = image_of_picture(p);
            const host_tensor image = images[i].tensor(network.in_channels);
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
            out.add(p, images[i], image_of(*outcome.images, static_cast<int>(p - first)), mask_of(i));
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
