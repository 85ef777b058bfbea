#include <algorithm>
#include <cstdio>
#include <stdexcept>
#include <string>
#include <utility>

#include "commands.hpp"
#include "image_files.hpp"
#include "summary.hpp"
#include "terminal.hpp"

namespace cli {

namespace {

/// What the published programs take when nothing is said.
std::string usual_timesteps(const sample_command& command, const repaint::scheduler_settings& scheduler) {
    switch (command.algorithm) {
    case repaint::algorithm::diffusers: return command.eta || scheduler.ddim ? "50" : "";
    case repaint::algorithm::monai: return "";
    default: return "250";
    }
}

} // namespace

int sample(const sample_command& command) {
    const auto samples = static_cast<std::size_t>(command.samples);
    if (command.labels.size() > 1 && command.labels.size() != samples) {
        throw std::invalid_argument("there are " + counted(samples, "sample") + " and " +
                                    counted(command.labels.size(), "label") +
                                    ": give one label for all, or one for each sample");
    }
    output out(command.out, {"sample"}, command.samples);
    const auto model = make_engine(command.model.files(), command.model.computing());
    const auto& network = model->network();
    repaint::shape4 shape = model_size(command.size, network, model->description());
    check_image_shape(*model, shape);
    if (!out.is_array() && network.in_channels != 1 && network.in_channels != 3) {
        throw std::invalid_argument("the network makes images of " + std::to_string(network.in_channels) +
                                    " channels, a picture has 1 or 3: give an .npy for -o");
    }
    check_labels(*model, command.labels, command.draw_labels);

    repaint::sampling_options options;
    options.timesteps = command.timesteps ? *command.timesteps : usual_timesteps(command, model->scheduler());
    options.eta = command.eta;
    options.algorithm = command.algorithm;
    const auto batch = static_cast<std::size_t>(command.batch);
    const std::size_t each = model->evaluations(options);
    const std::size_t evaluations = (samples + batch - 1) / batch * each;
    const interruption stop;
    if (!command.quiet) {
        shape.n = static_cast<int>(std::min(batch, samples));
        print_summary(*model, {command.model.weights, samples, shape, std::nullopt, evaluations});
    }

    progress_bar bar(evaluations, command.quiet);
    std::size_t evaluated = 0;
    for (std::size_t first = 0; first < samples; first += batch) {
        const std::size_t last = std::min(first + batch, samples);
        shape.n = static_cast<int>(last - first);
        sample_request request{shape, options, command.draw_labels, command.seed + first, command.noise};
        for (std::size_t p = first; p < last && !command.labels.empty(); ++p) {
            request.options.labels.push_back(command.labels[command.labels.size() == 1 ? 0 : p]);
        }
        const auto images = model->sample(request, [&](const repaint::progress& at) {
            bar.show(evaluated + at.evaluation);
            return stop.requested();
        });
        if (!images) {
            bar.end();
            std::fprintf(stderr, "stopped; %zu of %s are done%s\n", first, counted(samples, "picture").c_str(),
                         out.is_array() ? ", nothing is written" : " and written");
            return 130;
        }
        evaluated += each;
        for (std::size_t p = first; p < last; ++p) {
            out.add(p, image_of(*images, static_cast<int>(p - first)), model->data_range());
        }
    }
    out.finish();
    return 0;
}

} // namespace cli
