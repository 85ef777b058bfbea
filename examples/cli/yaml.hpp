#pragma once

#include <filesystem>
#include <set>
#include <string>

#include <repaint/io/json.hpp>

namespace cli {

/// Reads a YAML file of at most one document as JSON values that know the lines of the YAML file; a file without a
/// document gives null. Scalars without quotes have the types that PyYAML (YAML 1.1) gives them: yes, no, on and off
/// are true and false. only: the keys of the outermost mapping that are kept; empty: all. Throws repaint::format_error
/// for a file that is no YAML or above 256 KB, for merge keys, tags of other than plain types, keys given twice, and
/// for nesting or a number of values beyond any configuration.
[[nodiscard]] repaint::json_value read_yaml(const std::filesystem::path& file, const std::set<std::string>& only = {});

} // namespace cli
