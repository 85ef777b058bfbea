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
    std::optional<std::filesystem::path> classifier;
    std::optional<std::filesystem::path> classifier_config;
    float classifier_scale = 1.0F;

    [[nodiscard]] repaint::model_files files() const { return {weights, config}; }

    /// How to compute, the guidance included.
    [[nodiscard]] engine_options computing() const {
        engine_options result = engine;
        if (classifier) {
            result.guidance = guidance_source{{*classifier, classifier_config}, classifier_scale};
        }
        return result;
    }
};

struct walk_options {
    repaint::algorithm algorithm = repaint::algorithm::official;
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
    bool draw_labels = false;
    std::optional<double> eta;
    std::uint64_t seed = 0;
    noise_choice noise;
    int samples = 1;
    int batch = 1;
    bool raw = false;
    bool quiet = false;
    std::optional<std::filesystem::path> resume;
};

struct sample_command {
    model_options model;
    repaint::algorithm algorithm = repaint::algorithm::official;
    std::optional<std::string> timesteps; ///< none: the default of the algorithm
    std::string size;                     ///< empty: what the network was trained at
    std::filesystem::path out;
    std::vector<int> labels;
    bool draw_labels = false;
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

struct evaluate_command {
    std::filesystem::path results;
    std::filesystem::path truth;
    std::optional<std::filesystem::path> masks;
    std::vector<std::filesystem::path> lpips; ///< files with the weights; none: no LPIPS
    std::string ssim = "skimage";
    std::optional<std::filesystem::path> out;
    int threads = 0;
};

/// The sweeps of the RePaint paper's tables 2 and 3; the defaults are the paper's.
struct ablate_command {
    model_options model;
    std::filesystem::path images;
    std::filesystem::path keeps;
    std::filesystem::path out;
    std::string sweep = "all";
    int timesteps = 250;
    std::vector<int> passes{1, 2, 3, 4};
    int jump_length = 10;
    std::vector<int> jump_lengths{1, 5, 10};
    std::vector<int> jump_passes{5, 10, 15};
    std::vector<std::filesystem::path> lpips; ///< as of evaluate_command
    std::size_t limit = 0;                    ///< pictures; 0: all
    std::size_t shown = 2;                    ///< pictures of the contact sheet for each kind of mask
    int batch = 0;                            ///< 0: what suits the pictures
    std::uint64_t seed = 0;
    std::vector<int> labels;
    bool draw_labels = false;
    bool quiet = false;
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
/// The exit status: 0, or 130 when the run was interrupted; the same command goes on.
int ablate(const ablate_command& command);

/// "640x480" -> (1, channels, 480, 640). Throws std::invalid_argument.
[[nodiscard]] repaint::shape4 parse_size(const std::string& text, int channels = 1);

/// The size a model is measured at: `text` if given, else what it was trained at, else 64x64 or what its levels need.
[[nodiscard]] repaint::shape4 model_size(const std::string& text, const repaint::unet_config& network,
                                         const repaint::model_description& description);

} // namespace cli
