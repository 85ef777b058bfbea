#include <algorithm>
#include <cstdio>
#include <string>
#include <vector>

#include "commands.hpp"
#include "sizes.hpp"
#include "summary.hpp"

namespace cli {

void bench(const bench_command& command) {
    const bool preset = !command.preset.empty();
    const auto source = preset ? model_source(repaint::find_preset(command.preset)) : command.model.files();
    const auto model = make_engine(source, command.model.engine);
    auto size = model_size(command.size, model->network(), model->description());
    repaint::check_image_shape(model->network(), size);
    size.n = command.batch;
    model->time_evaluation(size);
    std::vector<double> times;
    for (int i = 0; i < command.runs; ++i) {
        times.push_back(1000.0 * model->time_evaluation(size));
    }
    std::sort(times.begin(), times.end());
    const std::size_t half = times.size() / 2;
    const double median = times.size() % 2 == 1 ? times[half] : (times[half - 1] + times[half]) / 2.0;
    // A preset's name is one of ours: it needs no escaping, as a file's would.
    const std::string name = preset ? "\"preset\": \"" + command.preset + "\", " : "";
    std::string computing = "\"backend\": \"" + std::string(model->name()) + "\", ";
    if (!model->precision().empty()) {
        computing += "\"precision\": \"" + std::string(model->precision()) + "\", ";
    }
    if (const std::string device = model->device(); !device.empty()) {
        computing += "\"device\": \"" + device + "\", ";
    }
    std::printf("{%s%s\"width\": %d, \"height\": %d, \"batch\": %d, \"threads\": %d, \"runs\": %d, "
                "\"median_ms\": %.3f, \"min_ms\": %.3f, \"max_ms\": %.3f}\n",
                name.c_str(), computing.c_str(), size.w, size.h, size.n, model->threads(), command.runs, median,
                times.front(), times.back());
    print_notes(*model);
}

} // namespace cli
