#pragma once

#include <filesystem>
#include <set>
#include <string>

#include <repaint/io/json.hpp>

namespace cli {

/// A YAML file of at most one document as JSON values that know the lines of the YAML file; null when there is none.
/// Scalars without quotes have the types that PyYAML (YAML 1.1) gives them: yes, no, on and off are true and false.
/// `only`: the keys of the outermost mapping that are kept; none: all. Throws repaint::format_error for what is no YAML,
/// merge keys, tags but those of plain types, keys given twice, files above 256 KB, and nesting or a number of values
/// beyond any configuration.
[[nodiscard]] repaint::json_value read_yaml(const std::filesystem::path& file, const std::set<std::string>& only = {});

} // namespace cli
