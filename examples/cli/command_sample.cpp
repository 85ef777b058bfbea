#include <cstdio>
#include <stdexcept>
#include <string>

#include "batch_run.hpp"
#include "commands.hpp"
#include "defaults.hpp"
#include "image_files.hpp"
#include "sizes.hpp"
#include "summary.hpp"
#include "terminal.hpp"

namespace cli {

int sample(const sample_command& command) {
    const auto samples = static_cast<std::size_t>(command.samples);
    check_one_or_each(samples, "sample", command.labels.given.size(), "label");
    output out(command.out, {"sample"}, command.samples);
    const auto model = make_engine(command.model.files(), command.model.computing());
    const auto& network = model->network();
    repaint::shape4 shape = model_size(command.size, network, model->description());
    check_image_shape(*model, shape);
    if (!out.is_array() && network.in_channels != 1 && network.in_channels != 3) {
        throw std::invalid_argument("the network makes images of " + std::to_string(network.in_channels) +
                                    " channels, a picture has 1 or 3: give an .npy for -o");
    }
    check_labels(*model, command.labels.given, command.labels.drawn);

    auto options = sampling_defaults(command.system, model->scheduler(), command.eta);
    if (command.timesteps) {
        options.timesteps = *command.timesteps;
    }
    const batch_run work(batches_of(samples, static_cast<std::size_t>(command.batch), model->evaluations(options)));
    const auto& batches = work.batches();
    const std::vector<std::pair<int, int>> sizes(samples, {shape.w, shape.h});
    out.check_room(static_cast<double>(samples) * static_cast<double>(shape.size()));
    if (!command.quiet) {
        print_pictures(sizes, std::nullopt);
        print_summary(*model, command.model.weights, work.evaluations(), sizes);
    }

    batch_steps steps;
    steps.make = [&](std::size_t i, const progress_observer& observe) {
        const auto& batch = batches[i];
        shape.n = static_cast<int>(batch.size());
        sample_request request{shape, options, command.labels.drawn, command.seed + batch.first, command.noise};
        for (std::size_t p = batch.first; p < batch.last && !command.labels.given.empty(); ++p) {
            request.options.labels.push_back(*command.labels.of(p));
        }
        return model->sample(request, observe);
    };
    steps.keep = [&](std::size_t i, const repaint::host_tensor& images) {
        for (std::size_t p = batches[i].first; p < batches[i].last; ++p) {
            out.add(p, repaint::image_copy(images, static_cast<int>(p - batches[i].first)), model->data_range());
        }
    };
    steps.stop = [&](std::size_t i) {
        std::fprintf(stderr, "stopped; %zu of %s are done%s\n", batches[i].first, counted(samples, "picture").c_str(),
                     out.is_array() ? ", nothing is written" : " and written");
    };
    const int status = work.run(steps, command.quiet);
    if (status == 0) {
        out.finish();
    }
    return status;
}

} // namespace cli
