#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include <repaint/core/value_range.hpp>
#include <repaint/diffusion/jump_schedule.hpp>
#include <repaint/evaluation/ssim.hpp>

#include "mask_files.hpp"
#include "options.hpp"

/// One function per subcommand; main.cpp fills the structs from the command line. They throw what the library throws.
namespace cli {

struct walk_options {
    repaint::sampling_system system = repaint::sampling_system::official;
    std::string timesteps = "250";
    repaint::jump_options jumps;
};

struct inpaint_command {
    model_options model;
    walk_options walk;
    std::vector<std::filesystem::path> images; ///< files and folders
    bool recursive = false;                    ///< subfolders, too
    std::optional<repaint::value_range> range; ///< of arrays; none: their type's, or the network's
    mask_options masks;
    std::filesystem::path out;
    label_options labels;
    std::optional<double> eta;
    std::uint64_t seed = 0;
    noise_choice noise;
    int samples = 1;
    int batch = 1;
    bool raw = false;
    int quality = 0; ///< of a JPEG; 0: as the input's
    bool keep_alpha = false;
    bool quiet = false;
    std::optional<std::filesystem::path> resume;
};

struct sample_command {
    model_options model;
    repaint::sampling_system system = repaint::sampling_system::official;
    std::optional<std::string> timesteps; ///< none: the default of the algorithm
    std::string size;                     ///< empty: what the network was trained at
    std::filesystem::path out;
    label_options labels;
    std::optional<double> eta;
    std::uint64_t seed = 0;
    noise_choice noise;
    int samples = 1;
    int batch = 1;
    bool quiet = false;
};

struct mask_command {
    std::string kind;
    std::string size;
    std::uint64_t seed = 0;
    std::filesystem::path out;
};

struct schedule_command {
    walk_options walk;
    int diffusion_steps = 1000;
    double seconds_per_evaluation = 0.0;
    std::optional<model_options> model;
    std::string size;
    bool list = false;
};

struct info_command {
    model_options model;
    std::string size;
};

struct predict_command {
    model_options model;
    std::filesystem::path input;
    double timestep = 0.0;
    label_options labels;
    std::filesystem::path out;
};

struct bench_command {
    model_options model;
    std::string preset; ///< instead of the model's files, when not empty
    std::string size;
    int batch = 1;
    int runs = 10;
    bool profile = false; ///< tell where the time goes
};

struct evaluate_command {
    std::filesystem::path results;
    std::filesystem::path truth;
    std::optional<std::filesystem::path> masks;
    std::vector<std::filesystem::path> lpips; ///< files with the weights; none: no LPIPS
    repaint::ssim_window ssim = repaint::ssim_window::uniform;
    std::optional<std::filesystem::path> out;
    int threads = 0;
};

/// A configuration of the official program.
struct run_command {
    std::filesystem::path config;
    engine_options engine;
    std::optional<std::uint64_t> seed; ///< not given: the configuration's, else 0
    noise_choice noise;
    bool quiet = false;
};

/// The exit status: 0, or 130 when the run was interrupted and its state saved.
int inpaint(const inpaint_command& command);
/// The exit status: 0, or 130 when the run was interrupted; the pictures that were done stay.
int sample(const sample_command& command);
/// The exit status: as of sample.
int run(const run_command& command);
void make_mask(const mask_command& command);
void print_schedule(const schedule_command& command);
void print_info(const info_command& command);
void predict(const predict_command& command);
void bench(const bench_command& command);
void evaluate(const evaluate_command& command);

} // namespace cli
