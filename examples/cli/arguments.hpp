#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>

#include "options.hpp"

/// Options that several commands and programs have, and how a program parses and ends.
namespace cli {

/// Paths, so that CLI11 shows and parses them as text.
CLI::Option* add_path(CLI::App* app, const std::string& name, std::filesystem::path& path, const std::string& text);
CLI::Option* add_path(CLI::App* app, const std::string& name, std::optional<std::filesystem::path>& path,
                      const std::string& text);
CLI::Option* add_paths(CLI::App* app, const std::string& name, std::vector<std::filesystem::path>& paths,
                       const std::string& text);

/// --seed, 0 to 2^64 - 1.
CLI::Option* add_seed(CLI::App* app, std::uint64_t& seed, const std::string& text);
CLI::Option* add_seed(CLI::App* app, std::optional<std::uint64_t>& seed, const std::string& text);

/// --backend and what goes with it.
void add_engine(CLI::App* app, engine_options& engine);

/// The model, its configuration and the engine.
void add_model(CLI::App* app, model_options& model, const std::string& name = "MODEL", bool required = true);

/// --classifier and what goes with it.
void add_guidance(CLI::App* app, model_options& model);

/// --label: numbers, or "random" alone.
void add_labels(CLI::App* app, label_options& labels);

/// --lpips: one file or two.
void add_lpips(CLI::App* app, std::vector<std::filesystem::path>& files);

/// Parses the command line, then does what `chosen` holds. Messages begin with the program's name. Returns the exit
/// status: what `chosen` returns, 1 when it throws, 2 for wrong usage. Whole numbers are read as decimal.
int run_program(CLI::App& app, int argc, char** argv, const std::function<int()>& chosen);

} // namespace cli
