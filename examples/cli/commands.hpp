#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include <repaint/diffusion/jump_schedule.hpp>

#include "engine.hpp"

/// One function per subcommand; main.cpp fills the structs from the command line. They throw what the library throws.
namespace cli {

struct model_options {
    std::filesystem::path weights;
    std::optional<std::filesystem::path> config;
    engine_options engine;

    [[nodiscard]] repaint::model_files files() const { return {weights, config}; }
};

struct walk_options {
    std::string timesteps = "250";
    repaint::jump_options jumps;
};

struct inpaint_command {
    model_options model;
    walk_options walk;
    std::vector<std::filesystem::path> images;
    std::vector<std::filesystem::path> keep;
    std::vector<std::filesystem::path> paint;
    std::filesystem::path out;
    std::vector<int> labels;
    std::uint64_t seed = 0;
    noise_kind noise = noise_kind::philox;
    int samples = 1;
    int batch = 1;
    bool raw = false;
    bool quiet = false;
    std::optional<std::filesystem::path> resume;
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
    std::vector<int> labels;
    std::filesystem::path out;
};

struct bench_command {
    model_options model;
    std::string preset; ///< instead of the model's files, when not empty
    std::string size;
    int batch = 1;
    int runs = 10;
};

/// The exit status: 0, or 130 when the run was interrupted and its state saved.
int inpaint(const inpaint_command& command);
void make_mask(const mask_command& command);
void print_schedule(const schedule_command& command);
void print_info(const info_command& command);
void predict(const predict_command& command);
void bench(const bench_command& command);

/// "640x480" -> (1, channels, 480, 640). Throws std::invalid_argument.
[[nodiscard]] repaint::shape4 parse_size(const std::string& text, int channels = 1);

/// The size a model is measured at: `text` if given, else what it was trained at, else 64x64 or what its levels need.
[[nodiscard]] repaint::shape4 model_size(const std::string& text, const repaint::unet_config& network,
                                         const repaint::model_description& description);

} // namespace cli
