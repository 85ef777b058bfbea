#include "summary.hpp"

#include <array>
#include <cstdio>
#include <string>

#include "terminal.hpp"

namespace cli {

void print_summary(engine& model, const run_summary& run) {
    model.time_evaluation(run.batch); // the first one warms caches
    const double seconds = model.time_evaluation(run.batch);
    const auto& about = model.description();
    std::string where(model.name());
    if (!model.precision().empty()) {
        where += " in " + std::string(model.precision());
    }
    std::string fill;
    if (run.unknown) {
        std::array<char, 32> text{};
        std::snprintf(text.data(), text.size(), ", %.1f %% to fill", 100.0 * *run.unknown);
        fill = text.data();
    }
    std::fprintf(stderr, "%s: %s, %s parameters, on %s; %s of %dx%d%s; %zu evaluations, about %s\n",
                 run.weights.filename().c_str(), about.family.c_str(), thousands(about.parameters).c_str(),
                 where.c_str(), counted(run.pictures, "picture").c_str(), run.batch.w, run.batch.h, fill.c_str(),
                 run.evaluations, duration_text(seconds * static_cast<double>(run.evaluations)).c_str());
    for (const auto& remark : about.remarks) {
        if (!remark.starts_with("settings from")) {
            std::fprintf(stderr, "note: %s\n", remark.c_str());
        }
    }
    print_notes(model);
}

void print_notes(const engine& model) {
    for (const auto& note : model.notes()) {
        std::fprintf(stderr, "note: %s\n", note.c_str());
    }
}

} // namespace cli
