#pragma once

#include <algorithm>
#include <array>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <limits>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include <repaint/config.hpp>
#include <repaint/core/host_tensor.hpp>
#include <repaint/core/text.hpp>
#include <repaint/io/atomic_file.hpp>
#include <repaint/io/bytes.hpp>
#include <repaint/io/mapped_file.hpp>
#include <repaint/io/npy.hpp>
#include <repaint/io/stored_tensor.hpp>

namespace repaint {

namespace detail {

/// Reads the header of a .npy file: a Python dictionary with exactly the keys descr, fortran_order and shape. Knows the
/// few literals that may stand there and evaluates nothing.
class npy_header {
public:
    npy_header(std::string_view text, const std::string& path) : text_(text), path_(path) {
        expect('{');
        bool has_type = false;
        bool has_order = false;
        bool has_shape = false;
        while (!accept('}')) {
            const std::string_view key = string();
            expect(':');
            bool* const has = key == "descr"           ? &has_type
                              : key == "fortran_order" ? &has_order
                              : key == "shape"         ? &has_shape
                                                       : nullptr;
            if (has == nullptr || std::exchange(*has, true)) {
                fail(joined_text({"the key ", in_quotes(key), " is unknown or there twice"}));
            }
            if (has == &has_type) {
                read_type();
            } else if (has == &has_order) {
                fortran_order = boolean();
            } else {
                read_shape();
            }
            if (!accept(',')) {
                expect('}');
                break;
            }
        }
        skip_spaces();
        if (at_ != text_.size() || !has_type || !has_order || !has_shape) {
            fail("expected a dictionary of descr, fortran_order and shape and nothing else");
        }
    }

    dtype type = dtype::f32;
    bool fortran_order = false;
    bool big_endian = false;
    std::vector<std::int64_t> shape;

private:
    [[noreturn]] void fail(const std::string& what) const {
        refuse(path_, joined_text({"npy header, byte ", at_, ": ", what}));
    }

    void skip_spaces() {
        while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\n')) {
            ++at_;
        }
    }

    bool accept(char c) {
        skip_spaces();
        const bool there = at_ < text_.size() && text_[at_] == c;
        at_ += there ? 1 : 0;
        return there;
    }

    void expect(char c) {
        if (!accept(c)) {
            fail(joined_text({std::string("expected \""), c, "\", found ", in_quotes(text_.substr(at_, 1))}));
        }
    }

    std::string_view string() {
        const char quote = accept('\'') ? '\'' : '"';
        if (quote == '"') {
            expect('"');
        }
        const std::size_t begin = at_;
        while (at_ < text_.size() && text_[at_] != quote) {
            ++at_;
        }
        const std::string_view inside = text_.substr(begin, at_ - begin);
        expect(quote);
        return inside;
    }

    bool boolean() {
        skip_spaces();
        for (const auto& [word, value] :
             {std::pair(std::string_view("True"), true), std::pair(std::string_view("False"), false)}) {
            if (text_.substr(at_, word.size()) == word) {
                at_ += word.size();
                return value;
            }
        }
        fail("\"fortran_order\" must be True or False");
    }

    void read_type() {
        using entry = std::pair<std::string_view, dtype>;
        constexpr std::array<entry, 12> accepted = {
            entry{"f4", dtype::f32}, entry{"f8", dtype::f64}, entry{"f2", dtype::f16}, entry{"u1", dtype::u8},
            entry{"i1", dtype::i8},  entry{"u2", dtype::u16}, entry{"i2", dtype::i16}, entry{"u4", dtype::u32},
            entry{"i4", dtype::i32}, entry{"u8", dtype::u64}, entry{"i8", dtype::i64}, entry{"b1", dtype::boolean}};
        skip_spaces();
        if (at_ < text_.size() && text_[at_] == '[') {
            fail("records are not accepted, expected one number type such as \"<f4\"");
        }
        const std::string_view found = string();
        for (const auto& [name, value] : accepted) {
            const bool one_byte = bits(value) == 8;
            if (found.size() == 3 && found.substr(1) == name &&
                (one_byte ? found[0] == '|' : found[0] == '<' || found[0] == '>')) {
                type = value;
                big_endian = found[0] == '>';
                return;
            }
        }
        fail(joined_text({"the type ", in_quotes(found),
                          " is not accepted, expected numbers: <f4 <f8 <f2 |u1 |i1 <u2 <i2 <u4 <i4 <u8 <i8 |b1"}));
    }

    void read_shape() {
        expect('(');
        while (!accept(')')) {
            skip_spaces();
            std::int64_t extent = -1;
            const char* const last = text_.data() + text_.size();
            const auto [end, wrong] = std::from_chars(text_.data() + at_, last, extent);
            if (wrong != std::errc{} || extent < 0 || text_[at_] == '-') {
                fail("\"shape\" must hold non-negative integers");
            }
            at_ = static_cast<std::size_t>(end - text_.data());
            shape.push_back(extent);
            if (shape.size() > 4) {
                fail("more than 4 dimensions, accepted are 1 to 4");
            }
            if (!accept(',')) {
                // A tuple of one is (n,): without the comma it would be a number.
                if (shape.size() == 1) {
                    fail("\"shape\" must be a tuple");
                }
                expect(')');
                break;
            }
        }
        if (shape.empty()) {
            fail("no dimensions, accepted are 1 to 4");
        }
    }

    std::string_view text_;
    const std::string& path_;
    std::size_t at_ = 0;
};

} // namespace detail

REPAINT_INLINE npy_array read_npy_array(const mapped_file& file) {
    using detail::refuse;
    const std::string& path = file.path();
    const std::span<const std::byte> bytes = file.bytes();
    if (!detail::as_text(bytes).starts_with("\x93NUMPY") || bytes.size() < 10) {
        refuse(path, "is not a .npy file, which starts with 93 4e 55 4d 50 59 and a version");
    }
    const auto version = static_cast<unsigned>(bytes[6]);
    if (version < 1 || version > 3 || bytes[7] != std::byte{0}) {
        refuse(path, joined_text({"is in .npy version ", version, ".", static_cast<unsigned>(bytes[7]),
                                  ", accepted are 1.0, 2.0 and 3.0"}));
    }
    const std::size_t start = version == 1 ? 10 : 12;
    constexpr std::size_t longest_header = 65535;
    if (bytes.size() < start) {
        refuse(path, "is cut off in its header");
    }
    const std::size_t length =
        version == 1 ? detail::load<std::uint16_t>(bytes.data() + 8) : detail::load<std::uint32_t>(bytes.data() + 8);
    if (length > longest_header || length > bytes.size() - start) {
        refuse(path, joined_text({"the npy header claims ", length, " bytes, accepted are up to ",
                                  std::min(longest_header, bytes.size() - start), " here"}));
    }
    detail::npy_header header(detail::as_text(bytes.subspan(start, length)), path);

    std::array<int, 4> extents = {1, 1, 1, 1};
    std::uint64_t needed = bits(header.type) / 8;
    bool fits = true;
    for (std::size_t axis = 0; axis < header.shape.size(); ++axis) {
        const std::int64_t extent = header.shape[axis];
        fits = fits && extent <= std::numeric_limits<int>::max() &&
               detail::checked_multiply(needed, static_cast<std::uint64_t>(extent), needed);
        extents[4 - header.shape.size() + axis] = fits ? static_cast<int>(extent) : 0;
    }
    const std::size_t present = bytes.size() - start - length;
    if (!fits || needed != present) {
        refuse(path, joined_text({"shape ", to_string(header.shape), " of ", to_string(header.type), " needs ",
                                  (fits ? std::to_string(needed) : std::string("too many")), " bytes, the file has ",
                                  present}));
    }
    stored_tensor stored;
    stored.shape = header.shape;
    stored.type = header.type;
    stored.strides = contiguous_strides(header.shape);
    stored.data = bytes.data() + start + length;
    if (header.fortran_order) {
        std::int64_t stride = 1;
        for (std::size_t axis = 0; axis < stored.shape.size() && stored.numel() != 0; ++axis) {
            stored.strides[axis] = stride;
            stride *= stored.shape[axis];
        }
    }
    std::vector<std::byte> swapped;
    if (header.big_endian) {
        swapped.assign(stored.data, stored.data + needed);
        const auto width = static_cast<std::ptrdiff_t>(bits(header.type) / 8);
        for (auto at = swapped.begin(); at != swapped.end(); at += width) {
            std::reverse(at, at + width);
        }
        stored.data = swapped.data();
    }
    npy_array result{host_tensor(shape4{extents[0], extents[1], extents[2], extents[3]}), header.type};
    detail::gather(stored, "npy", result.values.data());
    return result;
}

REPAINT_INLINE host_tensor read_npy(const mapped_file& file) { return read_npy_array(file).values; }

REPAINT_INLINE host_tensor read_npy(const std::string& path) { return read_npy(mapped_file(path)); }

namespace detail {

/// The values as T, rounded and clamped.
template <class T> std::vector<T> rounded(std::span<const float> values) {
    std::vector<T> result(values.size());
    for (std::size_t i = 0; i < values.size(); ++i) {
        const double most = std::numeric_limits<T>::max();
        result[i] = static_cast<T>(std::clamp(static_cast<double>(values[i]) + 0.5, 0.0, most));
    }
    return result;
}

} // namespace detail

REPAINT_INLINE void write_npy(const std::string& path, const host_tensor& tensor, dtype type) {
    if (type != dtype::f32 && type != dtype::u8 && type != dtype::u16) {
        throw std::invalid_argument(joined_text({"write_npy: the type must be F32, U8 or U16, got ", to_string(type)}));
    }
    const char* const descr = type == dtype::f32 ? "<f4" : type == dtype::u8 ? "|u1" : "<u2";
    std::string header =
        joined_text({"{'descr': '", descr, "', 'fortran_order': False, 'shape': ", to_string(tensor.shape()), ", }"});
    constexpr std::size_t start = 10;
    header.append(63 - (start + header.size()) % 64, ' ');
    header += '\n';
    const auto length = static_cast<std::uint16_t>(header.size());
    atomic_file file(path);
    file.write(detail::as_bytes(std::string_view("\x93NUMPY\x01\x00", 8)));
    file.write(std::as_bytes(std::span(&length, 1)));
    file.write(detail::as_bytes(header));
    if (type == dtype::u8) {
        const auto bytes = detail::rounded<std::uint8_t>(tensor.values());
        file.write(std::as_bytes(std::span(bytes)));
    } else if (type == dtype::u16) {
        const auto words = detail::rounded<std::uint16_t>(tensor.values());
        file.write(std::as_bytes(std::span(words)));
    } else {
        file.write(std::as_bytes(tensor.values()));
    }
    file.commit();
}

} // namespace repaint
