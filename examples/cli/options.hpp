#pragma once

#include <cstddef>
#include <filesystem>
#include <optional>
#include <vector>

#include "engine.hpp"

/// What groups of options fill in that several commands share (arguments.hpp).
namespace cli {

/// A model, how to compute with it, and what guides it.
struct model_options {
    std::filesystem::path weights;
    std::optional<std::filesystem::path> config;
    std::string entry; ///< which network of the file; empty: averaged weights where there are any
    engine_options engine;
    std::optional<std::filesystem::path> classifier;
    std::optional<std::filesystem::path> classifier_config;
    float classifier_scale = 1.0F;

    [[nodiscard]] repaint::model_files files() const {
        repaint::model_files named{weights, config};
        named.entry = entry;
        return named;
    }

    /// How to compute, the guidance included.
    [[nodiscard]] engine_options computing() const {
        engine_options result = engine;
        if (classifier) {
            result.guidance = guidance_source{{*classifier, classifier_config}, classifier_scale};
        }
        return result;
    }
};

/// Class labels: none, one for all pictures, one for each, or drawn from the seed.
struct label_options {
    std::vector<int> given;
    bool drawn = false;

    /// The label of picture p; none when none are given.
    [[nodiscard]] std::optional<int> of(std::size_t p) const {
        return given.empty() ? std::nullopt : std::optional(given[given.size() == 1 ? 0 : p]);
    }
};

} // namespace cli
