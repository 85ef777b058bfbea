#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <repaint/core/text.hpp>

namespace repaint {

namespace detail {
class json_builder;

} // namespace detail

/// One value of a JSON text, with everything inside it. Its accessors throw format_error, naming the file, the line,
/// the key, what was found and what was expected. Integers are exact: int64 or uint64, never through a double.
class json_value {
public:
    using array_type = std::vector<json_value>;
    using member = std::pair<std::string, json_value>;
    using object_type = std::vector<member>; // in the order of the file

    [[nodiscard]] bool is_null() const { return kind_ == kind::null; }
    [[nodiscard]] bool is_boolean() const { return kind_ == kind::boolean; }
    [[nodiscard]] bool is_integer() const { return kind_ == kind::integer || kind_ == kind::unsigned_integer; }
    [[nodiscard]] bool is_number() const { return is_integer() || kind_ == kind::real; }
    [[nodiscard]] bool is_string() const { return kind_ == kind::string; }
    [[nodiscard]] bool is_array() const { return kind_ == kind::array; }
    [[nodiscard]] bool is_object() const { return kind_ == kind::object; }

    /// The value itself. Throws format_error when it has another type or does not fit.
    [[nodiscard]] bool as_boolean() const;
    [[nodiscard]] std::int64_t as_integer() const;
    [[nodiscard]] std::uint64_t as_unsigned() const;
    /// Any number, integers rounded to the nearest double.
    [[nodiscard]] double as_number() const;
    [[nodiscard]] const std::string& as_string() const;
    [[nodiscard]] const array_type& as_array() const;
    [[nodiscard]] const object_type& as_object() const;

    /// The member of an object under that key, null when there is none.
    [[nodiscard]] const json_value* find(std::string_view key) const;
    [[nodiscard]] bool contains(std::string_view key) const { return find(key) != nullptr; }

    /// The member of an object under that key. Throws format_error when there is none.
    [[nodiscard]] const json_value& at(std::string_view key) const;

    /// The member of an object under that key. Throws format_error when there is none, or when it has another type.
    [[nodiscard]] bool boolean(std::string_view key) const;
    [[nodiscard]] std::int64_t integer(std::string_view key) const;
    [[nodiscard]] double number(std::string_view key) const;
    [[nodiscard]] const std::string& string(std::string_view key) const;
    [[nodiscard]] const array_type& array(std::string_view key) const;
    [[nodiscard]] const object_type& object(std::string_view key) const;

    /// "file, line 3: ", the beginning of a message about this value.
    [[nodiscard]] std::string place() const;

private:
    friend class detail::json_builder;

    // A tagged union, no std::variant: repaint.hpp includes this header, and a variant of eight types takes compilers a
    // tenth of a second.
    enum class kind : std::uint8_t { null, boolean, integer, unsigned_integer, real, string, array, object };

    void require(kind wanted, const char* what) const;
    [[noreturn]] void expected(const char* what) const;
    [[nodiscard]] std::string description() const;

    kind kind_ = kind::null;
    std::uint32_t line_ = 0;
    union {
        std::int64_t integer_ = 0;
        std::uint64_t unsigned_;
        double real_;
        bool boolean_;
    };
    std::string string_;
    array_type array_;
    object_type object_;
    std::shared_ptr<const std::string> source_;
};

/// Parses a JSON text of up to 16 MB. source is what messages call the text. Throws format_error with line and column.
json_value parse_json(std::string_view text, const std::string& source);

/// Reads a JSON file of up to 16 MB. Throws format_error.
json_value read_json(const std::string& path);

} // namespace repaint

#ifndef REPAINT_COMPILED
#include <repaint/io/json.ipp>
#endif
