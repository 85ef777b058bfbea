#include <algorithm>
#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "bench_profile.hpp"
#include "commands.hpp"
#include "sizes.hpp"
#include "summary.hpp"

namespace cli {

void bench(const bench_command& command) {
    const bool preset = !command.preset.empty();
    const auto source = preset ? model_source(repaint::find_preset(command.preset)) : command.model.files();
    auto computing = command.model.engine;
    if (command.profile) {
        computing.profile = std::make_shared<repaint::cpu_profile>();
    }
    const auto model = make_engine(source, computing);
    auto size = model_size(command.size, model->network(), model->description());
    repaint::check_image_shape(model->network(), size);
    size.n = command.batch;
    model->time_evaluation(size);
    if (computing.profile) {
        (void)computing.profile->take(); // of what came before
    }
    std::vector<double> times;
    for (int i = 0; i < command.runs; ++i) {
        times.push_back(1000.0 * model->time_evaluation(size));
    }
    std::string profile;
    if (computing.profile) {
        const auto layers = computing.profile->take();
        profile = ", \"profile\": " + profile_json(layers, command.runs, model->threads());
        std::fputs(profile_table(layers, command.runs, model->threads()).c_str(), stderr);
    }
    std::sort(times.begin(), times.end());
    const std::size_t half = times.size() / 2;
    const double median = times.size() % 2 == 1 ? times[half] : (times[half - 1] + times[half]) / 2.0;
    // A preset's name is one of ours: it needs no escaping, as a file's would.
    const std::string name = preset ? "\"preset\": \"" + command.preset + "\", " : "";
    std::string device = "\"backend\": \"" + std::string(model->name()) + "\", ";
    if (!model->precision().empty()) {
        device += "\"precision\": \"" + std::string(model->precision()) + "\", ";
    }
    if (const std::string called = model->device(); !called.empty()) {
        device += "\"device\": \"" + called + "\", ";
    }
    std::printf("{%s%s\"width\": %d, \"height\": %d, \"batch\": %d, \"threads\": %d, \"runs\": %d, "
                "\"median_ms\": %.3f, \"min_ms\": %.3f, \"max_ms\": %.3f%s}\n",
                name.c_str(), device.c_str(), size.w, size.h, size.n, model->threads(), command.runs, median,
                times.front(), times.back(), profile.c_str());
    print_notes(*model);
}

} // namespace cli
