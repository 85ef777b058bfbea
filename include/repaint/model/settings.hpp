#pragma once

#include <cstddef>
#include <exception>
#include <initializer_list>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <repaint/core/text.hpp>
#include <repaint/error.hpp>
#include <repaint/io/bytes.hpp>
#include <repaint/io/json.hpp>

namespace repaint {

namespace detail {

/// A value of a JSON as it stands in a message.
std::string described(const json_value& v);

/// The settings of a model under their keys, from one JSON object or several, each with its line for messages.
/// Remembers which keys were asked for, so that the others can be named. The JSON must outlive it.
class settings_reader {
public:
    /// Of several values under one key the first counts.
    void add(std::string_view key, const json_value& value) { values_.emplace_back(key, &value); }

    /// Throws format_error unless it is an object.
    void add_members_of(const json_value& object);

    /// True when the key is there, though it may be null.
    [[nodiscard]] bool has(std::string_view key) const { return at(key) != nullptr; }

    /// The setting under the key; null when it is not there or null.
    const json_value* find(std::string_view key);

    std::optional<int> integer(std::string_view key) { return read<int>(key, "an integer", integer_of); }

    /// The same, refused outside [lowest, highest].
    std::optional<int> integer(std::string_view key, int lowest, int highest);

    std::optional<bool> boolean(std::string_view key);
    std::optional<std::string> string(std::string_view key);
    std::optional<double> number(std::string_view key) { return read<double>(key, "a number", number_of); }

    /// "1,2,2" or [1, 2, 2]; an empty string is as good as nothing.
    std::optional<std::vector<double>> numbers(std::string_view key);

    /// An array; a single value counts as one of `count` equal ones when that is given.
    std::optional<std::vector<int>> integers(std::string_view key, std::size_t count = 0);
    std::optional<std::vector<bool>> booleans(std::string_view key);
    std::optional<std::vector<std::string>> strings(std::string_view key);

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
    [[noreturn]] void refuse(std::string_view key, const std::string& found, const std::string& accepted) const;
    [[noreturn]] void refuse(std::string_view key, const std::string& accepted) const;

    /// Throws format_error when a setting contradicts what the tensors say.
    template <class T> void expect(std::string_view key, const std::optional<T>& said, const T& found) const {
        if (said && *said != found) {
            throw format_error(place(key) + std::string(key) + " is " + text(*said) +
                               ", but the checkpoint's tensors are those of a network with " + text(found));
        }
    }

    /// "<file>, line 3: ", where the key stands, or where the settings begin.
    [[nodiscard]] std::string place(std::string_view key) const;

    [[nodiscard]] bool asked_for(const std::string& key) const { return known_.contains(key); }

    /// Keys nobody asked for, those that start with an underscore aside: they are notes of the program that wrote them.
    [[nodiscard]] std::set<std::string> unknown() const;

private:
    [[nodiscard]] const json_value* at(std::string_view key) const;

    static int integer_of(const json_value& v);

    static double number_of(const json_value& v);

    static std::vector<double> numbers_of(const std::string& list);

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

} // namespace detail

} // namespace repaint

#ifndef REPAINT_COMPILED
#include <repaint/model/settings.ipp>
#endif
