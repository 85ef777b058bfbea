#include <algorithm>
#include <functional>
#include <stdexcept>
#include <string>

#include <repaint/version.hpp>

#include "arguments.hpp"
#include "commands.hpp"
#include "defaults.hpp"
#include "enums.hpp"

namespace {

std::string preset_names() {
    std::string names;
    for (const auto& preset : repaint::model_presets()) {
        names += (names.empty() ? "" : ", ") + preset.name;
    }
    return names;
}

/// Returns what has to be called before the choice is used: it refuses what does not go together.
std::function<void()> add_noise(CLI::App* app, cli::noise_choice& noise, const std::string& stream) {
    app->add_option_function<std::string>(
           "--noise", [&noise](const std::string& name) { noise.kind = cli::parse_noise_kind(name); },
           "philox, torch-cpu or torch-cuda: PyTorch's stream on either, " + stream)
        ->check(CLI::IsMember({"philox", "torch-cpu", "torch-cuda"}))
        ->default_str("philox")
        ->type_name("NAME");
    app->add_option("--noise-device", noise.device,
                    "torch-cuda: the GPU that PyTorch would draw on: " + cli::noise_devices());
    return [&noise] { cli::check_noise(noise); };
}

CLI::Option* add_algorithm(CLI::App* app, repaint::sampling_system& system, const std::string& text) {
    return app
        ->add_option_function<std::string>(
            "--algorithm", [&system](const std::string& name) { system = repaint::parse_sampling_system(name); }, text)
        ->check(CLI::IsMember({"official", "diffusers", "monai"}))
        ->default_str("official")
        ->type_name("NAME");
}

void add_eta(CLI::App* app, std::optional<double>& eta) {
    app->add_option_function<double>(
           "--eta", [&eta](const double& value) { eta = value; },
           "steps of DDIM with this much of the noise, 0 to 1, instead of the trained ones (diffusers inpaints with 0)")
        ->check(CLI::Range(0.0, 1.0));
}

void add_masks(CLI::App* app, cli::mask_options& masks) {
    const std::string words =
        "; or alpha (fill what is transparent in the picture), '#rrggbb' (fill that colour of it), or "
        "the same of another file: alpha:FILE, '#rrggbb:FILE'";
    auto* keep =
        app->add_option("--keep", masks.keep,
                        "masks, white = known; one for all, one each, or a folder, paired by name; pictures or .npy")
            ->type_name("FILE ...");
    auto* paint = app->add_option("--paint", masks.paint, "masks, white = fill" + words)->type_name("FILE ...");
    keep->excludes(paint);
    app->add_option("--tolerance", masks.tolerance, "of a colour in --paint, in each channel of 0 to 255")
        ->check(CLI::Range(0, 255))
        ->capture_default_str();
    app->add_option_function<float>(
           "--threshold", [&masks](const float& value) { masks.threshold = value; },
           "makes masks hard: known (with --paint: filled no more) from this value of 0 to 1 on")
        ->check(CLI::Range(1e-6, 1.0));
    app->add_option("--grow", masks.grow, "pixels by which the hole grows, round")
        ->check(CLI::Range(0.0, 1e6))
        ->capture_default_str();
    app->add_option("--feather", masks.feather,
                    "pixels around the hole over which the fill fades into the picture, which changes them")
        ->check(CLI::Range(0.0, 1e6))
        ->capture_default_str();
}

/// Returns what has to be called before the walk is used: defaults that depend on the algorithm are set there, and
/// options that it has no use for are refused.
std::function<void()> add_walk(CLI::App* app, cli::walk_options& walk) {
    auto& jumps = walk.jumps;
    const auto positive = CLI::Range(1, 1'000'000'000);
    add_algorithm(app, walk.system,
                  "whose loop: official, diffusers (RePaintPipeline) or monai (tutorial 2d_ddpm_inpainting)");
    auto* timesteps = app->add_option("--timesteps", walk.timesteps,
                                      "evenly spaced count; official: also \"10,15,20\" by sections, or \"ddim25\"; "
                                      "monai: default all, \"ddim25\" as before MONAI 1.6")
                          ->capture_default_str();
    auto* length = app->add_option("--jump-length", jumps.jump_length, "timesteps to jump back up")
                       ->check(positive)
                       ->capture_default_str();
    auto* passes =
        app->add_option("--jump-n-sample", jumps.jump_n_sample, "passes over every stretch; 1: no resampling")
            ->check(positive)
            ->capture_default_str();
    auto* single = app->add_option("--n-sample", jumps.n_sample, "passes over every single step; monai: default 4")
                       ->check(positive)
                       ->capture_default_str();
    const std::vector<CLI::Option*> official{
        app->add_option("--jump2-length", jumps.jump2_length, "jumps within the jumps")->check(positive),
        app->add_option("--jump2-n-sample", jumps.jump2_n_sample, "and their passes")->check(positive),
        app->add_option("--jump3-length", jumps.jump3_length, "jumps within those")->check(positive),
        app->add_option("--jump3-n-sample", jumps.jump3_n_sample, "and their passes")->check(positive),
        app->add_option("--start-resampling", jumps.start_resampling, "no resampling above this timestep")
            ->check(CLI::Range(0, 1'000'000'000))};
    return [&walk, timesteps, length, passes, single, official] {
        const auto usual = cli::inpaint_defaults(walk.system);
        if (timesteps->count() == 0) {
            walk.timesteps = usual.timesteps.text;
        }
        if (single->count() == 0) {
            walk.jumps.n_sample = usual.jumps.n_sample;
        }
        auto unused = official;
        if (walk.system == repaint::sampling_system::official) {
            return;
        }
        if (walk.system == repaint::sampling_system::monai) {
            unused.insert(unused.end(), {length, passes});
        } else {
            unused.push_back(single);
        }
        for (const auto* option : unused) {
            if (option->count() > 0) {
                throw std::invalid_argument("--algorithm " + to_string(walk.system) + " has no " + option->get_name());
            }
        }
    };
}

} // namespace

int main(int argc, char** argv) {
    CLI::App app{"Fills holes in pictures with a trained diffusion model (RePaint, CVPR 2022)."};
    app.name("repaint");
    app.require_subcommand(1);
    app.set_version_flag("--version", std::to_string(REPAINT_VERSION_MAJOR) + "." +
                                          std::to_string(REPAINT_VERSION_MINOR) + "." +
                                          std::to_string(REPAINT_VERSION_PATCH));
    app.footer("Exit status: 0 done, 1 failed, 2 wrong usage, 130 interrupted (what is done is kept).");
    std::function<int()> chosen;

    cli::inpaint_command inpaint;
    auto* command = app.add_subcommand("inpaint", "fill the holes of pictures");
    cli::add_model(command, inpaint.model);
    cli::add_paths(command, "--image", inpaint.images, "pictures (PNG, JPEG), or .npy (n, c, h, w), or folders of them")
        ->required();
    command->add_flag("--recursive", inpaint.recursive, "look into the subfolders of folders, too");
    std::vector<float> inpaint_range;
    add_masks(command, inpaint.masks);
    command
        ->add_option("--range", inpaint_range,
                     "what black and white are in .npy images; default: 0 255 of 8 bits, 0 65535 of 16, of floats the "
                     "network's own range")
        ->expected(2)
        ->type_name("LOW HIGH");
    cli::add_path(command, "-o,--out", inpaint.out, "picture (.png, .jpg), folder for several, or .npy for all")
        ->required();
    const auto settle_inpaint = add_walk(command, inpaint.walk);
    add_eta(command, inpaint.eta);
    cli::add_seed(command, inpaint.seed, "picture p draws with seed + p");
    const auto settle_inpaint_noise = add_noise(command, inpaint.noise, "shared by a batch");
    cli::add_labels(command, inpaint.labels);
    cli::add_guidance(command, inpaint.model);
    command->add_option("--samples", inpaint.samples, "different fills of every image")
        ->check(CLI::Range(1, 1'000'000))
        ->capture_default_str();
    command->add_option("--batch", inpaint.batch, "pictures that are filled together")
        ->check(CLI::Range(1, 65536))
        ->capture_default_str();
    command
        ->add_option("--quality", inpaint.quality,
                     "of JPEGs that are written, 1 to 100; default: the input's own, or 95")
        ->check(CLI::Range(1, 100));
    command->add_flag("--keep-alpha", inpaint.keep_alpha,
                      "what is filled keeps its alpha, too, and is not made opaque");
    command->add_flag("--raw", inpaint.raw, "the network's sample as it is, known pixels included");
    command->add_flag("--quiet", inpaint.quiet, "no summary, no progress");
    cli::add_path(command, "--resume", inpaint.resume, "go on from the state that a stopped run left");
    command->callback([&] {
        const bool pictures = std::any_of(inpaint.images.begin(), inpaint.images.end(),
                                          [](const auto& file) { return cli::lower_extension(file) != ".npy"; });
        if (!inpaint.masks.any() && pictures) { // NaN in arrays may be the hole
            throw CLI::RequiredError("--keep (white = known) or --paint (white = fill)");
        }
        if (!inpaint_range.empty()) {
            inpaint.range = repaint::value_range{inpaint_range[0], inpaint_range[1]};
            if (!(inpaint.range->low < inpaint.range->high)) {
                throw CLI::ValidationError("--range", "LOW must be below HIGH");
            }
        }
        chosen = [&] {
            settle_inpaint();
            settle_inpaint_noise();
            return cli::inpaint(inpaint);
        };
    });

    cli::sample_command sample;
    command = app.add_subcommand("sample", "draw pictures from noise alone");
    cli::add_model(command, sample.model);
    cli::add_path(command, "-o,--out", sample.out, "picture (.png, .jpg), folder for several, or .npy for all")
        ->required();
    command->add_option("--size", sample.size, "WIDTHxHEIGHT; default: what the network was trained at");
    add_algorithm(command, sample.system,
                  "whose loop: official (guided-diffusion), diffusers (DDPMPipeline, DDIMPipeline) or monai "
                  "(DiffusionInferer)");
    command->add_option_function<std::string>(
        "--timesteps", [&sample](const std::string& spec) { sample.timesteps = spec; },
        "as of inpaint; default: 250, all with diffusers or monai, 50 with DDIM of diffusers");
    add_eta(command, sample.eta);
    cli::add_seed(command, sample.seed, "picture p draws with seed + p");
    const auto settle_sample_noise = add_noise(command, sample.noise, "shared by a batch");
    cli::add_labels(command, sample.labels);
    cli::add_guidance(command, sample.model);
    command->add_option("--samples", sample.samples, "pictures")
        ->check(CLI::Range(1, 1'000'000))
        ->capture_default_str();
    command->add_option("--batch", sample.batch, "pictures that are drawn together")
        ->check(CLI::Range(1, 65536))
        ->capture_default_str();
    command->add_flag("--quiet", sample.quiet, "no summary, no progress");
    command->callback([&] {
        chosen = [&] {
            settle_sample_noise();
            return cli::sample(sample);
        };
    });

    cli::run_command run;
    command = app.add_subcommand("run", "fill holes as a configuration (YAML) of the official RePaint program says");
    cli::add_path(command, "CONFIG", run.config,
                  "the configuration; its paths start in the current folder, else in its own")
        ->required();
    cli::add_engine(command, run.engine);
    cli::add_seed(command, run.seed, "picture p draws with seed + p; default: the configuration's seed, else 0");
    const auto settle_run_noise = add_noise(command, run.noise, "through the whole run");
    command->add_flag("--quiet", run.quiet, "no summary, no progress");
    command->callback([&] {
        chosen = [&] {
            settle_run_noise();
            return cli::run(run);
        };
    });

    cli::mask_command mask;
    command = app.add_subcommand("mask", "make a mask, white = known");
    command->add_option("KIND", mask.kind, "wide, narrow, half, expand, lines, super-resolve or box")->required();
    command->add_option("--size", mask.size, "WIDTHxHEIGHT")->required();
    cli::add_seed(command, mask.seed, "for wide, narrow and box");
    cli::add_path(command, "-o,--out", mask.out, ".png, .jpg or .npy")->required();
    command->callback([&] {
        chosen = [&] {
            cli::make_mask(mask);
            return 0;
        };
    });

    cli::schedule_command schedule;
    cli::model_options scheduled_model;
    command = app.add_subcommand("schedule", "show the walk over the timesteps and what it costs");
    const auto settle_schedule = add_walk(command, schedule.walk);
    command->add_option("--diffusion-steps", schedule.diffusion_steps, "timesteps of the training")
        ->check(CLI::Range(1, 1'000'000))
        ->capture_default_str();
    command->add_option("--seconds-per-evaluation", schedule.seconds_per_evaluation, "for the time estimate")
        ->check(CLI::NonNegativeNumber);
    cli::add_model(command, scheduled_model, "--model", false);
    command->add_option("--size", schedule.size, "WIDTHxHEIGHT at which --model is measured");
    command->add_flag("--list", schedule.list, "every transition, one per line");
    command->callback([&] {
        if (!scheduled_model.weights.empty()) {
            schedule.model = scheduled_model;
        }
        chosen = [&] {
            settle_schedule();
            cli::print_schedule(schedule);
            return 0;
        };
    });

    cli::info_command info;
    command = app.add_subcommand("info", "show what a model is");
    cli::add_model(command, info.model);
    command->add_option("--size", info.size, "WIDTHxHEIGHT for the memory and the multiply-adds");
    command->callback([&] {
        chosen = [&] {
            cli::print_info(info);
            return 0;
        };
    });

    cli::predict_command predict;
    command = app.add_subcommand("predict", "evaluate the network once");
    cli::add_model(command, predict.model);
    cli::add_path(command, "--input", predict.input, ".npy (n, c, h, w)")->required();
    command->add_option("--timestep", predict.timestep, "as the network was trained to read it")
        ->check(CLI::Range(0.0, 1e6))
        ->required();
    command->add_option("--label", predict.labels.given, "one for all, or one for each image")->delimiter(',');
    cli::add_path(command, "-o,--out", predict.out, ".npy")->required();
    command->callback([&] {
        chosen = [&] {
            cli::predict(predict);
            return 0;
        };
    });

    cli::bench_command bench;
    command = app.add_subcommand("bench", "time the network; JSON");
    cli::add_model(command, bench.model, "MODEL", false);
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
    command->add_flag("--profile", bench.profile,
                      "cpu: where the time goes, by groups of layers and kinds of work; layer by layer in the JSON");
    command->callback([&] {
        if (bench.model.weights.empty() && bench.preset.empty()) {
            throw CLI::RequiredError("MODEL or --preset NAME");
        }
        chosen = [&] {
            cli::bench(bench);
            return 0;
        };
    });

    cli::evaluate_command evaluate;
    command = app.add_subcommand("evaluate", "compare pictures with the truth: PSNR, SSIM, LPIPS; CSV");
    cli::add_path(command, "RESULTS", evaluate.results,
                  "pictures to judge: a file, or a folder (PNG, JPEG); name-2.png is a further sample of name.png")
        ->required();
    cli::add_path(command, "TRUTH", evaluate.truth, "what they should be: paired by name, or else by sorted order")
        ->required();
    cli::add_path(
        command, "--masks", evaluate.masks,
        "masks of the truth's pictures, white = known; one for all or paired likewise: measures the hole, too");
    cli::add_lpips(command, evaluate.lpips);
    command
        ->add_option_function<std::string>(
            "--ssim", [&evaluate](const std::string& name) { evaluate.ssim = cli::parse_ssim_window(name); },
            "skimage: its defaults; gaussian: as Wang et al. 2004")
        ->check(CLI::IsMember({"skimage", "gaussian"}))
        ->default_str("skimage");
    cli::add_path(command, "-o,--out", evaluate.out, "file for the CSV; default: stdout");
    command->add_option("--threads", evaluate.threads, "processor threads; default: every core this process may use")
        ->check(CLI::Range(1, 4096));
    command->callback([&] {
        chosen = [&] {
            cli::evaluate(evaluate);
            return 0;
        };
    });

    app.footer(
        "The ablations of the paper's tables 2 and 3 are a program of their own, ablation (examples/ablation).\n" +
        app.get_footer());
    return cli::run_program(app, argc, argv, [&chosen] { return chosen(); });
}
