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
#include <repaint/core/text.hpp>
#include <repaint/error.hpp>
#include <repaint/io/bytes.hpp>

namespace repaint {

namespace detail {

REPAINT_INLINE std::uint32_t number_at(std::span<const std::byte> bytes, std::size_t at, std::size_t length,
                                       bool big_endian) {
    std::uint32_t value = 0;
    for (std::size_t i = 0; i < length; ++i) {
        value = value << 8U | byte_at(bytes, at + (big_endian ? i : length - 1 - i));
    }
    return value;
}

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

REPAINT_INLINE void refuse(const std::string& path, const std::string& what) {
    throw format_error(joined_text({shown(path), ": ", what}));
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
