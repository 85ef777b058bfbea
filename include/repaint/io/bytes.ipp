#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <limits>
#include <span>
#include <string>
#include <string_view>

#include <repaint/config.hpp>
#include <repaint/error.hpp>
#include <repaint/io/bytes.hpp>

namespace repaint {

namespace detail {

REPAINT_INLINE bool checked_add(std::uint64_t a, std::uint64_t b, std::uint64_t& result) {
    if (b > std::numeric_limits<std::uint64_t>::max() - a) {
        return false;
    }
    result = a + b;
    return true;
}

REPAINT_INLINE bool checked_multiply(std::uint64_t a, std::uint64_t b, std::uint64_t& result) {
    if (a != 0 && b > std::numeric_limits<std::uint64_t>::max() / a) {
        return false;
    }
    result = a * b;
    return true;
}

REPAINT_INLINE std::string_view as_text(std::span<const std::byte> bytes) {
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

REPAINT_INLINE std::span<const std::byte> as_bytes(std::string_view text) {
    return {reinterpret_cast<const std::byte*>(text.data()), text.size()};
}

REPAINT_INLINE std::size_t utf8_sequence(std::string_view text, std::size_t at) {
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

REPAINT_INLINE bool is_utf8(std::string_view text) {
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

REPAINT_INLINE std::string printable(std::string_view text, std::size_t longest) {
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

REPAINT_INLINE std::string in_quotes(std::string_view text) { return '"' + printable(text) + '"'; }

REPAINT_INLINE std::string hexadecimal(std::span<const std::byte> bytes) {
    constexpr std::string_view digits = "0123456789abcdef";
    std::string out;
    for (const std::byte b : bytes) {
        const auto c = static_cast<unsigned>(b);
        out += out.empty() ? "" : " ";
        out += digits[c >> 4U];
        out += digits[c & 0xFU];
    }
    return out;
}

REPAINT_INLINE std::string shown(const std::string& path) { return printable(path, 1000); }

REPAINT_INLINE void refuse(const std::string& path, const std::string& what) {
    throw format_error(shown(path) + ": " + what);
}

REPAINT_INLINE std::uint32_t crc32(std::span<const std::byte> bytes) {
    constexpr auto tables = [] {
        std::array<std::array<std::uint32_t, 256>, 8> t{};
        for (std::uint32_t i = 0; i < 256; ++i) {
            std::uint32_t c = i;
            for (int bit = 0; bit < 8; ++bit) {
                c = (c & 1U) != 0 ? 0xEDB88320U ^ (c >> 1U) : c >> 1U;
            }
            t[0][i] = c;
        }
        // tables[k] is what a byte does to the sum when k more bytes follow it.
        for (std::size_t k = 1; k < 8; ++k) {
            for (std::size_t i = 0; i < 256; ++i) {
                t[k][i] = (t[k - 1][i] >> 8U) ^ t[0][t[k - 1][i] & 0xFFU];
            }
        }
        return t;
    }();
    std::uint32_t c = 0xFFFFFFFFU;
    const auto at = [&bytes](std::size_t i) { return static_cast<std::uint32_t>(bytes[i]); };
    std::size_t i = 0;
    for (; i + 8 <= bytes.size(); i += 8) {
        const std::uint32_t low = c ^ (at(i) | at(i + 1) << 8U | at(i + 2) << 16U | at(i + 3) << 24U);
        c = tables[7][low & 0xFFU] ^ tables[6][low >> 8U & 0xFFU] ^ tables[5][low >> 16U & 0xFFU] ^
            tables[4][low >> 24U] ^ tables[3][at(i + 4)] ^ tables[2][at(i + 5)] ^ tables[1][at(i + 6)] ^
            tables[0][at(i + 7)];
    }
    for (; i < bytes.size(); ++i) {
        c = tables[0][(c ^ at(i)) & 0xFFU] ^ (c >> 8U);
    }
    return c ^ 0xFFFFFFFFU;
}

} // namespace detail

} // namespace repaint
