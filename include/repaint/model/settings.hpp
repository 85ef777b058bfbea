#pragma once

#include <cstddef>
#include <initializer_list>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <repaint/core/text.hpp>
#include <repaint/error.hpp>
#include <repaint/io/json.hpp>

namespace repaint {

namespace detail {

/// How messages speak of a file. json: arrays are shown, objects are objects, a wrong type is "x must be an integer,
/// found "a"". yaml: arrays are lists, objects are mappings, a wrong type is "x is "a"; accepted: an integer".
enum class settings_wording { json, yaml };

/// A value as it stands in a message.
std::string described(const json_value& v, settings_wording wording = settings_wording::json);

/// Settings under their keys, read from one JSON object or several. Every value knows its file and line, and every
/// refusal names them. The reader remembers the keys that were asked for, so that unknown() can name the others. The
/// JSON must outlive the reader.
class settings_reader {
public:
    /// A reader without settings; add() and add_members_of() give it some.
    settings_reader() = default;

    /// The settings of an object. `path` is what messages put before a key: "data.eval.faces" for a nested object,
    /// empty for the outermost. Throws format_error unless `root` is an object.
    settings_reader(const json_value& root, std::string path, settings_wording wording);

    /// Adds a setting. Of several values under one key the first counts.
    void add(std::string_view key, const json_value& value) { values_.emplace_back(key, &value); }

    /// Adds every member of an object. Throws format_error unless it is an object.
    void add_members_of(const json_value& object);

    /// The object that this reader was made of; null when it was made of none.
    [[nodiscard]] const json_value* root() const { return root_; }

    /// The key as messages name it: "data.eval.faces.batch_size".
    [[nodiscard]] std::string name_of(std::string_view key) const;

    /// A value as messages of this reader show it.
    [[nodiscard]] std::string shown_value(const json_value& value) const { return described(value, wording_); }

    /// True when the key is there, though its value may be null.
    [[nodiscard]] bool has(std::string_view key) const { return at(key) != nullptr; }

    /// The value under the key; null when the key is not there or its value is null.
    const json_value* find(std::string_view key);

    /// The settings of the object under the key, which has to be there. Throws format_error when it is no object.
    settings_reader part(std::string_view key);

    // Each of the following returns the setting under the key, or nullopt when find(key) is null. Each throws
    // format_error when the value is of another type or not accepted.

    std::optional<int> integer(std::string_view key);

    /// An integer of lowest or more, and of highest or less when there is a highest.
    std::optional<int> integer(std::string_view key, int lowest, std::optional<int> highest = std::nullopt);

    std::optional<bool> boolean(std::string_view key);
    std::optional<double> number(std::string_view key);
    std::optional<std::string> string(std::string_view key);

    /// A string that is not empty. `accepted` is what the message says instead of "text".
    std::optional<std::string> text(std::string_view key, const char* accepted = "text");

    /// "1,2,2" or [1, 2, 2] or a single number. An empty string gives no numbers.
    std::optional<std::vector<double>> numbers(std::string_view key);

    /// An array. When `count` is given, a single value stands for an array of `count` such values.
    std::optional<std::vector<int>> integers(std::string_view key, std::size_t count = 0);
    std::optional<std::vector<bool>> booleans(std::string_view key);
    std::optional<std::vector<std::string>> strings(std::string_view key);

    /// The meaning of the name under the key. `accepted`: every name with its meaning.
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

    /// Throws format_error: "<file>, line <line>: <key> is <found>, accepted: <accepted>". `found` must be printable.
    [[noreturn]] void refuse(std::string_view key, const std::string& found, const std::string& accepted) const;

    /// Throws format_error as above, with the value under the key as what was found.
    [[noreturn]] void refuse(std::string_view key, const std::string& accepted) const;

    /// Throws format_error: "<file>, line <line>: <key> is <value>, <why>; accepted: <accepted>".
    [[noreturn]] void refuse_because(std::string_view key, const std::string& why, const std::string& accepted) const;

    /// Throws format_error: "<file>, line <line>: <key> is missing, <why>; accepted: <accepted>".
    [[noreturn]] void missing(std::string_view key, const std::string& accepted, const std::string& why = {}) const;

    /// Throws format_error when a setting says something else than the tensors.
    template <class T> void expect(std::string_view key, const std::optional<T>& said, const T& found) const {
        if (said && *said != found) {
            contradict(key, text_of(*said), text_of(found));
        }
    }

    /// "<file>, line 3: ": the place of the value under the key; the place where the settings begin when there is none.
    [[nodiscard]] std::string place(std::string_view key) const;

    [[nodiscard]] bool asked_for(const std::string& key) const { return known_.contains(key); }

    /// The keys that were not asked for, by name_of, in the order of the file. JSON keys that start with an underscore
    /// are left out: they are notes of the program that wrote the file.
    [[nodiscard]] std::vector<std::string> unknown() const;

private:
    [[nodiscard]] const json_value* at(std::string_view key) const;

    [[noreturn]] void refuse_type(const json_value& value, std::string_view key, const char* accepted) const;

    [[noreturn]] void contradict(std::string_view key, const std::string& said, const std::string& found) const;

    /// convert(value under the key); a value that convert refuses by an exception is refused as "not `accepted`".
    template <class T, class F> std::optional<T> read(std::string_view key, const char* accepted, F convert);

    template <class T, class F>
    std::optional<std::vector<T>> list(std::string_view key, const char* accepted, std::size_t count, F convert);

    static std::string text_of(bool b) { return b ? "true" : "false"; }
    static std::string text_of(int i) { return std::to_string(i); }
    static std::string text_of(const std::string& s) { return printable(s); }
    template <class T> static std::string text_of(const std::vector<T>& list) {
        std::string result;
        for (const auto& item : list) {
            result += result.empty() ? "" : ",";
            result += text_of(item);
        }
        return result.empty() ? "none" : result;
    }

    const json_value* root_ = nullptr;
    std::string path_;
    settings_wording wording_ = settings_wording::json;
    std::vector<std::pair<std::string, const json_value*>> values_;
    std::set<std::string> known_;
};

} // namespace detail

} // namespace repaint

#ifndef REPAINT_COMPILED
#include <repaint/model/settings.ipp>
#endif
