#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <initializer_list>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <repaint/error.hpp>
#include <repaint/io/bytes.hpp>
#include <repaint/io/json.hpp>

namespace repaint::detail {

/// A value of a JSON as it stands in a message.
inline std::string described(const json_value& v) {
    if (v.is_null()) {
        return "null";
    }
    if (v.is_boolean()) {
        return v.as_boolean() ? "true" : "false";
    }
    if (v.is_string()) {
        return in_quotes(v.as_string());
    }
    if (v.is_number()) {
        std::array<char, 32> text{};
        std::snprintf(text.data(), text.size(), "%.12g", v.as_number());
        return text.data();
    }
    if (v.is_object()) {
        return "an object";
    }
    constexpr std::size_t most = 12;
    std::string text;
    for (const json_value& item : v.as_array()) {
        text += text.empty() ? "" : ", ";
        if (text.size() > most * 6) {
            text += "...";
            break;
        }
        text += item.is_array() ? "[...]" : described(item);
    }
    return "[" + text + "]";
}

/// The settings of a model under their keys, from one JSON object or several, each with its line for messages.
/// Remembers which keys were asked for, so that the others can be named. The JSON must outlive it.
class settings_reader {
public:
    /// Of several values under one key the first counts.
    void add(std::string_view key, const json_value& value) { values_.emplace_back(key, &value); }

    /// Throws format_error unless it is an object.
    void add_members_of(const json_value& object) {
        for (const auto& [key, value] : object.as_object()) {
            add(key, value);
        }
    }

    /// True when the key is there, though it may be null.
    [[nodiscard]] bool has(std::string_view key) const { return at(key) != nullptr; }

    /// The setting under the key; null when it is not there or null.
    const json_value* find(std::string_view key) {
        known_.insert(std::string(key));
        const json_value* value = at(key);
        return value == nullptr || value->is_null() ? nullptr : value;
    }

    std::optional<int> integer(std::string_view key) { return read<int>(key, "an integer", integer_of); }

    /// The same, refused outside [lowest, highest].
    std::optional<int> integer(std::string_view key, int lowest, int highest) {
        const auto value = integer(key);
        if (value && (*value < lowest || *value > highest)) {
            refuse(key, std::to_string(lowest) + (lowest < highest ? " to " + std::to_string(highest) : ""));
        }
        return value;
    }

    std::optional<bool> boolean(std::string_view key) {
        return read<bool>(key, "true or false", [](const json_value& v) { return v.as_boolean(); });
    }
    std::optional<std::string> string(std::string_view key) {
        return read<std::string>(key, "a string", [](const json_value& v) { return v.as_string(); });
    }
    std::optional<double> number(std::string_view key) { return read<double>(key, "a number", number_of); }

    /// "1,2,2" or [1, 2, 2]; an empty string is as good as nothing.
    std::optional<std::vector<double>> numbers(std::string_view key) {
        return read<std::vector<double>>(key, "numbers, as \"1,2,2\" or [1, 2, 2]", [](const json_value& v) {
            std::vector<double> result;
            if (v.is_array()) {
                for (const json_value& item : v.as_array()) {
                    result.push_back(number_of(item));
                }
            } else if (v.is_number()) {
                result.push_back(number_of(v));
            } else {
                result = numbers_of(v.as_string());
            }
            return result;
        });
    }

    /// An array; a single value counts as one of `count` equal ones when that is given.
    std::optional<std::vector<int>> integers(std::string_view key, std::size_t count = 0) {
        return list<int>(key, count > 0 ? "an integer or an array of integers" : "an array of integers", count,
                         integer_of);
    }
    std::optional<std::vector<bool>> booleans(std::string_view key) {
        return list<bool>(key, "an array of true and false", 0, [](const json_value& v) { return v.as_boolean(); });
    }
    std::optional<std::vector<std::string>> strings(std::string_view key) {
        return list<std::string>(key, "an array of strings", 0, [](const json_value& v) { return v.as_string(); });
    }

    /// The value that goes with the name found under the key, null when the key is not there. Throws format_error,
    /// listing the names, when it is none of them.
    template <class T>
    std::optional<T> choice(std::string_view key, std::initializer_list<std::pair<const char*, T>> accepted) {
        const json_value* value = find(key);
        if (value == nullptr) {
            return std::nullopt;
        }
        std::string names;
        for (const auto& [name, meaning] : accepted) {
            if (value->is_string() && value->as_string() == name) {
                return meaning;
            }
            names += names.empty() ? "" : ", ";
            names += name;
        }
        refuse(key, names);
    }

    /// Throws format_error: "<file>, <line>: <key> is <...>, accepted: <...>".
    [[noreturn]] void refuse(std::string_view key, const std::string& found, const std::string& accepted) const {
        throw format_error(place(key) + std::string(key) + " is " + found + ", accepted: " + accepted);
    }
    [[noreturn]] void refuse(std::string_view key, const std::string& accepted) const {
        const json_value* value = at(key);
        refuse(key, value == nullptr ? "not given" : described(*value), accepted);
    }

    /// Throws format_error when a setting contradicts what the tensors say.
    template <class T> void expect(std::string_view key, const std::optional<T>& said, const T& found) const {
        if (said && *said != found) {
            throw format_error(place(key) + std::string(key) + " is " + text(*said) +
                               ", but the checkpoint's tensors are those of a network with " + text(found));
        }
    }

    /// "<file>, line 3: ", where the key stands, or where the settings begin.
    [[nodiscard]] std::string place(std::string_view key) const {
        const json_value* value = at(key);
        if (value == nullptr && !values_.empty()) {
            value = values_.front().second;
        }
        return value == nullptr ? std::string() : value->place();
    }

    [[nodiscard]] bool asked_for(const std::string& key) const { return known_.contains(key); }

    /// Keys nobody asked for, those that start with an underscore aside: they are notes of the program that wrote them.
    [[nodiscard]] std::set<std::string> unknown() const {
        std::set<std::string> result;
        for (const auto& [name, value] : values_) {
            if (!known_.contains(name) && !name.starts_with('_')) {
                result.insert(name);
            }
        }
        return result;
    }

private:
    [[nodiscard]] const json_value* at(std::string_view key) const {
        const auto found =
            std::find_if(values_.begin(), values_.end(), [&](const auto& entry) { return entry.first == key; });
        return found == values_.end() ? nullptr : found->second;
    }

    static int integer_of(const json_value& v) {
        const std::int64_t value = v.as_integer();
        if (value < -1'000'000'000 || value > 1'000'000'000) {
            throw format_error("out of range");
        }
        return static_cast<int>(value);
    }

    static double number_of(const json_value& v) {
        const double value = v.as_number();
        if (!std::isfinite(value)) {
            throw format_error("not finite");
        }
        return value;
    }

    static std::vector<double> numbers_of(const std::string& list) {
        std::vector<double> result;
        for (std::size_t start = 0; start < list.size();) {
            const std::size_t comma = std::min(list.find(',', start), list.size());
            const std::string part = list.substr(start, comma - start);
            std::size_t used = 0;
            result.push_back(std::stod(part, &used));
            if (!std::isfinite(result.back()) || part.find_first_not_of(' ', used) != std::string::npos) {
                throw format_error("not a number");
            }
            start = comma + 1;
        }
        return result;
    }

    static std::string text(bool b) { return b ? "true" : "false"; }
    static std::string text(int i) { return std::to_string(i); }
    static std::string text(const std::string& s) { return printable(s); }
    template <class T> static std::string text(const std::vector<T>& list) {
        std::string result;
        for (const auto& item : list) {
            result += result.empty() ? "" : ",";
            result += text(item);
        }
        return result.empty() ? "none" : result;
    }

    template <class T, class F> std::optional<T> read(std::string_view key, const char* accepted, F convert) {
        const json_value* value = find(key);
        if (value == nullptr) {
            return std::nullopt;
        }
        try {
            return convert(*value);
        } catch (const std::exception&) {
            throw format_error(value->place() + std::string(key) + " must be " + accepted + ", found " +
                               described(*value));
        }
    }

    template <class T, class F>
    std::optional<std::vector<T>> list(std::string_view key, const char* accepted, std::size_t count, F convert) {
        return read<std::vector<T>>(key, accepted, [&](const json_value& v) {
            if (count > 0 && !v.is_array()) {
                return std::vector<T>(count, convert(v));
            }
            std::vector<T> result;
            for (const json_value& item : v.as_array()) {
                result.push_back(convert(item));
            }
            return result;
        });
    }

    std::vector<std::pair<std::string, const json_value*>> values_;
    std::set<std::string> known_;
};

} // namespace repaint::detail
