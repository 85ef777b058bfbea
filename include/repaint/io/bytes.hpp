#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>

#include <repaint/core/text.hpp>

namespace repaint {

namespace detail {

static_assert(std::endian::native == std::endian::little,
              "repaint maps little-endian files into memory and needs a little-endian host");

/// A value of type T from bytes that need not be aligned for it. The caller guarantees sizeof(T) readable bytes.
template <class T> T load(const std::byte* from) {
    T value;
    std::memcpy(&value, from, sizeof value);
    return value;
}

inline unsigned byte_at(std::span<const std::byte> bytes, std::size_t at) { return static_cast<unsigned>(bytes[at]); }

/// `length` bytes, 1 to 4, as an unsigned number. The caller guarantees that they are there.
std::uint32_t number_at(std::span<const std::byte> bytes, std::size_t at, std::size_t length, bool big_endian);

/// Sets result to a + b. Returns false, and leaves result as it is, when the sum overflows.
bool checked_add(std::uint64_t a, std::uint64_t b, std::uint64_t& result);

/// Sets result to a * b. Returns false, and leaves result as it is, when the product overflows.
bool checked_multiply(std::uint64_t a, std::uint64_t b, std::uint64_t& result);

/// The bytes as characters, without a copy.
std::string_view as_text(std::span<const std::byte> bytes);

/// The characters as bytes, without a copy.
std::span<const std::byte> as_bytes(std::string_view text);

/// The bytes as messages show them: "00 ff 12".
std::string hexadecimal(std::span<const std::byte> bytes);

/// Throws format_error "path: what".
[[noreturn]] void refuse(const std::string& path, const std::string& what);

/// CRC-32 as ZIP uses it (polynomial 0xEDB88320, reflected), eight bytes at a time (Kounavis and Berry 2005): a weight
/// file is summed at more than a gigabyte per second.
std::uint32_t crc32(std::span<const std::byte> bytes);

} // namespace detail

} // namespace repaint

#ifndef REPAINT_COMPILED
#include <repaint/io/bytes.ipp>
#endif
