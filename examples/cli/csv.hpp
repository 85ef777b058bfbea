#pragma once

#include <string>
#include <string_view>
#include <vector>

/// Tables as comma-separated values (RFC 4180).
namespace cli {

/// Seven digits; "inf" and "-inf"; nothing for NaN.
[[nodiscard]] std::string csv_number(double value);

/// In quotes where the text needs them.
[[nodiscard]] std::string csv_field(const std::string& text);

/// The fields of every line. Throws format_error naming `source` when a quotation does not end.
[[nodiscard]] std::vector<std::vector<std::string>> parse_csv(std::string_view text, const std::string& source);

} // namespace cli
