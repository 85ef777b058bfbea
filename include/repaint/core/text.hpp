#pragma once

#include <cstddef>
#include <cstring>
#include <initializer_list>
#include <string>
#include <string_view>

/// Text from files, people and numbers as it may stand in a one-line message.
namespace repaint {

/// Length of the well-formed UTF-8 sequence (RFC 3629) at text[at], 0 when there is none.
std::size_t utf8_sequence(std::string_view text, std::size_t at);

/// True when the whole text is well-formed UTF-8.
bool is_utf8(std::string_view text);

/// Text from a file as it may stand inside a one-line message: control characters and malformed UTF-8 as
/// hexadecimal escapes, cut after `longest` bytes.
std::string printable(std::string_view text, std::size_t longest = 80);

/// printable(text) between double quotes.
std::string in_quotes(std::string_view text);

/// The text with A to Z as a to z, whatever the locale.
std::string lower_case(std::string text);

/// A path as it stands in messages.
std::string shown(const std::string& path);

/// text as a JSON string with its quotes. The text must be UTF-8.
std::string json_string(std::string_view text);

/// A number as messages show it, with nine digits at most.
std::string shortest_text(double value);

/// A piece of joined_text: text, or a number as std::to_string writes it. It refers to the text, and lives no longer than
/// the expression it stands in.
class text_part {
public:
    // NOLINTBEGIN(google-explicit-constructor): to be written as what they stand for
    text_part(const char* text) : text_(text), size_(std::strlen(text)) {}
    text_part(std::string_view text) : text_(text.data()), size_(text.size()) {}
    text_part(const std::string& text) : text_(text.data()), size_(text.size()) {}
    text_part(char letter) : letter_(letter), kind_(kind::letter) {}
    text_part(int number) : text_part(static_cast<long long>(number)) {}
    text_part(long number) : text_part(static_cast<long long>(number)) {}
    text_part(long long number) : whole_(number), kind_(kind::whole) {}
    text_part(unsigned number) : text_part(static_cast<unsigned long long>(number)) {}
    text_part(unsigned long number) : text_part(static_cast<unsigned long long>(number)) {}
    text_part(unsigned long long number) : natural_(number), kind_(kind::natural) {}
    text_part(double number) : real_(number), kind_(kind::real) {}
    text_part(bool) = delete;
    // NOLINTEND(google-explicit-constructor)
    text_part(const text_part&) = delete;
    text_part& operator=(const text_part&) = delete;
    ~text_part() = default;

    void append_to(std::string& text) const;

private:
    enum class kind : unsigned char { text, letter, whole, natural, real };

    union {
        const char* text_;
        char letter_;
        long long whole_;
        unsigned long long natural_;
        double real_;
    };
    std::size_t size_ = 0;
    kind kind_ = kind::text;
};

/// The parts, one after the other. One call where a chain of + would be many: messages are most of what checks compile to.
std::string joined_text(std::initializer_list<text_part> parts);

/// The text in quotes, cut where it would flood an error message.
std::string quoted(std::string_view text);

} // namespace repaint

#ifndef REPAINT_COMPILED
#include <repaint/core/text.ipp>
#endif
