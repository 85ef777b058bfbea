#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include <repaint/io/bytes.hpp>

namespace repaint {

namespace detail {

/// Reads JSON (RFC 8259) as a stream of events. It keeps its place in the text and one string with its escapes
/// resolved, at most `longest_string` bytes. It is strict: UTF-8 only, no comments, no trailing commas, nothing after
/// the value, nesting up to 64. It does not compare keys; the receiver of the events refuses duplicates.
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

    /// How errors say where they are: by line and column in what people edit, by byte in the header of a file.
    enum class place { line_and_column, byte };

    static constexpr std::size_t longest_string = std::size_t{8} << 20U;
    static constexpr int deepest = 64;

    /// The text must outlive the reader. source is what messages call the text.
    json_reader(std::string_view text, std::string source, place where = place::line_and_column);

    /// The next event; `end` after the value. Throws format_error at the first character that is not JSON.
    event next();

    /// The key or string of the last event, unescaped. Valid until next().
    [[nodiscard]] std::string_view text() const { return string_; }
    [[nodiscard]] std::int64_t integer() const { return integer_; }
    [[nodiscard]] std::uint64_t unsigned_integer() const { return unsigned_; }
    [[nodiscard]] double real() const { return real_; }
    [[nodiscard]] bool boolean() const { return boolean_; }

    /// The line of the last event, counting from 1. Takes time in proportion to the text since the last call.
    [[nodiscard]] std::uint32_t line();

    /// Throws format_error with the place of the last event and a sentence about it.
    [[noreturn]] void refuse(const std::string& what) const;

private:
    enum class expected { value, first_key, first_element, comma_or_end, nothing };

    [[nodiscard]] char peek() const { return at_ < text_.size() ? text_[at_] : '\0'; }

    [[nodiscard]] std::string found() const;

    [[noreturn]] void refuse_here(const std::string& what);

    void skip_spaces();

    event open(event kind);

    event close(event kind);

    void finish_value();

    event after_value();

    event key();

    event value();

    event word(std::string_view expected_word, event kind);

    static bool is_digit(char c) { return c >= '0' && c <= '9'; }

    void digits();

    event number();

    void read_string();

    void unescape(std::string_view raw);

    [[nodiscard]] std::uint32_t four_digits(std::string_view raw, std::size_t at) const;

    void append_utf8(std::uint32_t code);

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

} // namespace detail

} // namespace repaint

#ifndef REPAINT_COMPILED
#include <repaint/io/json_reader.ipp>
#endif
