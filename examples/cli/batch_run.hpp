#pragma once

#include <cstddef>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "engine.hpp"
#include "image_files.hpp"
#include "terminal.hpp"

/// What every run in batches has in common: `repaint inpaint`, `sample`, `run`, and the ablation.
namespace cli {

/// Pictures [first, last) of a run, made together in so many evaluations of the network.
struct picture_batch {
    std::size_t first = 0;
    std::size_t last = 0;
    std::size_t evaluations = 0;
    double cost = 1.0; ///< of an evaluation, in any unit that all batches share

    [[nodiscard]] std::size_t size() const { return last - first; }
};

/// Cuts the pictures 0 to count - 1 into batches of at most `most`. A picture p joins the batch that begins with picture
/// first where alike(first, p) is true; without `alike` every picture may.
[[nodiscard]] std::vector<picture_batch>
batches_of(std::size_t count, std::size_t most, std::size_t evaluations,
           const std::function<bool(std::size_t first, std::size_t p)>& alike = {});

/// Throws std::invalid_argument when there are several of what is given, but not one for each item. `item`, `what`: what
/// they are called, as "image" and "label".
void check_one_or_each(std::size_t items, const std::string& item, std::size_t given, const std::string& what);

/// The part of a keep mask that is to be filled: 1 less the mean of its values.
[[nodiscard]] double part_to_fill(const repaint::host_tensor& keep);

/// A picture of a batch that is to be filled.
struct batch_picture {
    const source_image* image = nullptr;
    const repaint::host_tensor* keep = nullptr;
    std::optional<int> label; ///< none: the options keep theirs
};

/// The request that fills these pictures with these options. Seed, noise and drawn labels are the caller's to set.
[[nodiscard]] batch_request request_for(std::span<const batch_picture> pictures, repaint::inpaint_options options,
                                        const engine& model);

/// What a command does with batch i of its run.
struct batch_steps {
    /// The images, (n, c, h, w); nothing when the observer stopped them.
    std::function<std::optional<repaint::host_tensor>(std::size_t i, const progress_observer& observe)> make;
    /// Takes the images.
    std::function<void(std::size_t i, const repaint::host_tensor& images)> keep;
    /// Saves what a stopped run leaves, and says so.
    std::function<void(std::size_t i)> stop;
};

/// The batches of a run, one after the other, with a progress bar on stderr. While it lives, Ctrl-C stops the run
/// instead of ending the program.
class batch_run {
public:
    explicit batch_run(std::vector<picture_batch> batches);

    [[nodiscard]] const std::vector<picture_batch>& batches() const { return batches_; }

    /// Of the network, in all batches.
    [[nodiscard]] std::size_t evaluations() const;

    /// Tells what an evaluation costs, batch by batch, for the time that is left.
    void set_costs(const std::function<double(const picture_batch& batch)>& of_evaluation);

    /// Makes the batches from `begin` on; those before it count as done, and with `resumed` a part of the first, too.
    /// quiet: no estimate, no progress. Returns the exit status: 0, or 130 when the run was stopped.
    [[nodiscard]] int run(const batch_steps& steps, bool quiet, std::size_t begin = 0, bool resumed = false) const;

private:
    std::vector<picture_batch> batches_;
    interruption stop_;
};

} // namespace cli
