#include <cstdio>
#include <exception>
#include <functional>
#include <map>
#include <new>
#include <string>

#include <CLI/CLI.hpp>

#include <repaint/version.hpp>

#include "commands.hpp"

namespace {

/// Paths, so that CLI11 shows and parses them as text.
CLI::Option* add_path(CLI::App* app, const std::string& name, std::filesystem::path& path, const std::string& text) {
    return app
        ->add_option_function<std::string>(
            name, [&path](const std::string& value) { path = value; }, text)
        ->type_name("FILE");
}

CLI::Option* add_path(CLI::App* app, const std::string& name, std::optional<std::filesystem::path>& path,
                      const std::string& text) {
    return app
        ->add_option_function<std::string>(
            name, [&path](const std::string& value) { path = value; }, text)
        ->type_name("FILE");
}

CLI::Option* add_paths(CLI::App* app, const std::string& name, std::vector<std::filesystem::path>& paths,
                       const std::string& text) {
    return app
        ->add_option_function<std::vector<std::string>>(
            name, [&paths](const std::vector<std::string>& values) { paths.assign(values.begin(), values.end()); },
            text)
        ->type_name("FILE");
}

std::string backend_names() {
    std::string names;
    for (const auto& entry : cli::engines()) {
        names += (names.empty() ? "" : ", ") + std::string(entry.name);
    }
    return names;
}

std::string preset_names() {
    std::string names;
    for (const auto& preset : repaint::model_presets()) {
        names += (names.empty() ? "" : ", ") + preset.name;
    }
    return names;
}

void add_model(CLI::App* app, cli::model_options& model, const std::string& name = "MODEL", bool required = true) {
    auto* weights = add_path(app, name, model.weights,
                             "trained network: .safetensors, .safetensors.index.json or .pt (a PyTorch state_dict)");
    if (required) {
        weights->required();
    }
    add_path(
        app, "--config", model.config,
        "JSON with guided-diffusion's keys (num_heads, num_head_channels, use_new_attention_order, diffusion_steps, "
        "noise_schedule, ...); default: the .json beside the model");
    app->add_option("--backend", model.engine.backend, "what computes: " + backend_names() + "; default: the first");
    app->add_option("--threads", model.engine.threads,
                    "processor threads; default: every core this process may use, 1 for reference")
        ->check(CLI::Range(1, 4096));
    app->add_flag("--strict", model.engine.strict,
                  "cpu: convolutions as plain sums, for bits as close to PyTorch's as can be; some times slower");
    app->add_option("--instructions", model.engine.instructions,
                    "cpu: avx512, avx2 or portable; default: the best there is")
        ->check(CLI::IsMember({"avx512", "avx2", "portable"}));
}

void add_walk(CLI::App* app, cli::walk_options& walk) {
    auto& jumps = walk.jumps;
    const auto positive = CLI::Range(1, 1'000'000'000);
    app->add_option("--timesteps", walk.timesteps, "evenly spaced count, \"10,15,20\" by sections, or \"ddim25\"")
        ->capture_default_str();
    app->add_option("--jump-length", jumps.jump_length, "timesteps to jump back up")
        ->check(positive)
        ->capture_default_str();
    app->add_option("--jump-n-sample", jumps.jump_n_sample, "passes over every stretch; 1: no resampling")
        ->check(positive)
        ->capture_default_str();
    app->add_option("--n-sample", jumps.n_sample, "passes over every single step")
        ->check(positive)
        ->capture_default_str();
    app->add_option("--jump2-length", jumps.jump2_length, "jumps within the jumps")->check(positive);
    app->add_option("--jump2-n-sample", jumps.jump2_n_sample, "and their passes")->check(positive);
    app->add_option("--jump3-length", jumps.jump3_length, "jumps within those")->check(positive);
    app->add_option("--jump3-n-sample", jumps.jump3_n_sample, "and their passes")->check(positive);
    app->add_option("--start-resampling", jumps.start_resampling, "no resampling above this timestep")
        ->check(CLI::Range(0, 1'000'000'000));
}

} // namespace

int main(int argc, char** argv) {
    CLI::App app{"Fills holes in pictures with a trained diffusion model (RePaint, CVPR 2022)."};
    app.name("repaint");
    app.require_subcommand(1);
    app.set_version_flag("--version", std::to_string(REPAINT_VERSION_MAJOR) + "." +
                                          std::to_string(REPAINT_VERSION_MINOR) + "." +
                                          std::to_string(REPAINT_VERSION_PATCH));
    app.footer("Exit status: 0 done, 1 failed, 2 wrong usage, 130 interrupted (the state is saved).");
    std::function<int()> chosen;

    cli::inpaint_command inpaint;
    auto* command = app.add_subcommand("inpaint", "fill the holes of pictures");
    add_model(command, inpaint.model);
    add_paths(command, "--image", inpaint.images, "pictures (PNG, JPEG), or .npy (n, c, h, w) in [-1, 1]")->required();
    auto* keep = add_paths(command, "--keep", inpaint.keep, "masks, white = known; one for all or one each");
    auto* paint = add_paths(command, "--paint", inpaint.paint, "masks, white = fill");
    keep->excludes(paint);
    add_path(command, "-o,--out", inpaint.out, "picture (.png, .jpg), folder for several, or .npy for all")->required();
    add_walk(command, inpaint.walk);
    command->add_option("--seed", inpaint.seed, "picture p draws with seed + p")->capture_default_str();
    const std::map<std::string, cli::noise_kind> kinds{{"philox", cli::noise_kind::philox},
                                                       {"torch-cpu", cli::noise_kind::torch_cpu}};
    std::string noise = "philox";
    command->add_option("--noise", noise, "philox, or torch-cpu: PyTorch's stream, shared by a batch")
        ->check(CLI::IsMember({"philox", "torch-cpu"}))
        ->capture_default_str();
    command->add_option("--label", inpaint.labels, "class labels: one for all, or one for each image")->delimiter(',');
    command->add_option("--samples", inpaint.samples, "different fills of every image")
        ->check(CLI::Range(1, 1'000'000))
        ->capture_default_str();
    command->add_option("--batch", inpaint.batch, "pictures that are filled together")
        ->check(CLI::Range(1, 65536))
        ->capture_default_str();
    command->add_flag("--raw", inpaint.raw, "the network's sample as it is, known pixels included");
    command->add_flag("--quiet", inpaint.quiet, "no summary, no progress");
    add_path(command, "--resume", inpaint.resume, "go on from the state that a stopped run left");
    command->callback([&] {
        if (inpaint.keep.empty() && inpaint.paint.empty()) {
            throw CLI::RequiredError("--keep (white = known) or --paint (white = fill)");
        }
        inpaint.noise = kinds.at(noise);
        chosen = [&] { return cli::inpaint(inpaint); };
    });

    cli::mask_command mask;
    command = app.add_subcommand("mask", "make a mask, white = known");
    command->add_option("KIND", mask.kind, "wide, narrow, half, expand, lines, super-resolve or box")->required();
    command->add_option("--size", mask.size, "WIDTHxHEIGHT")->required();
    command->add_option("--seed", mask.seed, "for wide, narrow and box")->capture_default_str();
    add_path(command, "-o,--out", mask.out, ".png, .jpg or .npy")->required();
    command->callback([&] {
        chosen = [&] {
            cli::make_mask(mask);
            return 0;
        };
    });

    cli::schedule_command schedule;
    cli::model_options scheduled_model;
    command = app.add_subcommand("schedule", "show the walk over the timesteps and what it costs");
    add_walk(command, schedule.walk);
    command->add_option("--diffusion-steps", schedule.diffusion_steps, "timesteps of the training")
        ->check(CLI::Range(1, 1'000'000))
        ->capture_default_str();
    command->add_option("--seconds-per-evaluation", schedule.seconds_per_evaluation, "for the time estimate")
        ->check(CLI::NonNegativeNumber);
    add_model(command, scheduled_model, "--model", false);
    command->add_option("--size", schedule.size, "WIDTHxHEIGHT at which --model is measured");
    command->add_flag("--list", schedule.list, "every transition, one per line");
    command->callback([&] {
        if (!scheduled_model.weights.empty()) {
            schedule.model = scheduled_model;
        }
        chosen = [&] {
            cli::print_schedule(schedule);
            return 0;
        };
    });

    cli::info_command info;
    command = app.add_subcommand("info", "show what a model is");
    add_model(command, info.model);
    command->add_option("--size", info.size, "WIDTHxHEIGHT for the memory and the multiply-adds");
    command->callback([&] {
        chosen = [&] {
            cli::print_info(info);
            return 0;
        };
    });

    cli::predict_command predict;
    command = app.add_subcommand("predict", "evaluate the network once");
    add_model(command, predict.model);
    add_path(command, "--input", predict.input, ".npy (n, c, h, w)")->required();
    command->add_option("--timestep", predict.timestep, "as the network was trained to read it")
        ->check(CLI::Range(0.0, 1e6))
        ->required();
    command->add_option("--label", predict.labels, "one for all, or one for each image")->delimiter(',');
    add_path(command, "-o,--out", predict.out, ".npy")->required();
    command->callback([&] {
        chosen = [&] {
            cli::predict(predict);
            return 0;
        };
    });

    cli::bench_command bench;
    command = app.add_subcommand("bench", "time the network; JSON");
    add_model(command, bench.model, "MODEL", false);
    command->add_option("--preset", bench.preset, "random weights instead of a model: " + preset_names())
        ->excludes("MODEL")
        ->excludes("--config");
    command->add_option("--size", bench.size, "WIDTHxHEIGHT");
    command->add_option("--batch", bench.batch, "images per evaluation")
        ->check(CLI::Range(1, 65536))
        ->capture_default_str();
    command->add_option("--runs", bench.runs, "evaluations to time")
        ->check(CLI::Range(1, 1'000'000))
        ->capture_default_str();
    command->callback([&] {
        if (bench.model.weights.empty() && bench.preset.empty()) {
            throw CLI::RequiredError("MODEL or --preset NAME");
        }
        chosen = [&] {
            cli::bench(bench);
            return 0;
        };
    });

    try {
        app.parse(argc, argv);
    } catch (const CLI::ParseError& wrong) {
        const bool asked = wrong.get_exit_code() == static_cast<int>(CLI::ExitCodes::Success);
        app.exit(wrong);
        return asked ? 0 : 2;
    }
    try {
        return chosen();
    } catch (const std::bad_alloc&) {
        std::fprintf(stderr, "repaint: there is not enough memory for this\n");
    } catch (const std::exception& failed) {
        std::fprintf(stderr, "repaint: %s\n", failed.what());
    }
    return 1;
}
