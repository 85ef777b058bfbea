#pragma once

#include <array>
#include <cstddef>
#include <cstdio>
#include <cstring>
#include <string>
#include <string_view>

#include <repaint/config.hpp>
#include <repaint/core/text.hpp>

namespace repaint {

REPAINT_COLD std::size_t utf8_sequence(std::string_view text, std::size_t at) {
    const auto byte = [&](std::size_t i) {
        return at + i < text.size() ? static_cast<unsigned>(static_cast<unsigned char>(text[at + i])) : 0U;
    };
    const auto continues = [&](std::size_t i) { return (byte(i) & 0xC0U) == 0x80U; };
    const unsigned first = byte(0);
    if (first < 0x80U) {
        return at < text.size() ? 1 : 0;
    }
    if (first >= 0xC2U && first <= 0xDFU) {
        return continues(1) ? 2 : 0;
    }
    if (first >= 0xE0U && first <= 0xEFU) {
        const unsigned lowest = first == 0xE0U ? 0xA0U : 0x80U;  // no overlong forms
        const unsigned highest = first == 0xEDU ? 0x9FU : 0xBFU; // no surrogates
        return byte(1) >= lowest && byte(1) <= highest && continues(2) ? 3 : 0;
    }
    if (first >= 0xF0U && first <= 0xF4U) {
        const unsigned lowest = first == 0xF0U ? 0x90U : 0x80U;
        const unsigned highest = first == 0xF4U ? 0x8FU : 0xBFU; // nothing above U+10FFFF
        return byte(1) >= lowest && byte(1) <= highest && continues(2) && continues(3) ? 4 : 0;
    }
    return 0;
}

REPAINT_COLD bool is_utf8(std::string_view text) {
    std::size_t i = 0;
    while (i < text.size()) {
        // Eight ASCII characters at a time: names and configurations hold little else.
        while (text.size() - i >= 8) {
            std::uint64_t eight;
            std::memcpy(&eight, text.data() + i, 8);
            if ((eight & 0x8080808080808080U) != 0) {
                break;
            }
            i += 8;
        }
        if (i == text.size()) {
            break;
        }
        const std::size_t length = utf8_sequence(text, i);
        if (length == 0) {
            return false;
        }
        i += length;
    }
    return true;
}

REPAINT_COLD std::string printable(std::string_view text, std::size_t longest) {
    constexpr std::string_view digits = "0123456789abcdef";
    std::string out;
    std::size_t i = 0;
    while (i < text.size()) {
        if (out.size() >= longest) {
            return out + "...";
        }
        const auto first = static_cast<unsigned char>(text[i]);
        const std::size_t length = utf8_sequence(text, i);
        const bool c1_control = length == 2 && first == 0xC2U && static_cast<unsigned char>(text[i + 1]) < 0xA0U;
        const bool line_end = length == 3 && first == 0xE2U && static_cast<unsigned char>(text[i + 1]) == 0x80U &&
                              (static_cast<unsigned char>(text[i + 2]) & 0xFEU) == 0xA8U;
        if (length == 0 || first < 0x20U || first == 0x7FU || c1_control || line_end) {
            for (std::size_t k = 0; k < (length == 0 ? 1 : length); ++k) {
                const auto c = static_cast<unsigned char>(text[i + k]);
                out += "\\x";
                out += digits[c >> 4U];
                out += digits[c & 0xFU];
            }
        } else {
            out += text.substr(i, length);
        }
        i += length == 0 ? 1 : length;
    }
    return out;
}

REPAINT_COLD std::string in_quotes(std::string_view text) { return '"' + printable(text) + '"'; }

REPAINT_COLD std::string shown(const std::string& path) { return printable(path, 1000); }

REPAINT_COLD std::string json_string(std::string_view text) {
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

REPAINT_COLD std::string shortest_text(double value) {
    std::array<char, 32> text{};
    std::snprintf(text.data(), text.size(), "%.9g", value);
    return text.data();
}

REPAINT_COLD std::string quoted(std::string_view text) {
    constexpr std::size_t most = 60;
    // Appended piece by piece: g++ 12 sees an overlap in "..." + std::string that is not there.
    std::string result = "\"";
    result += text.substr(0, most);
    result += text.size() > most ? "...\"" : "\"";
    return result;
}

REPAINT_COLD std::string lower_case(std::string text) {
    for (char& c : text) {
        c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
    }
    return text;
}

REPAINT_COLD void text_part::append_to(std::string& text) const {
    switch (kind_) {
    case kind::text: text.append(text_, size_); break;
    case kind::letter: text.push_back(letter_); break;
    case kind::whole: text += std::to_string(whole_); break;
    case kind::natural: text += std::to_string(natural_); break;
    case kind::real: text += std::to_string(real_); break;
    }
}

REPAINT_COLD std::string joined_text(std::initializer_list<text_part> parts) {
    std::string text;
    for (const text_part& part : parts) {
        part.append_to(text);
    }
    return text;
}

} // namespace repaint
