#include <cstdio>
#include <stdexcept>

#include "commands.hpp"
#include "sizes.hpp"
#include "terminal.hpp"

namespace cli {

namespace {

/// "249 -> 230, +10 -9 ...": the turning points of a walk, runs in one direction contracted.
void print_turns(const std::vector<repaint::transition>& walk) {
    std::string line = std::to_string(walk.front().from);
    for (std::size_t i = 0; i < walk.size(); ++i) {
        const bool turns = i + 1 == walk.size() || (walk[i].to < walk[i].from) != (walk[i + 1].to < walk[i + 1].from);
        if (turns) {
            const std::string next = (walk[i].to < walk[i].from ? " \\ " : " / ") + std::to_string(walk[i].to);
            if (line.size() + next.size() > 100) {
                std::printf("%s\n", line.c_str());
                line.clear();
            }
            line += next;
        }
    }
    std::printf("%s\n", line.c_str());
}

} // namespace

void print_schedule(const schedule_command& command) {
    int steps = command.diffusion_steps;
    double seconds = command.seconds_per_evaluation;
    repaint::scheduler_settings scheduler;
    if (command.model) {
        const auto model = make_engine(command.model->files(), command.model->engine);
        const auto size = model_size(command.size, model->network(), model->description());
        steps = model->training_steps();
        scheduler = model->scheduler();
        model->time_evaluation(size);
        seconds = model->time_evaluation(size);
    }
    const auto how = command.walk.system;
    const auto timesteps = repaint::inpainting_timesteps(how, steps, command.walk.timesteps, scheduler);
    const auto walk = repaint::inpainting_walk(how, timesteps, command.walk.jumps);
    const auto evaluations = repaint::inpainting_evaluations(how, timesteps, walk);
    const auto down = static_cast<std::size_t>(repaint::network_evaluations(walk));
    std::printf("%zu timesteps of %d, %zu evaluations, %zu transitions (%zu down, %zu up)\n", timesteps.size(), steps,
                evaluations, walk.size(), down, walk.size() - down);
    if (seconds > 0.0) {
        std::printf("about %s at %.3g s per evaluation\n",
                    duration_text(seconds * static_cast<double>(evaluations)).c_str(), seconds);
    }
    if (command.list) {
        for (const auto& move : walk) {
            std::printf("%d %d\n", move.from, move.to);
        }
    } else if (how == repaint::sampling_system::monai && command.walk.jumps.n_sample > 1) {
        // It turns after every step.
        std::printf("%d \\ -1, every step %d times\n", walk.front().from, command.walk.jumps.n_sample);
    } else {
        print_turns(walk);
    }
}

} // namespace cli
