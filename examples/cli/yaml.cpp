#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <map>
#include <string_view>
#include <system_error>

#include <yaml-cpp/yaml.h>

#include <repaint/error.hpp>
#include <repaint/io/bytes.hpp>
#include <repaint/io/mapped_file.hpp>

#include "yaml.hpp"

namespace cli {

namespace {

namespace fs = std::filesystem;
using repaint::format_error;
using repaint::in_quotes;

/// Far above any configuration, low enough that no file can exhaust the stack, the memory or anyone's patience.
constexpr std::size_t largest_file = std::size_t{256} << 10U;
constexpr int deepest_brackets = 50;
constexpr std::size_t deepest_indentation = 100;
constexpr int deepest_value = 50;
constexpr std::size_t most_values = 20000;

std::string place(const fs::path& file, std::size_t line) {
    return repaint::shown(file) + ", line " + std::to_string(line) + ": ";
}

/// Refuses nesting, by brackets or indentation, that is deeper than any configuration's: the parser recurses and would
/// run out of stack. Brackets in comments and quotes count, too; no honest file has fifty of them open.
void check_text(const fs::path& file, std::string_view text) {
    if (text.size() > largest_file) {
        throw format_error(repaint::shown(file) + ": " + std::to_string(text.size()) +
                           " bytes are no configuration, accepted are up to " + std::to_string(largest_file));
    }
    if (!repaint::is_utf8(text)) {
        throw format_error(repaint::shown(file) + ": not a YAML file, the text is not UTF-8");
    }
    int brackets = 0;
    std::size_t line = 1;
    std::size_t indentation = 0;
    bool indenting = true;
    for (const char c : text) {
        const auto byte = static_cast<unsigned char>(c);
        if (c == '\n' || c == '\r') {
            line += c == '\n' ? 1 : 0;
            indentation = 0;
            indenting = true;
            continue;
        }
        if ((byte < 0x20U && c != '\t') || byte == 0x7FU) {
            throw format_error(place(file, line) + "not a YAML file, there is a control character");
        }
        // "- - - a" and "? ? ? a" nest, too.
        indenting = indenting && (c == ' ' || c == '-' || c == '?' || c == ':' || c == '\t');
        indentation += indenting ? 1 : 0;
        brackets = std::max(0, brackets + (c == '[' || c == '{' ? 1 : (c == ']' || c == '}' ? -1 : 0)));
        if (brackets > deepest_brackets || indentation > deepest_indentation) {
            throw format_error(place(file, line) + "nested too deeply for a configuration");
        }
    }
}

/// Writes a node as JSON text in which every value stands on the line that it has in the YAML file, so that messages
/// about it name that line.
class json_text {
public:
    json_text(const fs::path& file, const std::set<std::string>& only) : file_(file), only_(&only) {}

    void write(const YAML::Node& node, int depth = 0) {
        go_to(node.Mark());
        if (depth > deepest_value) {
            refuse("nested too deeply for a configuration");
        }
        // Aliases repeat what they stand for, so a small file can hold more values than there is memory for.
        if (++values_ > most_values) {
            refuse("more than " + std::to_string(most_values) + " values");
        }
        switch (node.Type()) {
        case YAML::NodeType::Map: write_map(node, depth); break;
        case YAML::NodeType::Sequence: {
            text_ += '[';
            bool first = true;
            for (const auto& item : node) {
                text_ += first ? "" : ",";
                first = false;
                write(item, depth + 1);
            }
            text_ += ']';
            break;
        }
        case YAML::NodeType::Scalar: write_scalar(node); break;
        default: text_ += "null"; break;
        }
    }

    [[nodiscard]] const std::string& text() const { return text_; }

private:
    void go_to(const YAML::Mark& mark) {
        for (; !mark.is_null() && line_ < static_cast<std::size_t>(mark.line) + 1; ++line_) {
            text_ += '\n';
        }
    }

    [[noreturn]] void refuse(const std::string& what) const { throw format_error(place(file_, line_) + what); }

    void write_map(const YAML::Node& node, int depth) {
        std::map<std::string, std::size_t> lines;
        bool first = true;
        text_ += '{';
        for (const auto& member : node) {
            if (!member.first.IsScalar()) {
                refuse("a key must be a word");
            }
            const std::string& key = member.first.Scalar();
            go_to(member.first.Mark());
            if (key == "<<") {
                refuse("merge keys (<<) are not read: write the settings out");
            }
            const auto [before, added] = lines.emplace(key, line_);
            if (!added) {
                refuse("the key " + in_quotes(key) + " was given before, in line " + std::to_string(before->second));
            }
            if (depth == 0 && !only_->empty() && !only_->contains(key)) {
                continue;
            }
            text_ += first ? "" : ",";
            first = false;
            text_ += repaint::json_string(key) + ':';
            write(member.second, depth + 1);
        }
        text_ += '}';
    }

    void write_scalar(const YAML::Node& node) {
        const std::string& value = node.Scalar();
        const std::string& tag = node.Tag();
        constexpr std::string_view standard = "tag:yaml.org,2002:";
        if (tag == "!" || tag == "tag:yaml.org,2002:str") {
            text_ += repaint::json_string(value);
            return;
        }
        std::string typed = plain(value);
        const std::string_view wanted =
            tag.starts_with(standard) ? std::string_view(tag).substr(standard.size()) : std::string_view(tag);
        const bool number = typed.front() == '-' || (typed.front() >= '0' && typed.front() <= '9');
        const bool fits = tag.empty() || tag == "?" ||
                          (tag.starts_with(standard) &&
                           ((wanted == "int" && number && typed.find_first_of(".e") == std::string::npos) ||
                            (wanted == "float" && number) || (wanted == "null" && typed == "null") ||
                            (wanted == "bool" && (typed == "true" || typed == "false"))));
        if (!fits) {
            refuse("the tag " + in_quotes(tag) + " of " + in_quotes(value) + " is not read");
        }
        text_ += typed;
    }

    /// A scalar without quotes as JSON, with the type that PyYAML gives it; but 1e-4 is a number here.
    static std::string plain(const std::string& value) {
        constexpr std::array<std::string_view, 5> nulls{"", "~", "null", "Null", "NULL"};
        constexpr std::array<std::string_view, 9> trues{"yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON"};
        constexpr std::array<std::string_view, 9> falses{"no",    "No",  "NO",  "false", "False",
                                                         "FALSE", "off", "Off", "OFF"};
        const auto among = [&value](const auto& list) {
            return std::find(list.begin(), list.end(), value) != list.end();
        };
        if (among(nulls)) {
            return "null";
        }
        if (among(trues) || among(falses)) {
            return among(trues) ? "true" : "false";
        }
        const std::string found = number(value);
        return found.empty() ? repaint::json_string(value) : found;
    }

    /// The number as JSON writes it; empty when the text is no number.
    static std::string number(std::string_view value) {
        const bool negative = value.starts_with('-');
        if (negative || value.starts_with('+')) {
            value.remove_prefix(1);
        }
        std::string digits(value);
        digits.erase(std::remove(digits.begin(), digits.end(), '_'), digits.end());
        const auto is_digit = [](char c) { return c >= '0' && c <= '9'; };
        const bool starts =
            !digits.empty() && (is_digit(digits[0]) || (digits[0] == '.' && digits.size() > 1 && is_digit(digits[1])));
        if (!starts || value.front() == '_') {
            return {};
        }
        const std::string sign = negative ? "-" : "";
        constexpr std::size_t longest = 18; // of what fits 64 bits for certain
        if (std::all_of(digits.begin(), digits.end(), is_digit) && (digits[0] != '0' || digits.size() == 1) &&
            digits.size() <= longest) {
            return sign + digits;
        }
        const auto whole = [&](std::size_t skip, int base) -> std::string {
            std::uint64_t result = 0;
            const char* const end = digits.data() + digits.size();
            const auto read = std::from_chars(digits.data() + skip, end, result, base);
            return read.ec == std::errc() && read.ptr == end ? sign + std::to_string(result) : std::string();
        };
        if (digits.starts_with("0x") || digits.starts_with("0b")) {
            return whole(2, digits[1] == 'x' ? 16 : 2);
        }
        if (digits[0] == '0' && std::all_of(digits.begin(), digits.end(), is_digit)) {
            return whole(1, 8); // an 8 or 9 makes it a string
        }
        double result = 0.0;
        const char* const end = digits.data() + digits.size();
        const auto read = std::from_chars(digits.data(), end, result);
        if (read.ec != std::errc() || read.ptr != end || !std::isfinite(result)) {
            return {};
        }
        std::array<char, 64> text{};
        const auto written = std::to_chars(text.data(), text.data() + text.size(), result);
        std::string out(text.data(), written.ptr);
        return sign + out + (out.find_first_of(".e") == std::string::npos ? ".0" : "");
    }

    fs::path file_;
    const std::set<std::string>* only_;
    std::string text_;
    std::size_t line_ = 1;
    std::size_t values_ = 0;
};

} // namespace

repaint::json_value read_yaml(const fs::path& file, const std::set<std::string>& only) {
    const repaint::mapped_file mapped(file);
    std::string text(repaint::detail::as_text(mapped.bytes()));
    check_text(file, text);
    // yaml-cpp closes an open quote at the end of the file, but not in the middle of a line.
    text.erase(text.find_last_not_of(" \t\r\n") + 1);
    json_text json(file, only);
    try {
        const auto documents = YAML::LoadAll(text);
        if (documents.empty()) {
            return {};
        }
        if (documents.size() > 1) {
            throw format_error(repaint::shown(file) + ": " + std::to_string(documents.size()) +
                               " YAML documents, expected one");
        }
        json.write(documents.front());
    } catch (const YAML::Exception& wrong) {
        throw format_error((wrong.mark.is_null() ? repaint::shown(file) + ": "
                                                 : place(file, static_cast<std::size_t>(wrong.mark.line) + 1)) +
                           "not YAML: " + repaint::printable(wrong.msg));
    }
    return repaint::parse_json(json.text(), repaint::shown(file));
}

} // namespace cli
