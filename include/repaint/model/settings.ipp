#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <repaint/config.hpp>
#include <repaint/core/text.hpp>
#include <repaint/error.hpp>
#include <repaint/io/json.hpp>
#include <repaint/model/settings.hpp>

namespace repaint {

namespace detail {

/// Integer settings are accepted from -largest_setting to largest_setting.
inline constexpr int largest_setting = 1'000'000'000;

inline int integer_of(const json_value& v) {
    const std::int64_t value = v.as_integer();
    if (value < -largest_setting || value > largest_setting) {
        throw format_error("out of range");
    }
    return static_cast<int>(value);
}

inline double number_of(const json_value& v) {
    const double value = v.as_number();
    if (!std::isfinite(value)) {
        throw format_error("not finite");
    }
    return value;
}

/// The numbers of a text such as "1,2,2".
inline std::vector<double> numbers_of(const std::string& list) {
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

/// "[1, 2, [...]]", cut after some seventy characters.
inline std::string described_items(const json_value& array) {
    constexpr std::size_t longest = 72;
    std::string text;
    for (const json_value& item : array.as_array()) {
        text += text.empty() ? "" : ", ";
        if (text.size() > longest) {
            text += "...";
            break;
        }
        text += item.is_array() ? "[...]" : described(item);
    }
    return joined_text({"[", text, "]"});
}

REPAINT_COLD std::string described(const json_value& v, settings_wording wording) {
    const bool yaml = wording == settings_wording::yaml;
    if (v.is_null()) {
        return "null";
    }
    if (v.is_boolean()) {
        return v.as_boolean() ? "true" : "false";
    }
    if (v.is_string()) {
        return in_quotes(v.as_string());
    }
    if (yaml && v.is_integer()) {
        return v.as_number() < 0.0 ? std::to_string(v.as_integer()) : std::to_string(v.as_unsigned());
    }
    if (yaml && v.is_number()) {
        return shortest_text(v.as_number());
    }
    if (v.is_number()) {
        std::array<char, 32> text{};
        std::snprintf(text.data(), text.size(), "%.12g", v.as_number());
        return text.data();
    }
    if (v.is_object()) {
        return yaml ? "a mapping" : "an object";
    }
    return yaml ? "a list" : described_items(v);
}

REPAINT_COLD settings_reader::settings_reader(const json_value& root, std::string path, settings_wording wording)
    : root_(&root), path_(std::move(path)), wording_(wording) {
    if (!root.is_object()) {
        throw format_error(joined_text({root.place(), (path_.empty() ? "the file" : path_), " is ", shown_value(root),
                                        ", accepted: ", (wording == settings_wording::yaml ? "a mapping" : "an object"),
                                        " of settings"}));
    }
    add_members_of(root);
}

REPAINT_COLD void settings_reader::add_members_of(const json_value& object) {
    for (const auto& [key, value] : object.as_object()) {
        add(key, value);
    }
}

REPAINT_COLD std::string settings_reader::name_of(std::string_view key) const {
    return (path_.empty() ? "" : joined_text({path_, "."})) + std::string(key);
}

REPAINT_COLD const json_value* settings_reader::find(std::string_view key) {
    known_.insert(std::string(key));
    const json_value* value = at(key);
    return value == nullptr || value->is_null() ? nullptr : value;
}

REPAINT_COLD settings_reader settings_reader::part(std::string_view key) {
    const json_value* value = find(key);
    if (value == nullptr) {
        refuse(key, wording_ == settings_wording::yaml ? "a mapping of settings" : "an object of settings");
    }
    return {*value, name_of(key), wording_};
}

template <class T, class F>
std::optional<T> settings_reader::read(std::string_view key, const char* accepted, F convert) {
    const json_value* value = find(key);
    if (value == nullptr) {
        return std::nullopt;
    }
    try {
        return convert(*value);
    } catch (const std::exception&) {
        refuse_type(*value, key, accepted);
    }
}

template <class T, class F>
std::optional<std::vector<T>> settings_reader::list(std::string_view key, const char* accepted, std::size_t count,
                                                    F convert) {
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

REPAINT_COLD std::optional<int> settings_reader::integer(std::string_view key) {
    return read<int>(key, "an integer", integer_of);
}

REPAINT_COLD std::optional<int> settings_reader::integer(std::string_view key, int lowest, std::optional<int> highest) {
    const bool yaml = wording_ == settings_wording::yaml;
    std::string accepted = std::to_string(lowest);
    if (!highest) {
        accepted += " or more";
    } else if (*highest > lowest) {
        accepted += joined_text({" to ", *highest});
    }
    if (yaml) {
        accepted = (highest ? "an integer from " : "an integer of ") + accepted;
    }
    const auto value = read<int>(key, yaml ? accepted.c_str() : "an integer", integer_of);
    if (value && (*value < lowest || *value > highest.value_or(*value))) {
        refuse(key, accepted);
    }
    return value;
}

REPAINT_COLD std::optional<bool> settings_reader::boolean(std::string_view key) {
    return read<bool>(key, "true or false", [](const json_value& v) { return v.as_boolean(); });
}

REPAINT_COLD std::optional<double> settings_reader::number(std::string_view key) {
    return read<double>(key, "a number", number_of);
}

REPAINT_COLD std::optional<std::string> settings_reader::string(std::string_view key) {
    return read<std::string>(key, "a string", [](const json_value& v) { return v.as_string(); });
}

REPAINT_COLD std::optional<std::string> settings_reader::text(std::string_view key, const char* accepted) {
    return read<std::string>(key, accepted, [](const json_value& v) {
        if (v.as_string().empty()) {
            throw format_error("empty");
        }
        return v.as_string();
    });
}

REPAINT_COLD std::optional<std::vector<double>> settings_reader::numbers(std::string_view key) {
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

REPAINT_COLD std::optional<std::vector<int>> settings_reader::integers(std::string_view key, std::size_t count) {
    return list<int>(key, count > 0 ? "an integer or an array of integers" : "an array of integers", count, integer_of);
}

REPAINT_COLD std::optional<std::vector<bool>> settings_reader::booleans(std::string_view key) {
    return list<bool>(key, "an array of true and false", 0, [](const json_value& v) { return v.as_boolean(); });
}

REPAINT_COLD std::optional<std::vector<std::string>> settings_reader::strings(std::string_view key) {
    return list<std::string>(key, "an array of strings", 0, [](const json_value& v) { return v.as_string(); });
}

REPAINT_COLD void settings_reader::refuse(std::string_view key, const std::string& found,
                                          const std::string& accepted) const {
    throw format_error(joined_text({place(key), name_of(key), " is ", found,
                                    (wording_ == settings_wording::yaml ? "; accepted: " : ", accepted: "), accepted}));
}

REPAINT_COLD void settings_reader::refuse(std::string_view key, const std::string& accepted) const {
    const json_value* value = at(key);
    refuse(key, value == nullptr ? "not given" : shown_value(*value), accepted);
}

REPAINT_COLD void settings_reader::refuse_because(std::string_view key, const std::string& why,
                                                  const std::string& accepted) const {
    const json_value* value = at(key);
    throw format_error(
        joined_text({place(key), name_of(key), " is ", (value == nullptr ? "not given" : shown_value(*value)), ", ",
                     why, "; accepted: ", accepted}));
}

REPAINT_COLD void settings_reader::missing(std::string_view key, const std::string& accepted,
                                           const std::string& why) const {
    const std::string where = root_ != nullptr ? root_->place() : place(key);
    throw format_error(joined_text(
        {where, name_of(key), " is missing", (why.empty() ? "" : joined_text({", ", why})), "; accepted: ", accepted}));
}

REPAINT_COLD void settings_reader::refuse_type(const json_value& value, std::string_view key,
                                               const char* accepted) const {
    const std::string name = value.place() + name_of(key);
    throw format_error(wording_ == settings_wording::yaml
                           ? joined_text({name, " is ", shown_value(value), "; accepted: ", accepted})
                           : joined_text({name, " must be ", accepted, ", found ", shown_value(value)}));
}

REPAINT_COLD void settings_reader::contradict(std::string_view key, const std::string& said,
                                              const std::string& found) const {
    throw format_error(joined_text({place(key), name_of(key), " is ", said,
                                    ", but the checkpoint's tensors are those of a network with ", found}));
}

REPAINT_COLD std::string settings_reader::place(std::string_view key) const {
    const json_value* value = at(key);
    if (value == nullptr && root_ != nullptr) {
        value = root_;
    } else if (value == nullptr && !values_.empty()) {
        value = values_.front().second;
    }
    return value == nullptr ? std::string() : value->place();
}

REPAINT_COLD std::vector<std::string> settings_reader::unknown() const {
    std::vector<std::string> result;
    for (const auto& [name, value] : values_) {
        const bool note = wording_ == settings_wording::json && name.starts_with('_');
        if (!known_.contains(name) && !note) {
            result.push_back(name_of(name));
        }
    }
    return result;
}

REPAINT_COLD const json_value* settings_reader::at(std::string_view key) const {
    const auto found =
        std::find_if(values_.begin(), values_.end(), [&](const auto& entry) { return entry.first == key; });
    return found == values_.end() ? nullptr : found->second;
}

} // namespace detail

} // namespace repaint
