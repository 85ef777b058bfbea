#pragma once

#include <cstddef>
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

/// The text in quotes, cut where it would flood an error message.
std::string quoted(std::string_view text);

} // namespace repaint

#ifndef REPAINT_COMPILED
#include <repaint/core/text.ipp>
#endif
