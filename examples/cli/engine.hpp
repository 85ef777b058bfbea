#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include <repaint/inpainter.hpp>
#include <repaint/model/guided_classifier.hpp>
#include <repaint/model/load.hpp>
#include <repaint/model/presets.hpp>
#include <repaint/unconditional_sampler.hpp>

#include "noise_choice.hpp"

namespace repaint {
class cpu_profile;
} // namespace repaint

/// Backends are types; the program chooses one at run time. This is the seam, and only host types cross it: each
/// backend's engine lives in a translation unit of its own (engine_reference.cpp, ...).
namespace cli {

/// Pictures of one size that are filled together.
struct batch_request {
    repaint::host_tensor images; ///< (n, c, h, w)
    repaint::host_tensor keep;   ///< (1 or n, 1 or c, h, w)
    /// labels: of the network, the classifier or both, which must be there for them
    repaint::inpaint_options options;
    bool draw_labels = false; ///< from the noise source, before any noise, instead of options.labels
    std::uint64_t seed = 0;   ///< of the first picture
    noise_choice noise;
};

/// Pictures that are drawn together, without anything known.
struct sample_request {
    repaint::shape4 shape;
    /// labels: of the network, the classifier or both, which must be there for them
    repaint::sampling_options options;
    bool draw_labels = false; ///< from the noise source, before any noise, instead of options.labels
    std::uint64_t seed = 0;   ///< of the first picture
    noise_choice noise;
};

/// repaint::inpainting_state with the noise source's state as plain words.
struct saved_batch {
    repaint::host_tensor x;
    std::uint64_t position = 0;
    std::vector<std::uint64_t> noise;
};

/// Either the pictures, or where the run was stopped.
struct batch_outcome {
    std::optional<repaint::host_tensor> images;
    saved_batch stopped;
    std::vector<std::uint64_t> noise; ///< the noise source's state after the last draw for the images
};

using progress_observer = std::function<bool(const repaint::progress&)>;

/// A trained model's files, or an architecture that gets random weights.
using model_source = std::variant<repaint::model_files, repaint::model_preset>;

/// The same once the files have been read and checked.
struct opened_source {
    std::variant<repaint::opened_model, repaint::model_preset> model;
    std::optional<repaint::opened_classifier> classifier = std::nullopt;
};

/// Called once the backend stands: what a backend has to say against itself comes before anything large is read.
using source_opener = std::function<opened_source()>;

/// A classifier that guides every run of an engine.
struct guidance_source {
    repaint::model_files files;
    float scale = 1.0F;
};

/// How a backend is to compute.
struct engine_options {
    std::string backend;         ///< empty: the fastest of this build that can be used here
    int threads = 0;             ///< 0: what suits the backend
    bool strict = false;         ///< only plain sums: PyTorch's rounding, slower
    std::string instructions;    ///< of the processor; empty: the best that it has
    std::string precision;       ///< cuda: half, bfloat16, tf32 or float; empty: half, or float when strict
    std::optional<int> device;   ///< cuda: as CUDA counts them
    std::filesystem::path plans; ///< cuda: the file that keeps what was chosen of its libraries; empty: none
    bool tune = false;           ///< cuda: measure what its libraries offer
    std::optional<guidance_source> guidance = std::nullopt;
    std::shared_ptr<repaint::cpu_profile> profile; ///< cpu: what measures it, if anything
};

/// A loaded model on one backend.
class engine {
public:
    engine() = default;
    engine(const engine&) = delete;
    engine& operator=(const engine&) = delete;
    virtual ~engine() = default;

    [[nodiscard]] virtual const repaint::model_description& description() const = 0;

    [[nodiscard]] virtual const repaint::unet_config& network() const = 0;

    /// What guides its runs; null: nothing.
    [[nodiscard]] virtual const repaint::classifier_config* classifier() const = 0;

    /// Classes that a label chooses among: the network's, else the classifier's, else 0.
    [[nodiscard]] virtual int classes() const = 0;

    /// The backend's name, and the threads it uses.
    [[nodiscard]] virtual std::string_view name() const = 0;
    [[nodiscard]] virtual int threads() const = 0;

    /// What activations are kept in, where there is a choice, and the device's name, where it has one; else empty.
    [[nodiscard]] virtual std::string_view precision() const = 0;
    [[nodiscard]] virtual std::string device() const = 0;

    /// What the backend found out since it was made that its user may want to know.
    [[nodiscard]] virtual std::vector<std::string> notes() const = 0;

    /// Timesteps the network was trained with.
    [[nodiscard]] virtual int training_steps() const = 0;

    /// Network evaluations of one run. Throws std::invalid_argument when the options do not fit together.
    [[nodiscard]] virtual std::size_t evaluations(const repaint::inpaint_options& options) = 0;

    [[nodiscard]] virtual std::size_t evaluations(const repaint::sampling_options& options) = 0;

    /// What black and white are in the images that the network takes and returns.
    [[nodiscard]] virtual repaint::value_range data_range() const = 0;

    /// How the model's own scheduler samples.
    [[nodiscard]] virtual repaint::scheduler_settings scheduler() const = 0;

    virtual batch_outcome inpaint(const batch_request& request, const saved_batch* from,
                                  const progress_observer& observe) = 0;

    /// Nothing when an observer stopped it.
    virtual std::optional<repaint::host_tensor> sample(const sample_request& request,
                                                       const progress_observer& observe) = 0;

    /// One network evaluation at a timestep as the network was trained to read it.
    virtual repaint::host_tensor predict(const repaint::host_tensor& x, float timestep,
                                         std::span<const int> labels) = 0;

    /// Multiply-adds of one evaluation, without the guidance.
    [[nodiscard]] virtual double multiply_adds(repaint::shape4 shape) = 0;

    /// Seconds of one evaluation on noise, embeddings known, as within a run: with the guidance, if there is one.
    virtual double time_evaluation(repaint::shape4 shape) = 0;
};

/// The backends of this build, fastest first: whether this machine has what one needs, and what puts a model onto it.
struct engine_entry {
    std::string_view name;
    bool (*available)();
    std::unique_ptr<engine> (*make)(const source_opener& open, const engine_options& options);
};
[[nodiscard]] std::span<const engine_entry> engines();

/// repaint::open_model, compiled in one place.
[[nodiscard]] repaint::opened_model open(const repaint::model_files& files);

/// Makes the engine that the options name, or the first that is available, and opens the source for it. Throws
/// std::invalid_argument when this build does not have it, or when it has no use for an option that was given.
[[nodiscard]] std::unique_ptr<engine> make_engine(const model_source& source, const engine_options& options);

/// Throws shape_error unless images (n, c, h, w) fit the network and what guides it.
void check_image_shape(const engine& with, const repaint::shape4& images);

/// Throws std::invalid_argument unless labels are given, or drawn, exactly when the engine has classes, each in range.
void check_labels(const engine& with, const std::vector<int>& labels, bool drawn);

} // namespace cli
