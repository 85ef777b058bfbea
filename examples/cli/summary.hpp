#pragma once

#include <cstddef>
#include <filesystem>
#include <optional>

#include <repaint/core/shape.hpp>

#include "engine.hpp"

namespace cli {

/// What a run is about to do.
struct run_summary {
    std::filesystem::path weights;
    std::size_t pictures = 0;
    repaint::shape4 batch;         ///< of the first batch, at which the network is measured
    std::optional<double> unknown; ///< the part that is to be filled, of all pictures; none: they are drawn from noise
    std::size_t evaluations = 0;   ///< of the network, in all batches
};

/// Measures the network and says on stderr in one line what will run and for how long; then what there is to know about
/// the model.
void print_summary(engine& model, const run_summary& run);

/// Says on stderr what the backend found out since it was made.
void print_notes(const engine& model);

} // namespace cli
