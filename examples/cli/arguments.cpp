#include "arguments.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <exception>
#include <limits>
#include <new>
#include <string_view>
#include <system_error>

namespace cli {

namespace {

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
    for (const auto& entry : engines()) {
        names += (names.empty() ? "" : ", ") + std::string(entry.name);
    }
    return names;
}

/// Refuses what is no whole number in decimal, and takes leading zeros away. Empty when there is nothing wrong.
std::string decimal(std::string& text) {
    const std::size_t sign = text.starts_with('-') || text.starts_with('+') ? 1 : 0;
    const std::string_view digits = std::string_view(text).substr(sign);
    if (digits.empty() || digits.find_first_not_of("0123456789") != std::string_view::npos) {
        return text + " is no whole number";
    }
    const std::size_t zeros = std::min(digits.find_first_not_of('0'), digits.size() - 1);
    text.erase(sign, zeros);
    return {};
}

/// CLI11 itself reads 010 as 8, as C does, and 0x10 as 16.
void read_as_decimal(CLI::App& app) {
    for (CLI::Option* option : app.get_options()) {
        const std::string type = option->get_type_name();
        if (type == "INT" || type == "UINT" || type.starts_with("INT:") || type.starts_with("UINT:")) {
            option->transform(CLI::Validator(decimal, ""));
        }
    }
    for (CLI::App* command : app.get_subcommands({})) {
        read_as_decimal(*command);
    }
}

} // namespace

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

CLI::Option* add_seed(CLI::App* app, std::uint64_t& seed, const std::string& text) {
    return app->add_option("--seed", seed, text)->check(check_seed)->capture_default_str();
}

CLI::Option* add_seed(CLI::App* app, std::optional<std::uint64_t>& seed, const std::string& text) {
    return app
        ->add_option_function<std::uint64_t>(
            "--seed", [&seed](const std::uint64_t& value) { seed = value; }, text)
        ->check(check_seed);
}

void add_engine(CLI::App* app, engine_options& engine) {
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

void add_model(CLI::App* app, model_options& model, const std::string& name, bool required) {
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
    app->add_option(
           "--weights", model.entry,
           "which network of a file that has several: what stands before the names of its tensors (model, ema); "
           "default: averaged weights (EMA) where there are any")
        ->type_name("KEY");
    add_engine(app, model.engine);
}

void add_guidance(CLI::App* app, model_options& model) {
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

void add_labels(CLI::App* app, label_options& labels) {
    app->add_option_function<std::vector<std::string>>(
           "--label",
           [&labels](const std::vector<std::string>& values) {
               labels.given.clear();
               labels.drawn = values.size() == 1 && values.front() == "random";
               for (std::string value : values) {
                   int label = 0;
                   if (!labels.drawn && (!decimal(value).empty() || !CLI::detail::lexical_cast(value, label))) {
                       throw CLI::ConversionError(value, "--label");
                   }
                   if (!labels.drawn) {
                       labels.given.push_back(label);
                   }
               }
           },
           "class labels: one for all, or one for each image; or random: drawn from the seed")
        ->delimiter(',')
        ->type_name("INT ... or random");
}

void add_lpips(CLI::App* app, std::vector<std::filesystem::path>& files) {
    add_paths(app, "--lpips", files,
              "weights of LPIPS: torchvision's AlexNet and lpips' alex.pth, or one file with both")
        ->expected(1, 2);
}

int run_program(CLI::App& app, int argc, char** argv, const std::function<int()>& chosen) {
    read_as_decimal(app);
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
        std::fprintf(stderr, "%s: there is not enough memory for this\n", app.get_name().c_str());
    } catch (const std::exception& failed) {
        std::fprintf(stderr, "%s: %s\n", app.get_name().c_str(), failed.what());
    }
    return 1;
}

} // namespace cli
