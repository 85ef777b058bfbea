#pragma once

#include <cstddef>
#include <filesystem>
#include <optional>
#include <utility>
#include <vector>

#include "engine.hpp"

namespace cli {

/// What is there before the model is read: said at once, since that may take a while. sizes: width and height of every
/// picture. unknown: the part that is to be filled, of all pictures; none: they are drawn from noise.
void print_pictures(const std::vector<std::pair<int, int>>& sizes, const std::optional<double>& unknown);

/// Says on stderr in one line what will run, and then what there is to know about the model and the pictures for it. How
/// long it takes is told after the first evaluation. evaluations: in all batches.
void print_summary(const engine& model, const std::filesystem::path& weights, std::size_t evaluations,
                   const std::vector<std::pair<int, int>>& sizes);

/// Says on stderr what there is to know about the model's file.
void print_remarks(const engine& model);

/// Says on stderr what the backend found out since it was made.
void print_notes(const engine& model);

} // namespace cli
