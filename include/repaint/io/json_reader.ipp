#pragma once

#include <algorithm>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

#include <repaint/config.hpp>
#include <repaint/core/text.hpp>
#include <repaint/error.hpp>
#include <repaint/io/bytes.hpp>
#include <repaint/io/json_reader.hpp>

namespace repaint {

namespace detail {

REPAINT_COLD json_reader::json_reader(std::string_view text, std::string source, place where)
    : text_(text), source_(std::move(source)), where_(where) {
    if (text_.starts_with("\xEF\xBB\xBF")) {
        refuse("JSON text may not start with a byte order mark");
    }
}

REPAINT_COLD json_reader::event json_reader::next() {
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
        refuse(joined_text({"unexpected ", found(), " after the end of the JSON value"}));
    }
    return event::end;
}

REPAINT_COLD std::uint32_t json_reader::line() {
    for (; counted_ < start_; ++counted_) {
        line_ += text_[counted_] == '\n' ? 1U : 0U;
    }
    return line_;
}

REPAINT_COLD void json_reader::refuse(const std::string& what) const {
    const std::string_view before = text_.substr(0, start_);
    if (where_ == place::byte) {
        throw format_error(joined_text({source_, ", byte ", start_, ": ", what}));
    }
    const auto line = std::count(before.begin(), before.end(), '\n') + 1;
    const std::size_t newline = before.rfind('\n');
    const std::size_t column = newline == std::string_view::npos ? start_ + 1 : start_ - newline;
    throw format_error(joined_text({source_, ", line ", line, ", column ", column, ": ", what}));
}

REPAINT_COLD std::string json_reader::found() const {
    if (at_ >= text_.size()) {
        return "end of the text";
    }
    const std::size_t length = std::max<std::size_t>(1, utf8_sequence(text_, at_));
    return in_quotes(text_.substr(at_, length));
}

REPAINT_COLD void json_reader::refuse_here(const std::string& what) {
    start_ = std::min(at_, text_.size());
    refuse(what);
}

REPAINT_COLD void json_reader::skip_spaces() {
    while (at_ < text_.size() &&
           (text_[at_] == ' ' || text_[at_] == '\n' || text_[at_] == '\r' || text_[at_] == '\t')) {
        ++at_;
    }
}

REPAINT_COLD json_reader::event json_reader::open(event kind) {
    if (depth_ == deepest) {
        refuse(joined_text({"nested more than ", deepest, " levels deep"}));
    }
    const bool object = kind == event::begin_object;
    objects_ = (objects_ << 1U) | (object ? 1U : 0U);
    ++depth_;
    ++at_;
    expected_ = object ? expected::first_key : expected::first_element;
    return kind;
}

REPAINT_COLD json_reader::event json_reader::close(event kind) {
    objects_ >>= 1U;
    --depth_;
    ++at_;
    finish_value();
    return kind;
}

REPAINT_COLD void json_reader::finish_value() { expected_ = depth_ == 0 ? expected::nothing : expected::comma_or_end; }

REPAINT_COLD json_reader::event json_reader::after_value() {
    const bool object = (objects_ & 1U) != 0;
    const char c = peek();
    if (c == (object ? '}' : ']')) {
        return close(object ? event::end_object : event::end_array);
    }
    if (c != ',') {
        refuse(joined_text({std::string("expected \",\" or \""), (object ? '}' : ']'), "\", found ", found()}));
    }
    ++at_;
    skip_spaces();
    start_ = at_;
    return object ? key() : value();
}

REPAINT_COLD json_reader::event json_reader::key() {
    if (peek() != '"') {
        refuse(joined_text({"expected a key between double quotes, found ", found()}));
    }
    read_string();
    skip_spaces();
    if (peek() != ':') {
        refuse_here(joined_text({"expected \":\" after the key ", in_quotes(string_), ", found ", found()}));
    }
    ++at_;
    expected_ = expected::value;
    return event::key;
}

REPAINT_COLD json_reader::event json_reader::value() {
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
    // As Python's json writes them.
    case 'N': real_ = std::numeric_limits<double>::quiet_NaN(); return word("NaN", event::real);
    case 'I': real_ = std::numeric_limits<double>::infinity(); return word("Infinity", event::real);
    case '-':
        if (text_.substr(at_, 2) == "-I") {
            real_ = -std::numeric_limits<double>::infinity();
            return word("-Infinity", event::real);
        }
        break;
    default: break;
    }
    if (peek() == '-' || is_digit(peek())) {
        const event kind = number();
        finish_value();
        return kind;
    }
    refuse(joined_text({"expected a value, found ", found()}));
}

REPAINT_COLD json_reader::event json_reader::word(std::string_view expected_word, event kind) {
    if (text_.substr(at_, expected_word.size()) != expected_word) {
        refuse(joined_text({"expected a value, found ", in_quotes(text_.substr(at_, expected_word.size()))}));
    }
    at_ += expected_word.size();
    finish_value();
    return kind;
}

REPAINT_COLD void json_reader::digits() {
    if (!is_digit(peek())) {
        refuse_here(joined_text({"expected a digit, found ", found()}));
    }
    while (is_digit(peek())) {
        ++at_;
    }
}

REPAINT_COLD json_reader::event json_reader::number() {
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
        refuse(joined_text({"a number of ", all.size(), " characters, accepted are up to 1024"}));
    }
    const char* const first = all.data();
    const char* const last = first + all.size();
    if (!whole) {
        if (std::from_chars(first, last, real_).ec != std::errc{}) {
            refuse(joined_text({"the number ", printable(all), " is out of the range of a double"}));
        }
        return event::real;
    }
    if (std::from_chars(first, last, integer_).ec == std::errc{}) {
        return event::integer;
    }
    if (all.front() != '-' && std::from_chars(first, last, unsigned_).ec == std::errc{}) {
        return event::unsigned_integer;
    }
    refuse(joined_text({"the integer ", printable(all), " does not fit 64 bits"}));
}

REPAINT_COLD void json_reader::read_string() {
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
            refuse_here(joined_text({"a control character inside a string must be escaped, found ", found()}));
        }
        if (c == '\\') {
            escapes = true;
            ++at_;
        }
    }
    const std::string_view raw = text_.substr(begin, at_ - begin);
    ++at_;
    if (raw.size() > longest_string) {
        refuse(joined_text({"a string of ", raw.size(), " bytes, accepted are up to ", longest_string}));
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

REPAINT_COLD void json_reader::unescape(std::string_view raw) {
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
        default: refuse(joined_text({"unknown escape sequence ", in_quotes(raw.substr(i - 1, 2)), " in a string"}));
        }
    }
}

REPAINT_COLD std::uint32_t json_reader::four_digits(std::string_view raw, std::size_t at) const {
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

REPAINT_COLD void json_reader::append_utf8(std::uint32_t code) {
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

} // namespace detail

} // namespace repaint
