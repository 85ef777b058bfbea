#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <map>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <system_error>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include <repaint/diffusion/noise.hpp>
#include <repaint/diffusion/torch_cuda_generator.hpp>
#include <repaint/diffusion/torch_generator.hpp>
#include <repaint/error.hpp>
#include <repaint/image/codecs.hpp>
#include <repaint/image/official_crop.hpp>
#include <repaint/io/bytes.hpp>

#include "batch_run.hpp"
#include "commands.hpp"
#include "image_files.hpp"
#include "official_config.hpp"
#include "outputs.hpp"
#include "pairing.hpp"
#include "run_state.hpp"
#include "summary.hpp"
#include "terminal.hpp"

namespace cli {

namespace {

namespace fs = std::filesystem;
using repaint::host_tensor;
using repaint::picture;
using repaint::shape4;

/// A picture of the run and what becomes of it.
struct run_picture {
    fs::path gt;
    fs::path mask;
    std::string output;                  ///< the file's name in each of the folders
    const official_data* data = nullptr; ///< the data set it is of
};

/// A data set with its pictures, in batches of data->batch_size.
struct run_set {
    const official_data* data = nullptr;
    std::vector<run_picture> pictures;
    std::string how; ///< they were paired
};

/// The pictures of all data sets.
std::vector<run_picture> pictures_of(const std::vector<run_set>& sets) {
    std::vector<run_picture> pictures;
    for (const auto& set : sets) {
        pictures.insert(pictures.end(), set.pictures.begin(), set.pictures.end());
    }
    return pictures;
}

/// The batches of all data sets, none with pictures of two.
std::vector<picture_batch> batches_of_sets(const std::vector<run_set>& sets, std::size_t evaluations) {
    std::vector<picture_batch> batches;
    std::size_t before = 0;
    for (const auto& set : sets) {
        const auto most = static_cast<std::size_t>(set.data->batch_size);
        for (const auto& batch : batches_of(set.pictures.size(), most, evaluations)) {
            batches.push_back({before + batch.first, before + batch.last, batch.evaluations, 1.0});
        }
        before += set.pictures.size();
    }
    return batches;
}

/// Pictures and masks as the official program prepares them, (n, 3, size, size): the pictures in [-1, 1], the masks in
/// [0, 1], unthresholded.
struct prepared_batch {
    host_tensor gt;
    host_tensor keep;
};

std::vector<fs::path> listed(const configured_path& from, const fs::path& configuration,
                             std::vector<std::string>& notes) {
    const fs::path found = from.found(configuration, notes);
    try {
        auto pictures = list_pictures(found);
        // The official program reads GIF, so leaving them out would pair the others wrongly.
        std::error_code no_folder;
        for (const auto& entry : fs::recursive_directory_iterator(found, no_folder)) {
            if (lower_extension(entry.path()) == ".gif" && !is_litter(entry.path())) {
                throw repaint::error(entry.path().string() + " is a GIF, which is not read here; accepted are .png, " +
                                     ".jpg and .jpeg");
            }
        }
        return pictures;
    } catch (const repaint::error& wrong) {
        throw repaint::error(from.place + from.key + ": " + wrong.what());
    }
}

run_set set_of(const official_data& data, const fs::path& configuration, std::vector<std::string>& notes) {
    run_set set;
    set.data = &data;
    const auto gts = listed(data.gt_path, configuration, notes);
    const auto masks = listed(data.mask_path, configuration, notes);
    file_pairing paired;
    try {
        paired = pair_files(gts, masks, {.mixed_by_order = true});
    } catch (const std::invalid_argument& wrong) {
        throw std::invalid_argument(data.mask_path.place + data.mask_path.key + ": " + wrong.what());
    }
    set.how = paired.how;
    const std::string entry = "data.eval." + data.name + ".";
    const std::size_t all = paired.pairs.size();
    const auto offset = static_cast<std::size_t>(data.offset);
    if (offset >= all) {
        throw std::invalid_argument(entry + "offset is " + std::to_string(offset) + ", but there are only " +
                                    counted(all, "picture"));
    }
    std::size_t count = all - offset;
    if (data.max_len && static_cast<std::size_t>(*data.max_len) > count) {
        notes.push_back(entry + "max_len is " + std::to_string(*data.max_len) + ", but there are only " +
                        counted(count, "picture") + (offset > 0 ? " from the offset on" : "") +
                        ": these are taken (the official program stops with an IndexError)");
    } else if (data.max_len) {
        count = static_cast<std::size_t>(*data.max_len);
    }
    if (const std::size_t rest = count % static_cast<std::size_t>(data.batch_size); data.drop_last && rest > 0) {
        if (rest == count) {
            throw std::invalid_argument(entry + "drop_last is true, and " + counted(count, "picture") +
                                        " do not fill a batch of " + std::to_string(data.batch_size));
        }
        notes.push_back(entry + "drop_last is true: the last batch is left out, " + counted(rest, "picture"));
        count -= rest;
    }
    for (std::size_t i = offset; i < offset + count; ++i) {
        const auto& [gt, mask] = paired.pairs[i];
        set.pictures.push_back({gt, mask, gt.stem().string() + ".png", &data});
    }
    return set;
}

std::vector<fs::path> folders_of(const official_folders& paths) {
    std::vector<fs::path> folders;
    for (const auto* one : {&paths.srs, &paths.lrs, &paths.gts, &paths.gt_keep_masks}) {
        if (*one) {
            folders.push_back(**one);
        }
    }
    return folders;
}

/// Throws when a picture would be written over another one of the run, or over one of its sources.
void check_targets(const std::vector<run_set>& sets) {
    std::map<fs::path, fs::path> sources;
    std::map<fs::path, fs::path> written;
    for (const auto& set : sets) {
        for (const auto& p : set.pictures) {
            sources.emplace(fs::weakly_canonical(p.gt), p.gt);
            sources.emplace(fs::weakly_canonical(p.mask), p.mask);
        }
    }
    for (const auto& set : sets) {
        for (const auto& folder : folders_of(set.data->paths)) {
            const fs::path whole = fs::weakly_canonical(folder);
            if (fs::exists(whole) && !fs::is_directory(whole)) {
                throw std::invalid_argument("data.eval." + set.data->name + ".paths: " + folder.string() +
                                            " is a file, accepted: a folder");
            }
            for (const auto& p : set.pictures) {
                const std::string file = (folder / p.output).string();
                if (sources.contains(whole / p.output)) {
                    throw std::invalid_argument(file + " would be written over a picture of the input: give other " +
                                                "folders under data.eval." + set.data->name + ".paths");
                }
                const auto [other, added] = written.emplace(whole / p.output, p.gt);
                if (!added) {
                    throw std::invalid_argument(p.gt.string() + " and " + other->second.string() +
                                                " would both be written to " + file + ": give them different names");
                }
            }
        }
    }
}

void make_folders(const std::vector<run_set>& sets) {
    for (const auto& set : sets) {
        for (const auto& folder : folders_of(set.data->paths)) {
            std::error_code refused;
            fs::create_directories(folder, refused);
            if (refused) {
                throw repaint::error(folder.string() + ": the folder cannot be made: " + refused.message());
            }
            check_writable(folder / set.pictures.front().output);
        }
    }
}

prepared_batch prepared(std::span<const run_picture> pictures) {
    const int size = pictures.front().data->image_size;
    const shape4 s{static_cast<int>(pictures.size()), 3, size, size};
    prepared_batch batch{host_tensor(s), host_tensor(s)};
    for (int index = 0; index < s.n; ++index) {
        const auto& from = pictures[static_cast<std::size_t>(index)];
        const host_tensor gt = repaint::to_tensor(repaint::official_crop(repaint::read_picture(from.gt), size), 3);
        std::copy(gt.values().begin(), gt.values().end(), batch.gt.image(index).begin());
        const picture mask = repaint::official_crop(repaint::read_picture(from.mask), size);
        const auto keep = batch.keep.image(index);
        const std::size_t plane = s.plane();
        for (std::size_t at = 0; at < mask.pixels.size(); ++at) {
            keep[at % 3 * plane + at / 3] = static_cast<float>(mask.pixels[at]) / 255.0F;
        }
    }
    return batch;
}

/// Reads every picture and mask once, so that a bad one stops the run before it starts. Returns the part to fill.
double check_pictures(const std::vector<run_picture>& pictures) {
    double unknown = 0.0;
    for (const auto& p : pictures) {
        unknown += part_to_fill(prepared({&p, 1}).keep);
    }
    return unknown / static_cast<double>(pictures.size());
}

/// Writes a picture of a batch into the folders, with the official arithmetic in float32 and its truncation to bytes.
void write(const run_picture& p, const prepared_batch& batch, const host_tensor& sample, int index) {
    const auto save = [&](const std::optional<fs::path>& folder, const host_tensor& images) {
        if (folder) {
            const picture made = repaint::to_picture(images, index, repaint::pixel_rounding::truncated);
            write_or_keep(*folder / p.output, [&](const fs::path& file) { repaint::write_picture(file, made); });
        }
    };
    host_tensor known(batch.gt.shape());
    host_tensor mask(batch.gt.shape());
    const auto gt = batch.gt.image(index);
    const auto keep = batch.keep.image(index);
    for (std::size_t i = 0; i < gt.size(); ++i) {
        // In float64 the product is exact and rounded once: no compiler fuses it with the sum.
        const auto product = static_cast<float>(static_cast<double>(gt[i]) * static_cast<double>(keep[i]));
        known.image(index)[i] = product + -1.0F * (1.0F - keep[i]);
        mask.image(index)[i] = 2.0F * keep[i] - 1.0F;
    }
    const auto& paths = p.data->paths;
    save(paths.srs, sample);
    save(paths.gts, batch.gt);
    save(paths.lrs, known);
    save(paths.gt_keep_masks, mask);
}

/// The random numbers of a run. torch_cpu, torch_cuda: PyTorch's stream, seeded once, through all batches. philox:
/// picture p of the run draws with seed + p.
class run_noise {
public:
    /// philox has none.
    using stream_type = std::variant<std::monostate, repaint::torch_cpu_generator, repaint::torch_cuda_generator>;

    run_noise(noise_choice choice, std::uint64_t seed) : choice_(std::move(choice)), seed_(seed) {
        if (choice_.kind == noise_kind::torch_cpu) {
            stream_.emplace<repaint::torch_cpu_generator>(seed);
        } else if (choice_.kind == noise_kind::torch_cuda) {
            stream_.emplace<repaint::torch_cuda_generator>(seed, noise_device(choice_));
        }
    }

    [[nodiscard]] const noise_choice& choice() const { return choice_; }
    [[nodiscard]] std::uint64_t seed_of(std::size_t first_picture) const { return seed_ + first_picture; }
    [[nodiscard]] stream_type& stream() { return stream_; }

private:
    noise_choice choice_;
    std::uint64_t seed_;
    stream_type stream_;
};

/// torch.randint(0, classes, (count,))
std::vector<int> drawn_labels(repaint::torch_cpu_generator& stream, std::size_t count, int classes) {
    std::vector<int> labels;
    for (std::size_t i = 0; i < count; ++i) {
        labels.push_back(static_cast<int>(stream.randint(0, classes)));
    }
    return labels;
}

std::vector<int> drawn_labels(repaint::torch_cuda_generator& stream, std::size_t count, int classes) {
    std::vector<std::int64_t> drawn(count);
    stream.randint(0, classes, drawn);
    std::vector<int> labels;
    for (const std::int64_t label : drawn) {
        labels.push_back(static_cast<int>(label));
    }
    return labels;
}

/// The labels of the pictures [first, first + count), drawn as the official program draws them: before the noise of
/// every batch, and for networks without labels, too.
std::vector<int> labels_for(run_noise& noise, std::size_t first, std::size_t count, int classes) {
    return std::visit(
        [&](auto& stream) {
            if constexpr (std::is_same_v<decltype(stream), std::monostate&>) {
                return repaint::philox_noise(noise.seed_of(first)).labels(static_cast<int>(count), classes);
            } else {
                return drawn_labels(stream, count, classes);
            }
        },
        noise.stream());
}

/// The samples of a batch; nothing when an observer stopped it.
std::optional<host_tensor> fill(engine& model, batch_request request, run_noise& noise,
                                const progress_observer& observe) {
    request.noise = noise.choice();
    return std::visit(
        [&](auto& stream) {
            if constexpr (std::is_same_v<decltype(stream), std::monostate&>) {
                return model.inpaint(request, nullptr, observe).images;
            } else {
                // The stream stands where the batch before, and the labels, left it.
                saved_batch start{host_tensor(request.images.shape()), 0, {}};
                stream.normal(start.x.values());
                start.noise = to_words(stream.save());
                auto outcome = model.inpaint(request, &start, observe);
                if (outcome.images) {
                    auto after = stream.save();
                    from_words(outcome.noise, after);
                    stream.restore(after);
                }
                return std::move(outcome.images);
            }
        },
        noise.stream());
}

/// What makes the rest of a stopped run as the run would have made it; empty where no settings do.
std::string continuation(const std::vector<run_set>& sets, const run_noise& noise, std::size_t done) {
    if (sets.size() != 1 || done == 0 || noise.choice().kind != noise_kind::philox) {
        return {};
    }
    const official_data& data = *sets.front().data;
    std::string text = "; offset " + std::to_string(static_cast<std::size_t>(data.offset) + done);
    if (data.max_len) {
        text += ", max_len " + std::to_string(sets.front().pictures.size() - done);
    }
    return text + " and --seed " + std::to_string(noise.seed_of(done)) + " make the rest";
}

} // namespace

int run(const run_command& command) {
    official_config config = read_official_config(command.config);
    repaint::model_files files(config.model_path.found(command.config, config.notes));
    files.settings = config.model;
    engine_options computing = command.engine;
    if (config.classifier_path) {
        repaint::model_files classifier(config.classifier_path->found(command.config, config.notes));
        classifier.settings = config.classifier;
        computing.guidance = {std::move(classifier), static_cast<float>(config.classifier_scale)};
    }
    std::vector<run_set> sets;
    for (const auto& data : config.data) {
        sets.push_back(set_of(data, command.config, config.notes));
    }
    check_targets(sets);
    const auto pictures = pictures_of(sets);
    const double unknown = check_pictures(pictures);
    const std::vector<std::pair<int, int>> sizes(pictures.size(), {config.image_size, config.image_size});
    if (!command.quiet) {
        print_pictures(sizes, unknown);
    }

    const auto model = make_engine(files, computing);
    if (const std::string& family = model->description().family; !family.starts_with("guided-diffusion")) {
        throw repaint::format_error(config.model_path.place + "model_path is " + repaint::shown(files.weights) +
                                    ", a " + family + "; accepted: a guided-diffusion U-Net, as the settings are of");
    }
    check_image_shape(*model, {1, 3, config.image_size, config.image_size});
    const int classes = model->classes();
    if (config.cond_y && classes == 0) {
        config.notes.emplace_back("cond_y is given, but nothing takes labels here");
    } else if (config.cond_y && *config.cond_y >= classes) {
        throw std::invalid_argument(config.cond_y_place + "cond_y is " + std::to_string(*config.cond_y) +
                                    ", accepted: 0 to " + std::to_string(classes - 1));
    }

    repaint::inpaint_options options;
    options.timesteps = config.timestep_respacing;
    options.jumps = config.jumps;
    options.composite = false;
    const batch_run work(batches_of_sets(sets, model->evaluations(options)));
    const auto& batches = work.batches();
    make_folders(sets);
    if (!command.quiet) {
        for (const auto& set : sets) {
            std::fprintf(stderr, "%s: %s with masks, paired %s\n", set.data->name.c_str(),
                         counted(set.pictures.size(), "picture").c_str(), set.how.c_str());
        }
        print_summary(*model, files.weights, work.evaluations(), sizes);
        for (const auto& note : config.notes) {
            std::fprintf(stderr, "note: %s\n", note.c_str());
        }
    }

    run_noise noise(command.noise, command.seed.value_or(config.seed.value_or(0)));
    prepared_batch batch;
    batch_steps steps;
    steps.make = [&](std::size_t i, const progress_observer& observe) {
        const std::size_t first = batches[i].first;
        const std::size_t last = batches[i].last;
        batch = prepared(std::span(pictures).subspan(first, last - first));
        batch_request request;
        request.options = options;
        request.images = batch.gt;
        request.keep = batch.keep;
        request.seed = noise.seed_of(first);
        const auto labels = config.cond_y ? std::vector<int>(last - first, *config.cond_y)
                                          : labels_for(noise, first, last - first, classes > 0 ? classes : 1000);
        if (classes > 0) {
            request.options.labels = labels;
        }
        return fill(*model, std::move(request), noise, observe);
    };
    steps.keep = [&](std::size_t i, const host_tensor& samples) {
        for (std::size_t p = batches[i].first; p < batches[i].last; ++p) {
            write(pictures[p], batch, samples, static_cast<int>(p - batches[i].first));
        }
    };
    steps.stop = [&](std::size_t i) {
        const std::size_t done = batches[i].first;
        std::fprintf(stderr, "stopped at %s; %zu of %s are done and written%s\n", pictures[done].gt.c_str(), done,
                     counted(pictures.size(), "picture").c_str(), continuation(sets, noise, done).c_str());
    };
    return work.run(steps, command.quiet || !config.show_progress);
}

} // namespace cli
