#include "csv.hpp"

#include <array>
#include <cmath>
#include <cstddef>
#include <cstdio>

#include <repaint/error.hpp>

namespace cli {

std::string csv_number(double value) {
    if (std::isnan(value)) {
        return {};
    }
    std::array<char, 40> text{};
    std::snprintf(text.data(), text.size(), "%.7g", value);
    return text.data();
}

std::string csv_field(const std::string& text) {
    if (text.find_first_of(",\"\r\n") == std::string::npos) {
        return text;
    }
    std::string quoted = "\"";
    for (const char c : text) {
        quoted += c;
        if (c == '"') {
            quoted += c;
        }
    }
    return quoted + '"';
}

std::vector<std::vector<std::string>> parse_csv(std::string_view text, const std::string& source) {
    std::vector<std::vector<std::string>> rows;
    std::size_t at = 0;
    while (at < text.size()) {
        auto& row = rows.emplace_back(1);
        bool quoted = false;
        for (; at < text.size() && (quoted || text[at] != '\n'); ++at) {
            const char c = text[at];
            if (c == '"' && quoted && at + 1 < text.size() && text[at + 1] == '"') {
                row.back() += c;
                ++at;
            } else if (c == '"') {
                quoted = !quoted;
            } else if (c == ',' && !quoted) {
                row.emplace_back();
            } else if (c != '\r' || quoted) {
                row.back() += c;
            }
        }
        if (quoted) {
            throw repaint::format_error(source + ": line " + std::to_string(rows.size()) +
                                        " has a quotation that does not end");
        }
        ++at;
    }
    return rows;
}

} // namespace cli
