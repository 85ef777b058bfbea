#pragma once

#include <string>
#include <vector>

#include <repaint/backend/cpu/profile.hpp>

namespace cli {

/// Where the time of `runs` evaluations went, as JSON: by groups of layers, and layer by layer. Milliseconds are of one
/// evaluation on the clock; the shares of the kinds of work are of all threads' time.
std::string profile_json(const std::vector<repaint::cpu_layer_time>& layers, int runs, int threads);

/// The groups as a table for people.
std::string profile_table(const std::vector<repaint::cpu_layer_time>& layers, int runs, int threads);

} // namespace cli
