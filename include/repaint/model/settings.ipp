#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include <repaint/config.hpp>
#include <repaint/core/text.hpp>
#include <repaint/error.hpp>
#include <repaint/io/bytes.hpp>
#include <repaint/io/json.hpp>
#include <repaint/model/settings.hpp>

namespace repaint {

namespace detail {

REPAINT_INLINE std::string described(const json_value& v) {
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

REPAINT_INLINE void settings_reader::add_members_of(const json_value& object) {
    for (const auto& [key, value] : object.as_object()) {
        add(key, value);
    }
}

REPAINT_INLINE const json_value* settings_reader::find(std::string_view key) {
    known_.insert(std::string(key));
    const json_value* value = at(key);
    return value == nullptr || value->is_null() ? nullptr : value;
}

REPAINT_INLINE std::optional<int> settings_reader::integer(std::string_view key, int lowest, int highest) {
    const auto value = integer(key);
    if (value && (*value < lowest || *value > highest)) {
        refuse(key, std::to_string(lowest) + (lowest < highest ? " to " + std::to_string(highest) : ""));
    }
    return value;
}

REPAINT_INLINE std::optional<bool> settings_reader::boolean(std::string_view key) {
    return read<bool>(key, "true or false", [](const json_value& v) { return v.as_boolean(); });
}

REPAINT_INLINE std::optional<std::string> settings_reader::string(std::string_view key) {
    return read<std::string>(key, "a string", [](const json_value& v) { return v.as_string(); });
}

REPAINT_INLINE std::optional<std::vector<double>> settings_reader::numbers(std::string_view key) {
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

REPAINT_INLINE std::optional<std::vector<int>> settings_reader::integers(std::string_view key, std::size_t count) {
    return list<int>(key, count > 0 ? "an integer or an array of integers" : "an array of integers", count, integer_of);
}

REPAINT_INLINE std::optional<std::vector<bool>> settings_reader::booleans(std::string_view key) {
    return list<bool>(key, "an array of true and false", 0, [](const json_value& v) { return v.as_boolean(); });
}

REPAINT_INLINE std::optional<std::vector<std::string>> settings_reader::strings(std::string_view key) {
    return list<std::string>(key, "an array of strings", 0, [](const json_value& v) { return v.as_string(); });
}

REPAINT_INLINE void settings_reader::refuse(std::string_view key, const std::string& found,
                                            const std::string& accepted) const {
    throw format_error(place(key) + std::string(key) + " is " + found + ", accepted: " + accepted);
}

REPAINT_INLINE void settings_reader::refuse(std::string_view key, const std::string& accepted) const {
    const json_value* value = at(key);
    refuse(key, value == nullptr ? "not given" : described(*value), accepted);
}

REPAINT_INLINE std::string settings_reader::place(std::string_view key) const {
    const json_value* value = at(key);
    if (value == nullptr && !values_.empty()) {
        value = values_.front().second;
    }
    return value == nullptr ? std::string() : value->place();
}

REPAINT_INLINE std::set<std::string> settings_reader::unknown() const {
    std::set<std::string> result;
    for (const auto& [name, value] : values_) {
        if (!known_.contains(name) && !name.starts_with('_')) {
            result.insert(name);
        }
    }
    return result;
}

REPAINT_INLINE const json_value* settings_reader::at(std::string_view key) const {
    const auto found =
        std::find_if(values_.begin(), values_.end(), [&](const auto& entry) { return entry.first == key; });
    return found == values_.end() ? nullptr : found->second;
}

REPAINT_INLINE int settings_reader::integer_of(const json_value& v) {
    const std::int64_t value = v.as_integer();
    if (value < -1'000'000'000 || value > 1'000'000'000) {
        throw format_error("out of range");
    }
    return static_cast<int>(value);
}

REPAINT_INLINE double settings_reader::number_of(const json_value& v) {
    const double value = v.as_number();
    if (!std::isfinite(value)) {
        throw format_error("not finite");
    }
    return value;
}

REPAINT_INLINE std::vector<double> settings_reader::numbers_of(const std::string& list) {
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

} // namespace detail

} // namespace repaint
