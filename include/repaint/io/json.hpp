#pragma once

#include <algorithm>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <limits>
#include <memory>
#include <string>
#include <string_view>
#include <system_error>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include <repaint/io/bytes.hpp>
#include <repaint/io/mapped_file.hpp>

namespace repaint {

namespace detail {

/// Reads JSON (RFC 8259) as a stream of events and keeps nothing but its place: memory is the longest string that holds
/// an escape, at most `longest_string` bytes. Strict: UTF-8 only, no comments, no trailing commas, nothing after the
/// value, nesting up to 64. Keys are not compared with each other; the receiver of the events refuses duplicates.
class json_reader {
public:
    enum class event {
        begin_object,
        end_object,
        begin_array,
        end_array,
        key,
        string,
        integer,          // fits int64
        unsigned_integer, // fits uint64 only
        real,
        boolean,
        null,
        end
    };

    /// How errors say where they are: people edit configurations by line, headers have only bytes.
    enum class place { line_and_column, byte };

    static constexpr std::size_t longest_string = std::size_t{8} << 20U;
    static constexpr int deepest = 64;

    /// The text must outlive the reader. source is what messages call it.
    json_reader(std::string_view text, std::string source, place where = place::line_and_column)
        : text_(text), source_(std::move(source)), where_(where) {
        if (text_.starts_with("\xEF\xBB\xBF")) {
            refuse("JSON text may not start with a byte order mark");
        }
    }

    /// The next event; `end` after the value. Throws format_error at the first character that is not JSON.
    event next() {
        skip_spaces();
        start_ = at_;
        switch (expected_) {
        case expected::value: return value();
        case expected::first_key:
            if (peek() == '}') {
                return close(event::end_object);
            }
            return key();
        case expected::first_element:
            if (peek() == ']') {
                return close(event::end_array);
            }
            return value();
        case expected::comma_or_end: return after_value();
        default: break;
        }
        if (at_ != text_.size()) {
            refuse("unexpected " + found() + " after the end of the JSON value");
        }
        return event::end;
    }

    /// The key or string of the last event, unescaped. Valid until next().
    [[nodiscard]] std::string_view text() const { return string_; }
    [[nodiscard]] std::int64_t integer() const { return integer_; }
    [[nodiscard]] std::uint64_t unsigned_integer() const { return unsigned_; }
    [[nodiscard]] double real() const { return real_; }
    [[nodiscard]] bool boolean() const { return boolean_; }

    /// Line of the last event, counting from 1; cheap when asked for in order.
    [[nodiscard]] std::uint32_t line() {
        for (; counted_ < start_; ++counted_) {
            line_ += text_[counted_] == '\n' ? 1U : 0U;
        }
        return line_;
    }

    /// Throws format_error with the place of the last event and a sentence about it.
    [[noreturn]] void refuse(const std::string& what) const {
        const std::string_view before = text_.substr(0, start_);
        if (where_ == place::byte) {
            throw format_error(source_ + ", byte " + std::to_string(start_) + ": " + what);
        }
        const auto line = std::count(before.begin(), before.end(), '\n') + 1;
        const std::size_t newline = before.rfind('\n');
        const std::size_t column = newline == std::string_view::npos ? start_ + 1 : start_ - newline;
        throw format_error(source_ + ", line " + std::to_string(line) + ", column " + std::to_string(column) + ": " +
                           what);
    }

private:
    enum class expected { value, first_key, first_element, comma_or_end, nothing };

    [[nodiscard]] char peek() const { return at_ < text_.size() ? text_[at_] : '\0'; }

    [[nodiscard]] std::string found() const {
        if (at_ >= text_.size()) {
            return "end of the text";
        }
        const std::size_t length = std::max<std::size_t>(1, utf8_sequence(text_, at_));
        return in_quotes(text_.substr(at_, length));
    }

    [[noreturn]] void refuse_here(const std::string& what) {
        start_ = std::min(at_, text_.size());
        refuse(what);
    }

    void skip_spaces() {
        while (at_ < text_.size() &&
               (text_[at_] == ' ' || text_[at_] == '\n' || text_[at_] == '\r' || text_[at_] == '\t')) {
            ++at_;
        }
    }

    event open(event kind) {
        if (depth_ == deepest) {
            refuse("nested more than " + std::to_string(deepest) + " levels deep");
        }
        const bool object = kind == event::begin_object;
        objects_ = (objects_ << 1U) | (object ? 1U : 0U);
        ++depth_;
        ++at_;
        expected_ = object ? expected::first_key : expected::first_element;
        return kind;
    }

    event close(event kind) {
        objects_ >>= 1U;
        --depth_;
        ++at_;
        finish_value();
        return kind;
    }

    void finish_value() { expected_ = depth_ == 0 ? expected::nothing : expected::comma_or_end; }

    event after_value() {
        const bool object = (objects_ & 1U) != 0;
        const char c = peek();
        if (c == (object ? '}' : ']')) {
            return close(object ? event::end_object : event::end_array);
        }
        if (c != ',') {
            refuse(std::string("expected \",\" or \"") + (object ? '}' : ']') + "\", found " + found());
        }
        ++at_;
        skip_spaces();
        start_ = at_;
        return object ? key() : value();
    }

    event key() {
        if (peek() != '"') {
            refuse("expected a key between double quotes, found " + found());
        }
        read_string();
        skip_spaces();
        if (peek() != ':') {
            refuse_here("expected \":\" after the key " + in_quotes(string_) + ", found " + found());
        }
        ++at_;
        expected_ = expected::value;
        return event::key;
    }

    event value() {
        switch (peek()) {
        case '{': return open(event::begin_object);
        case '[': return open(event::begin_array);
        case '"':
            read_string();
            finish_value();
            return event::string;
        case 't': boolean_ = true; return word("true", event::boolean);
        case 'f': boolean_ = false; return word("false", event::boolean);
        case 'n': return word("null", event::null);
        default: break;
        }
        if (peek() == '-' || is_digit(peek())) {
            const event kind = number();
            finish_value();
            return kind;
        }
        refuse("expected a value, found " + found());
    }

    event word(std::string_view expected_word, event kind) {
        if (text_.substr(at_, expected_word.size()) != expected_word) {
            refuse("expected a value, found " + in_quotes(text_.substr(at_, expected_word.size())));
        }
        at_ += expected_word.size();
        finish_value();
        return kind;
    }

    static bool is_digit(char c) { return c >= '0' && c <= '9'; }

    void digits() {
        if (!is_digit(peek())) {
            refuse_here("expected a digit, found " + found());
        }
        while (is_digit(peek())) {
            ++at_;
        }
    }

    event number() {
        const std::size_t begin = at_;
        bool whole = true;
        if (peek() == '-') {
            ++at_;
        }
        if (peek() == '0') {
            ++at_;
            if (is_digit(peek())) {
                refuse("a number may not start with 0 followed by digits");
            }
        } else {
            digits();
        }
        if (peek() == '.') {
            whole = false;
            ++at_;
            digits();
        }
        if (peek() == 'e' || peek() == 'E') {
            whole = false;
            ++at_;
            if (peek() == '+' || peek() == '-') {
                ++at_;
            }
            digits();
        }
        const std::string_view all = text_.substr(begin, at_ - begin);
        if (all.size() > 1024) {
            refuse("a number of " + std::to_string(all.size()) + " characters, accepted are up to 1024");
        }
        const char* const first = all.data();
        const char* const last = first + all.size();
        if (!whole) {
            if (std::from_chars(first, last, real_).ec != std::errc{}) {
                refuse("the number " + printable(all) + " is out of the range of a double");
            }
            return event::real;
        }
        if (std::from_chars(first, last, integer_).ec == std::errc{}) {
            return event::integer;
        }
        if (all.front() != '-' && std::from_chars(first, last, unsigned_).ec == std::errc{}) {
            return event::unsigned_integer;
        }
        refuse("the integer " + printable(all) + " does not fit 64 bits");
    }

    void read_string() {
        const std::size_t begin = ++at_;
        bool escapes = false;
        for (;; ++at_) {
            if (at_ >= text_.size()) {
                refuse("a string without closing quote");
            }
            const auto c = static_cast<unsigned char>(text_[at_]);
            if (c == '"') {
                break;
            }
            if (c < 0x20U) {
                refuse_here("a control character inside a string must be escaped, found " + found());
            }
            if (c == '\\') {
                escapes = true;
                ++at_;
            }
        }
        const std::string_view raw = text_.substr(begin, at_ - begin);
        ++at_;
        if (raw.size() > longest_string) {
            refuse("a string of " + std::to_string(raw.size()) + " bytes, accepted are up to " +
                   std::to_string(longest_string));
        }
        if (!is_utf8(raw)) {
            refuse("a string that is not UTF-8");
        }
        string_ = raw;
        if (escapes) {
            unescape(raw);
            string_ = unescaped_;
        }
    }

    void unescape(std::string_view raw) {
        unescaped_.clear();
        unescaped_.reserve(raw.size());
        for (std::size_t i = 0; i < raw.size(); ++i) {
            if (raw[i] != '\\') {
                unescaped_ += raw[i];
                continue;
            }
            ++i; // read_string stepped over the character after a backslash, so there is one
            switch (raw[i]) {
            case '"':
            case '\\':
            case '/': unescaped_ += raw[i]; break;
            case 'b': unescaped_ += '\b'; break;
            case 'f': unescaped_ += '\f'; break;
            case 'n': unescaped_ += '\n'; break;
            case 'r': unescaped_ += '\r'; break;
            case 't': unescaped_ += '\t'; break;
            case 'u': {
                std::uint32_t code = four_digits(raw, i + 1);
                i += 4;
                if (code >= 0xD800U && code < 0xDC00U && raw.substr(i + 1, 2) == "\\u") {
                    const std::uint32_t low = four_digits(raw, i + 3);
                    if (low >= 0xDC00U && low < 0xE000U) {
                        code = 0x10000U + ((code - 0xD800U) << 10U) + (low - 0xDC00U);
                        i += 6;
                    }
                }
                if (code >= 0xD800U && code < 0xE000U) {
                    refuse("a string with half of a surrogate pair");
                }
                append_utf8(code);
                break;
            }
            default: refuse("unknown escape sequence " + in_quotes(raw.substr(i - 1, 2)) + " in a string");
            }
        }
    }

    [[nodiscard]] std::uint32_t four_digits(std::string_view raw, std::size_t at) const {
        std::uint32_t code = 0;
        for (std::size_t k = at; k < at + 4; ++k) {
            const char c = k < raw.size() ? raw[k] : '?';
            const char lower = static_cast<char>(c | 0x20);
            if (is_digit(c)) {
                code = code * 16 + static_cast<std::uint32_t>(c - '0');
            } else if (lower >= 'a' && lower <= 'f') {
                code = code * 16 + static_cast<std::uint32_t>(lower - 'a' + 10);
            } else {
                refuse("\\u in a string must be followed by four hexadecimal digits");
            }
        }
        return code;
    }

    void append_utf8(std::uint32_t code) {
        const auto put = [this](std::uint32_t byte) { unescaped_ += static_cast<char>(byte); };
        if (code < 0x80U) {
            put(code);
        } else if (code < 0x800U) {
            put(0xC0U | (code >> 6U));
            put(0x80U | (code & 0x3FU));
        } else if (code < 0x10000U) {
            put(0xE0U | (code >> 12U));
            put(0x80U | ((code >> 6U) & 0x3FU));
            put(0x80U | (code & 0x3FU));
        } else {
            put(0xF0U | (code >> 18U));
            put(0x80U | ((code >> 12U) & 0x3FU));
            put(0x80U | ((code >> 6U) & 0x3FU));
            put(0x80U | (code & 0x3FU));
        }
    }

    std::string_view text_;
    std::string source_;
    place where_;
    std::size_t at_ = 0;
    std::size_t start_ = 0;
    std::size_t counted_ = 0;
    std::uint32_t line_ = 1;
    expected expected_ = expected::value;
    std::uint64_t objects_ = 0; // one bit a level: 1 object, 0 array
    int depth_ = 0;
    std::string_view string_;
    std::string unescaped_;
    std::int64_t integer_ = 0;
    std::uint64_t unsigned_ = 0;
    double real_ = 0.0;
    bool boolean_ = false;
};

/// text as a JSON string with its quotes. The text must be UTF-8.
inline std::string json_string(std::string_view text) {
    constexpr std::string_view digits = "0123456789abcdef";
    std::string out = "\"";
    for (const char c : text) {
        const auto byte = static_cast<unsigned char>(c);
        if (c == '"' || c == '\\') {
            out += '\\';
            out += c;
        } else if (byte < 0x20U) {
            out += "\\u00";
            out += digits[byte >> 4U];
            out += digits[byte & 0xFU];
        } else {
            out += c;
        }
    }
    return out + '"';
}

class json_builder;

} // namespace detail

/// One value of a JSON text, with everything in it. Its accessors throw format_error naming the file, the line, the
/// key, what was found and what was expected. Integers are exact: int64 or uint64, never through a double.
class json_value {
public:
    using array_type = std::vector<json_value>;
    using member = std::pair<std::string, json_value>;
    using object_type = std::vector<member>; // in the order of the file

    json_value() = default;

    [[nodiscard]] bool is_null() const { return std::holds_alternative<std::nullptr_t>(value_); }
    [[nodiscard]] bool is_boolean() const { return std::holds_alternative<bool>(value_); }
    [[nodiscard]] bool is_integer() const {
        return std::holds_alternative<std::int64_t>(value_) || std::holds_alternative<std::uint64_t>(value_);
    }
    [[nodiscard]] bool is_number() const { return is_integer() || std::holds_alternative<double>(value_); }
    [[nodiscard]] bool is_string() const { return std::holds_alternative<std::string>(value_); }
    [[nodiscard]] bool is_array() const { return std::holds_alternative<array_type>(value_); }
    [[nodiscard]] bool is_object() const { return std::holds_alternative<object_type>(value_); }

    /// The value itself, when it has that type; the element of an array is asked this way.
    [[nodiscard]] bool as_boolean() const { return get<bool>("true or false"); }
    [[nodiscard]] std::int64_t as_integer() const { return get<std::int64_t>("an integer"); }
    [[nodiscard]] std::uint64_t as_unsigned() const {
        if (const auto* exact = std::get_if<std::uint64_t>(&value_)) {
            return *exact;
        }
        const auto* small = std::get_if<std::int64_t>(&value_);
        if (small == nullptr || *small < 0) {
            expected("a non-negative integer");
        }
        return static_cast<std::uint64_t>(*small);
    }
    /// Any number, integers rounded to the nearest double.
    [[nodiscard]] double as_number() const {
        if (const auto* whole = std::get_if<std::int64_t>(&value_)) {
            return static_cast<double>(*whole);
        }
        if (const auto* large = std::get_if<std::uint64_t>(&value_)) {
            return static_cast<double>(*large);
        }
        return get<double>("a number");
    }
    [[nodiscard]] const std::string& as_string() const { return get<std::string>("a string"); }
    [[nodiscard]] const array_type& as_array() const { return get<array_type>("an array"); }
    [[nodiscard]] const object_type& as_object() const { return get<object_type>("an object"); }

    /// The member of an object under that key, null when there is none.
    [[nodiscard]] const json_value* find(std::string_view key) const {
        for (const member& m : as_object()) {
            if (m.first == key) {
                return &m.second;
            }
        }
        return nullptr;
    }
    [[nodiscard]] bool contains(std::string_view key) const { return find(key) != nullptr; }

    /// The member of an object under that key. Throws format_error when there is none.
    [[nodiscard]] const json_value& at(std::string_view key) const {
        const json_value* const found = find(key);
        if (found == nullptr) {
            throw format_error(place() + "the key " + detail::in_quotes(key) + " is missing");
        }
        return *found;
    }

    /// The member under that key, of that type.
    [[nodiscard]] bool boolean(std::string_view key) const {
        return named(key, [](const json_value& v) { return v.as_boolean(); });
    }
    [[nodiscard]] std::int64_t integer(std::string_view key) const {
        return named(key, [](const json_value& v) { return v.as_integer(); });
    }
    [[nodiscard]] double number(std::string_view key) const {
        return named(key, [](const json_value& v) { return v.as_number(); });
    }
    [[nodiscard]] const std::string& string(std::string_view key) const {
        return named(key, [](const json_value& v) -> const std::string& { return v.as_string(); });
    }
    [[nodiscard]] const array_type& array(std::string_view key) const {
        return named(key, [](const json_value& v) -> const array_type& { return v.as_array(); });
    }
    [[nodiscard]] const object_type& object(std::string_view key) const {
        return named(key, [](const json_value& v) -> const object_type& { return v.as_object(); });
    }

    /// "file, line 3: ", the beginning of a message about this value.
    [[nodiscard]] std::string place() const {
        return source_ ? *source_ + ", line " + std::to_string(line_) + ": " : std::string();
    }

private:
    friend class detail::json_builder;

    template <class T> const T& get(const char* what) const {
        const T* const found = std::get_if<T>(&value_);
        if (found == nullptr) {
            expected(what);
        }
        return *found;
    }

    [[noreturn]] void expected(const char* what) const {
        throw format_error(place() + "expected " + what + ", found " + description());
    }

    template <class Read> std::invoke_result_t<Read, const json_value&> named(std::string_view key, Read read) const {
        const json_value& v = at(key);
        try {
            return read(v);
        } catch (const format_error& wrong) {
            const std::string start = v.place();
            throw format_error(start + detail::in_quotes(key) + ": " + (wrong.what() + start.size()));
        }
    }

    [[nodiscard]] std::string description() const {
        if (const auto* b = std::get_if<bool>(&value_)) {
            return *b ? "true" : "false";
        }
        if (const auto* i = std::get_if<std::int64_t>(&value_)) {
            return std::to_string(*i);
        }
        if (const auto* u = std::get_if<std::uint64_t>(&value_)) {
            return std::to_string(*u);
        }
        if (const auto* d = std::get_if<double>(&value_)) {
            return std::to_string(*d);
        }
        if (const auto* s = std::get_if<std::string>(&value_)) {
            return "the string " + detail::in_quotes(*s);
        }
        return is_null() ? "null" : (is_array() ? "an array" : "an object");
    }

    std::variant<std::nullptr_t, bool, std::int64_t, std::uint64_t, double, std::string, array_type, object_type>
        value_ = nullptr;
    std::shared_ptr<const std::string> source_;
    std::uint32_t line_ = 0;
};

namespace detail {

/// Builds json_values from the events of a reader, refusing duplicate keys and more than most_values values.
class json_builder {
public:
    static constexpr std::size_t most_values = std::size_t{1} << 18U;

    /// The text must outlive the builder. source is what messages call it.
    json_builder(std::string_view text, const std::string& source)
        : reader_(text, source), source_(std::make_shared<const std::string>(source)) {}

    json_value build() {
        json_value v = value(reader_.next());
        reader_.next();
        return v;
    }

private:
    using event = json_reader::event;

    json_value value(event e) {
        if (++values_ > most_values) {
            reader_.refuse("more than " + std::to_string(most_values) + " values");
        }
        json_value v;
        v.source_ = source_;
        v.line_ = reader_.line();
        switch (e) {
        case event::begin_object: v.value_ = object(); break;
        case event::begin_array: {
            json_value::array_type elements;
            for (event next = reader_.next(); next != event::end_array; next = reader_.next()) {
                elements.push_back(value(next));
            }
            v.value_ = std::move(elements);
            break;
        }
        case event::string: v.value_ = std::string(reader_.text()); break;
        case event::integer: v.value_ = reader_.integer(); break;
        case event::unsigned_integer: v.value_ = reader_.unsigned_integer(); break;
        case event::real: v.value_ = reader_.real(); break;
        case event::boolean: v.value_ = reader_.boolean(); break;
        default: break;
        }
        return v;
    }

    json_value::object_type object() {
        json_value::object_type members;
        while (reader_.next() == event::key) {
            std::string key(reader_.text());
            const event next = reader_.next();
            members.emplace_back(std::move(key), value(next));
        }
        std::vector<const std::string*> keys;
        keys.reserve(members.size());
        for (const auto& m : members) {
            keys.push_back(&m.first);
        }
        std::sort(keys.begin(), keys.end(), [](const auto* a, const auto* b) { return *a < *b; });
        const auto twice =
            std::adjacent_find(keys.begin(), keys.end(), [](const auto* a, const auto* b) { return *a == *b; });
        if (twice != keys.end()) {
            reader_.refuse("the object that ends here has the key " + in_quotes(**twice) + " twice");
        }
        return members;
    }

    json_reader reader_;
    std::shared_ptr<const std::string> source_;
    std::size_t values_ = 0;
};

} // namespace detail

/// Parses a JSON text of up to 16 MB; source is what messages call it. Throws format_error with line and column.
inline json_value parse_json(std::string_view text, const std::string& source) {
    constexpr std::size_t largest = std::size_t{16} << 20U;
    if (text.size() > largest) {
        throw format_error(source + ": " + std::to_string(text.size()) + " bytes of JSON, accepted are up to " +
                           std::to_string(largest));
    }
    return detail::json_builder(text, source).build();
}

/// Reads a JSON file of up to 16 MB. Throws format_error.
inline json_value read_json(const std::filesystem::path& path) {
    const mapped_file file(path);
    return parse_json(detail::as_text(file.bytes()), detail::shown(path));
}

} // namespace repaint
