#include <array>
#include <charconv>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <functional>
#include <limits>
#include <new>
#include <stdexcept>
#include <string>
#include <system_error>

#include <CLI/CLI.hpp>

#include <repaint/version.hpp>

#include "commands.hpp"

namespace {

constexpr std::array algorithms{repaint::algorithm::official, repaint::algorithm::diffusers, repaint::algorithm::monai};

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

/// CLI11 itself takes -1 for the largest number, and so what is larger still. Empty when there is nothing wrong.
std::string check_seed(const std::string& text) {
    std::uint64_t seed = 0;
    const char* const end = text.data() + text.size();
    const auto read = std::from_chars(text.data(), end, seed);
    return read.ec == std::errc() && read.ptr == end
               ? std::string()
               : text + " is no integer from 0 to " + std::to_string(std::numeric_limits<std::uint64_t>::max());
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

void add_engine(CLI::App* app, cli::engine_options& engine) {
    app->add_option("--backend", engine.backend,
                    "what computes: " + backend_names() + "; default: the first that can be used here");
    app->add_option("--threads", engine.threads,
                    "processor threads; default: every core this process may use, 1 for reference")
        ->check(CLI::Range(1, 4096));
    app->add_flag(
        "--strict", engine.strict,
        "convolutions as plain sums, for bits as close to PyTorch's as can be; some times slower; cuda: in float");
    app->add_option("--instructions", engine.instructions, "cpu: avx512, avx2 or portable; default: the best there is")
        ->check(CLI::IsMember({"avx512", "avx2", "portable"}));
    app->add_option("--precision", engine.precision,
                    "cuda: half, bfloat16, tf32 or float; default: half, or float with --strict")
        ->check(CLI::IsMember({"half", "bfloat16", "tf32", "float"}));
    app->add_option_function<int>(
           "--device", [&engine](const int& value) { engine.device = value; }, "cuda: which, counted from 0")
        ->check(CLI::Range(0, 4096));
    add_path(app, "--plans", engine.plans, "cuda: file that keeps how its libraries compute, for the next start");
    app->add_flag("--tune", engine.tune, "cuda: measure what its libraries offer instead of taking their advice");
}

/// Returns what has to be called before the choice is used: it refuses what does not go together.
std::function<void()> add_noise(CLI::App* app, cli::noise_choice& noise, const std::string& stream) {
    app->add_option_function<std::string>(
           "--noise", [&noise](const std::string& name) { noise.kind = cli::noise_named(name); },
           "philox, torch-cpu or torch-cuda: PyTorch's stream on either, " + stream)
        ->check(CLI::IsMember({"philox", "torch-cpu", "torch-cuda"}))
        ->default_str("philox")
        ->type_name("NAME");
    app->add_option("--noise-device", noise.device,
                    "torch-cuda: the GPU that PyTorch would draw on: " + cli::noise_devices());
    return [&noise] { cli::check_noise(noise); };
}

void add_model(CLI::App* app, cli::model_options& model, const std::string& name = "MODEL", bool required = true) {
    auto* weights = add_path(
        app, name, model.weights,
        "trained network: .safetensors, .safetensors.index.json, .pt (a PyTorch state_dict), or the folder of a "
        "diffusers model or a MONAI bundle");
    if (required) {
        weights->required();
    }
    add_path(
        app, "--config", model.config,
        "JSON with what the tensors do not tell, in the keys of the model's own system (num_heads, diffusion_steps, "
        "noise_schedule, ...); default: the .json beside the model");
    add_engine(app, model.engine);
}

void add_guidance(CLI::App* app, cli::model_options& model) {
    auto* classifier =
        add_path(app, "--classifier", model.classifier,
                 "guided-diffusion classifier that guides the run towards the label (.pt, .safetensors)");
    add_path(app, "--classifier-config", model.classifier_config,
             "JSON with the official keys (classifier_depth, classifier_pool, ...); default: the .json beside it")
        ->needs(classifier);
    app->add_option("--classifier-scale", model.classifier_scale,
                    "strength of the guidance; below 0: away from the label")
        ->check(CLI::Validator(
            [](const std::string& text) {
                constexpr float largest = 1e6F;
                float scale = 0.0F;
                const bool accepted =
                    CLI::detail::lexical_cast(text, scale) && std::fabs(scale) <= largest && scale != 0.0F;
                return accepted ? std::string()
                                : text + " is not accepted: -1000000 to 1000000 without 0, which is no --classifier";
            },
            "NUMBER"))
        ->needs(classifier)
        ->capture_default_str();
}

/// --label: numbers, or "random" alone.
void add_labels(CLI::App* app, std::vector<int>& labels, bool& drawn) {
    app->add_option_function<std::vector<std::string>>(
           "--label",
           [&labels, &drawn](const std::vector<std::string>& values) {
               labels.clear();
               drawn = values.size() == 1 && values.front() == "random";
               for (const auto& value : values) {
                   int label = 0;
                   if (!drawn && !CLI::detail::lexical_cast(value, label)) {
                       throw CLI::ConversionError(value, "--label");
                   }
                   if (!drawn) {
                       labels.push_back(label);
                   }
               }
           },
           "class labels: one for all, or one for each image; or random: drawn from the seed")
        ->delimiter(',')
        ->type_name("INT ... or random");
}

CLI::Option* add_algorithm(CLI::App* app, repaint::algorithm& algorithm, const std::string& text) {
    return app
        ->add_option_function<std::string>(
            "--algorithm",
            [&algorithm](const std::string& name) {
                for (const auto one : algorithms) {
                    if (name == repaint::algorithm_name(one)) {
                        algorithm = one;
                    }
                }
            },
            text)
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

/// Returns what has to be called before the walk is used: defaults that depend on the algorithm are set there, and
/// options that it has no use for are refused.
std::function<void()> add_walk(CLI::App* app, cli::walk_options& walk) {
    auto& jumps = walk.jumps;
    const auto positive = CLI::Range(1, 1'000'000'000);
    add_algorithm(app, walk.algorithm,
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
        auto unused = official;
        if (walk.algorithm == repaint::algorithm::official) {
            return;
        }
        if (walk.algorithm == repaint::algorithm::monai) {
            unused.insert(unused.end(), {length, passes});
            if (timesteps->count() == 0) {
                walk.timesteps.clear();
            }
            if (single->count() == 0) {
                walk.jumps.n_sample = 4;
            }
        } else {
            unused.push_back(single);
        }
        for (const auto* option : unused) {
            if (option->count() > 0) {
                throw std::invalid_argument("--algorithm " + repaint::algorithm_name(walk.algorithm) + " has no " +
                                            option->get_name());
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
    add_model(command, inpaint.model);
    add_paths(command, "--image", inpaint.images, "pictures (PNG, JPEG), or .npy (n, c, h, w) in [-1, 1]")->required();
    auto* keep = add_paths(command, "--keep", inpaint.keep, "masks, white = known; one for all or one each");
    auto* paint = add_paths(command, "--paint", inpaint.paint, "masks, white = fill");
    keep->excludes(paint);
    add_path(command, "-o,--out", inpaint.out, "picture (.png, .jpg), folder for several, or .npy for all")->required();
    const auto settle_inpaint = add_walk(command, inpaint.walk);
    add_eta(command, inpaint.eta);
    command->add_option("--seed", inpaint.seed, "picture p draws with seed + p")
        ->check(check_seed)
        ->capture_default_str();
    const auto settle_inpaint_noise = add_noise(command, inpaint.noise, "shared by a batch");
    add_labels(command, inpaint.labels, inpaint.draw_labels);
    add_guidance(command, inpaint.model);
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
        chosen = [&] {
            settle_inpaint();
            settle_inpaint_noise();
            return cli::inpaint(inpaint);
        };
    });

    cli::sample_command sample;
    command = app.add_subcommand("sample", "draw pictures from noise alone");
    add_model(command, sample.model);
    add_path(command, "-o,--out", sample.out, "picture (.png, .jpg), folder for several, or .npy for all")->required();
    command->add_option("--size", sample.size, "WIDTHxHEIGHT; default: what the network was trained at");
    add_algorithm(command, sample.algorithm,
                  "whose loop: official (guided-diffusion), diffusers (DDPMPipeline, DDIMPipeline) or monai "
                  "(DiffusionInferer)");
    command->add_option_function<std::string>(
        "--timesteps", [&sample](const std::string& spec) { sample.timesteps = spec; },
        "as of inpaint; default: 250, all with diffusers or monai, 50 with DDIM of diffusers");
    add_eta(command, sample.eta);
    command->add_option("--seed", sample.seed, "picture p draws with seed + p")
        ->check(check_seed)
        ->capture_default_str();
    const auto settle_sample_noise = add_noise(command, sample.noise, "shared by a batch");
    add_labels(command, sample.labels, sample.draw_labels);
    add_guidance(command, sample.model);
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
    add_path(command, "CONFIG", run.config, "the configuration; its paths start in the current folder, else in its own")
        ->required();
    add_engine(command, run.engine);
    command
        ->add_option_function<std::uint64_t>(
            "--seed", [&run](const std::uint64_t& seed) { run.seed = seed; },
            "picture p draws with seed + p; default: the configuration's seed, else 0")
        ->check(check_seed);
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
    command->add_option("--seed", mask.seed, "for wide, narrow and box")->check(check_seed)->capture_default_str();
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
    const auto settle_schedule = add_walk(command, schedule.walk);
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
            settle_schedule();
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

    cli::evaluate_command evaluate;
    command = app.add_subcommand("evaluate", "compare pictures with the truth: PSNR, SSIM, LPIPS; CSV");
    add_path(command, "RESULTS", evaluate.results,
             "pictures to judge: a file, or a folder (PNG, JPEG); name-2.png is a further sample of name.png")
        ->required();
    add_path(command, "TRUTH", evaluate.truth, "what they should be: paired by name, or else by sorted order")
        ->required();
    add_path(command, "--masks", evaluate.masks,
             "masks of the truth's pictures, white = known; one for all or paired likewise: measures the hole, too");
    add_paths(command, "--lpips", evaluate.lpips,
              "weights of LPIPS: torchvision's AlexNet and lpips' alex.pth, or one file with both")
        ->expected(1, 2);
    command->add_option("--ssim", evaluate.ssim, "skimage: its defaults; gaussian: as Wang et al. 2004")
        ->check(CLI::IsMember({"skimage", "gaussian"}))
        ->capture_default_str();
    add_path(command, "-o,--out", evaluate.out, "file for the CSV; default: stdout");
    command->add_option("--threads", evaluate.threads, "processor threads; default: every core this process may use")
        ->check(CLI::Range(1, 4096));
    command->callback([&] {
        chosen = [&] {
            cli::evaluate(evaluate);
            return 0;
        };
    });

    cli::ablate_command ablate;
    command = app.add_subcommand("ablate", "what timesteps, resampling and jump lengths do: tables, a plot, a contact "
                                           "sheet; run again it goes on where it stopped");
    add_model(command, ablate.model);
    add_path(command, "--images", ablate.images, "whole pictures: a folder, or a file (PNG, JPEG)")->required();
    add_path(command, "--keeps", ablate.keeps,
             "masks, white = known: a file, a folder of masks, or one with a folder for each kind of mask")
        ->required();
    add_path(command, "-o,--out", ablate.out,
             "folder for ablation.csv, comparisons.csv, pictures.csv, ablation.png, contact_sheet.png")
        ->required();
    const auto count = CLI::Range(1, 1'000'000);
    command->add_option("--sweep", ablate.sweep, "resampling (against slowing down), jump-length or all")
        ->check(CLI::IsMember({"resampling", "jump-length", "all"}))
        ->capture_default_str();
    command->add_option("--timesteps", ablate.timesteps, "of every run but the slowed-down ones")
        ->check(count)
        ->capture_default_str();
    command
        ->add_option("--passes", ablate.passes,
                     "resampling: passes over every stretch, and as many times the timesteps in one pass")
        ->delimiter(',')
        ->check(CLI::Range(1, 1000))
        ->capture_default_str();
    command->add_option("--jump-length", ablate.jump_length, "resampling: timesteps to jump back up")
        ->check(count)
        ->capture_default_str();
    command->add_option("--jump-lengths", ablate.jump_lengths, "jump-length: the lengths to compare")
        ->delimiter(',')
        ->check(count)
        ->capture_default_str();
    command->add_option("--jump-passes", ablate.jump_passes, "jump-length: the passes for each of them")
        ->delimiter(',')
        ->check(CLI::Range(2, 1000))
        ->capture_default_str();
    add_paths(command, "--lpips", ablate.lpips,
              "weights of LPIPS: torchvision's AlexNet and lpips' alex.pth, or one file with both")
        ->expected(1, 2);
    command->add_option("--limit", ablate.limit, "only the first so many pictures")->check(count);
    command->add_option("--shown", ablate.shown, "pictures on the contact sheet, for each kind of mask")
        ->check(count)
        ->capture_default_str();
    command->add_option("--batch", ablate.batch, "pictures that are filled together; default: up to 16, by their size")
        ->check(CLI::Range(1, 65536));
    command->add_option("--seed", ablate.seed, "picture p draws with seed + p, in every setting")
        ->check(check_seed)
        ->capture_default_str();
    add_labels(command, ablate.labels, ablate.draw_labels);
    add_guidance(command, ablate.model);
    command->add_flag("--quiet", ablate.quiet, "no summary, no progress");
    command->callback([&] { chosen = [&] { return cli::ablate(ablate); }; });

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
