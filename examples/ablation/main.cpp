// ablation MODEL --images D --keeps D -o OUT: the sweeps of the RePaint paper's tables 2 and 3 with a model.
#include <string>

#include "ablate.hpp"
#include "arguments.hpp"

int main(int argc, char** argv) {
    CLI::App app{"What timesteps, resampling and jump lengths do (RePaint, CVPR 2022, tables 2 and 3): tables and a "
                 "contact sheet. Run again it goes on where it stopped. plot.py draws figures of the tables."};
    app.name("ablation");
    app.footer("Exit status: 0 done, 1 failed, 2 wrong usage, 130 interrupted (what is done is kept).");

    ablation::ablate_command ablate;
    cli::add_model(&app, ablate.model);
    cli::add_path(&app, "--images", ablate.images, "whole pictures: a folder, or a file (PNG, JPEG)")->required();
    cli::add_path(&app, "--keeps", ablate.keeps,
                  "masks, white = known: a file, a folder of masks, or one with a folder for each kind of mask")
        ->required();
    cli::add_path(&app, "-o,--out", ablate.out,
                  "folder for ablation.csv, comparisons.csv, pictures.csv, contact_sheet.png")
        ->required();
    const auto count = CLI::Range(1, 1'000'000);
    app.add_option_function<std::string>(
           "--sweep", [&ablate](const std::string& name) { ablate.sweep = ablation::parse_sweep_choice(name); },
           "resampling (against slowing down), jump-length or all")
        ->check(CLI::IsMember({"resampling", "jump-length", "all"}))
        ->default_str("all");
    app.add_option("--timesteps", ablate.timesteps, "of every run but the slowed-down ones")
        ->check(count)
        ->capture_default_str();
    app.add_option("--passes", ablate.passes,
                   "resampling: passes over every stretch, and as many times the timesteps in one pass")
        ->delimiter(',')
        ->check(CLI::Range(1, 1000))
        ->capture_default_str();
    app.add_option("--jump-length", ablate.jump_length, "resampling: timesteps to jump back up")
        ->check(count)
        ->capture_default_str();
    app.add_option("--jump-lengths", ablate.jump_lengths, "jump-length: the lengths to compare")
        ->delimiter(',')
        ->check(count)
        ->capture_default_str();
    app.add_option("--jump-passes", ablate.jump_passes, "jump-length: the passes for each of them")
        ->delimiter(',')
        ->check(CLI::Range(2, 1000))
        ->capture_default_str();
    cli::add_lpips(&app, ablate.lpips);
    app.add_option("--limit", ablate.limit, "only the first so many pictures")->check(count);
    app.add_option("--shown", ablate.shown, "pictures on the contact sheet, for each kind of mask")
        ->check(count)
        ->capture_default_str();
    app.add_option("--batch", ablate.batch, "pictures that are filled together; default: up to 16, by their size")
        ->check(CLI::Range(1, 65536));
    cli::add_seed(&app, ablate.seed, "picture p draws with seed + p, in every setting");
    cli::add_labels(&app, ablate.labels);
    cli::add_guidance(&app, ablate.model);
    app.add_flag("--quiet", ablate.quiet, "no summary, no progress");
    return cli::run_program(app, argc, argv, [&ablate] { return ablation::ablate(ablate); });
}
