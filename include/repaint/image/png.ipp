#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <csetjmp>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <new>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <png.h>

#include <repaint/config.hpp>
#include <repaint/core/text.hpp>
#include <repaint/error.hpp>
#include <repaint/image/codecs.hpp>
#include <repaint/image/decoding.hpp>
#include <repaint/image/exif.hpp>
#include <repaint/image/pixels.hpp>
#include <repaint/image/png.hpp>
#include <repaint/io/bytes.hpp>

namespace repaint {

namespace detail {

/// What a walk over the chunks of a PNG file finds.
struct png_outline : picture_outline {
    std::vector<picture_metadata::piece> pieces; ///< what says something about the picture
};

/// Whether a chunk says something about the picture that is true of it when its hole is filled.
inline bool is_png_metadata(std::string_view type) {
    static constexpr std::array<std::string_view, 14> kept{"gAMA", "cHRM", "sRGB", "iCCP", "cICP", "mDCV", "cLLI",
                                                           "pHYs", "tEXt", "zTXt", "iTXt", "eXIf", "oFFs", "sPLT"};
    return std::find(kept.begin(), kept.end(), type) != kept.end();
}

inline png_outline outline_of_png(std::span<const std::byte> file) {
    png_outline outline;
    std::size_t at = 8;
    while (file.size() - at >= 12) {
        const std::size_t length = number_at(file, at, 4, true);
        const std::string_view type = as_text(file.subspan(at + 4, 4));
        if (length > file.size() - at - 12) {
            return outline;
        }
        if (type == "eXIf" && outline.exif.empty()) {
            outline.exif = file.subspan(at + 8, length);
        }
        if (is_png_metadata(type)) {
            const auto data = file.subspan(at + 8, length);
            outline.pieces.push_back({std::string(type), {data.begin(), data.end()}});
        }
        if (type == "IEND") {
            outline.complete = true;
            return outline;
        }
        at += length + 12;
    }
    return outline;
}

/// What libpng's callbacks know: they run inside libpng, so they neither throw nor own anything.
struct png_exchange {
    const std::byte* bytes = nullptr;
    std::size_t left = 0;
    std::vector<std::uint8_t>* written = nullptr;
    char message[128] = {};
};

inline void png_failed(png_structp png, png_const_charp message) {
    auto* exchange = static_cast<png_exchange*>(png_get_error_ptr(png));
    std::strncpy(exchange->message, message, sizeof exchange->message - 1);
    png_longjmp(png, 1);
}

inline void png_warned(png_structp, png_const_charp) {}

inline void png_read(png_structp png, png_bytep to, png_size_t length) {
    auto* exchange = static_cast<png_exchange*>(png_get_io_ptr(png));
    if (length > exchange->left) {
        png_error(png, "the end is missing");
    }
    std::memcpy(to, exchange->bytes, length);
    exchange->bytes += length;
    exchange->left -= length;
}

inline bool png_append(std::vector<std::uint8_t>& bytes, const std::uint8_t* from, std::size_t length) noexcept {
    try {
        bytes.insert(bytes.end(), from, from + length);
        return true;
    } catch (...) {
        return false;
    }
}

inline void png_write(png_structp png, png_bytep from, png_size_t length) {
    if (!png_append(*static_cast<png_exchange*>(png_get_io_ptr(png))->written, from, length)) {
        png_error(png, "out of memory");
    }
}

inline void png_flush(png_structp) {}

/// A libpng reader. libpng reports errors by longjmp into the member function that called it; those functions hold no
/// object with a destructor, and everything that has one lives in this class or in its caller.
class png_reader {
public:
    explicit png_reader(std::span<const std::byte> file) {
        exchange_.bytes = file.data();
        exchange_.left = file.size();
        png_ = png_create_read_struct(PNG_LIBPNG_VER_STRING, &exchange_, png_failed, png_warned);
        info_ = png_ == nullptr ? nullptr : png_create_info_struct(png_);
        if (info_ == nullptr) {
            png_destroy_read_struct(&png_, &info_, nullptr);
            throw std::bad_alloc();
        }
    }

    png_reader(const png_reader&) = delete;
    png_reader& operator=(const png_reader&) = delete;
    ~png_reader() { png_destroy_read_struct(&png_, &info_, nullptr); }

    /// Reads up to the pixels. False when libpng refuses, for message().
    bool read_header() {
        if (setjmp(png_jmpbuf(png_)) != 0) {
            return false;
        }
        png_set_read_fn(png_, &exchange_, png_read);
        png_set_user_limits(png_, max_picture_side, max_picture_side);
#ifdef PNG_SET_UNKNOWN_CHUNKS_SUPPORTED
        // Texts are not decoded: they cannot change a pixel, only cost memory. A profile is, for files of other formats.
        png_set_keep_unknown_chunks(png_, PNG_HANDLE_CHUNK_NEVER, nullptr, -1);
        png_set_keep_unknown_chunks(png_, PNG_HANDLE_CHUNK_AS_DEFAULT, reinterpret_cast<png_const_bytep>("iCCP"), 1);
#endif
        png_read_info(png_, info_);
        return true;
    }

    /// Asks for 8-bit or 16-bit grey or RGB, with alpha where the file has it, and without gamma.
    bool prepare() {
        if (setjmp(png_jmpbuf(png_)) != 0) {
            return false;
        }
        png_set_expand(png_);
        if constexpr (std::endian::native == std::endian::little) {
            png_set_swap(png_); // of 16 bits
        }
        png_set_interlace_handling(png_);
        png_read_update_info(png_, info_);
        return true;
    }

    bool read_pixels(png_bytep* rows) {
        if (setjmp(png_jmpbuf(png_)) != 0) {
            return false;
        }
        png_read_image(png_, rows);
        png_read_end(png_, nullptr);
        return true;
    }

    [[nodiscard]] std::size_t width() const { return png_get_image_width(png_, info_); }
    [[nodiscard]] std::size_t height() const { return png_get_image_height(png_, info_); }
    [[nodiscard]] std::vector<std::byte> profile() const {
        png_charp name = nullptr;
        int compression = 0;
        png_bytep bytes = nullptr;
        png_uint_32 length = 0;
        if (png_get_iCCP(png_, info_, &name, &compression, &bytes, &length) == 0) {
            return {};
        }
        const auto* from = reinterpret_cast<const std::byte*>(bytes);
        return {from, from + length};
    }
    [[nodiscard]] int bits() const { return png_get_bit_depth(png_, info_); }
    [[nodiscard]] std::size_t channels() const { return png_get_channels(png_, info_); }
    [[nodiscard]] std::size_t row_bytes() const { return png_get_rowbytes(png_, info_); }
    [[nodiscard]] const char* message() const { return exchange_.message; }

private:
    png_exchange exchange_;
    png_structp png_ = nullptr;
    png_infop info_ = nullptr;
};

/// A libpng writer. What png_reader says about errors and destructors is true of it, too.
class png_writer {
public:
    explicit png_writer(std::vector<std::uint8_t>& written) {
        exchange_.written = &written;
        png_ = png_create_write_struct(PNG_LIBPNG_VER_STRING, &exchange_, png_failed, png_warned);
        info_ = png_ == nullptr ? nullptr : png_create_info_struct(png_);
        if (info_ == nullptr) {
            png_destroy_write_struct(&png_, &info_);
            throw std::bad_alloc();
        }
    }

    png_writer(const png_writer&) = delete;
    png_writer& operator=(const png_writer&) = delete;
    ~png_writer() { png_destroy_write_struct(&png_, &info_); }

    bool write(const picture& p, int bits, int colour_type, png_bytep* rows) {
        if (setjmp(png_jmpbuf(png_)) != 0) {
            return false;
        }
        png_set_write_fn(png_, &exchange_, png_write, png_flush);
        png_set_IHDR(png_, info_, static_cast<png_uint_32>(p.width), static_cast<png_uint_32>(p.height), bits,
                     colour_type, PNG_INTERLACE_NONE, PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
        png_write_info(png_, info_);
        if (bits == 16 && std::endian::native == std::endian::little) {
            png_set_swap(png_);
        }
        png_write_image(png_, rows);
        png_write_end(png_, nullptr);
        return true;
    }

    [[nodiscard]] const char* message() const { return exchange_.message; }

private:
    png_exchange exchange_;
    png_structp png_ = nullptr;
    png_infop info_ = nullptr;
};

REPAINT_INLINE picture decode_png(std::span<const std::byte> file, const std::string& name, std::size_t max_pixels) {
    const auto refuse_damaged = [&name](const png_reader& reader) {
        refuse(name, std::string("is a damaged PNG: ") + reader.message());
    };
    png_outline outline = outline_of_png(file);
    if (file.size() >= 24 && as_text(file.subspan(12, 4)) == "IHDR") {
        check_extents(name, number_at(file, 16, 4, true), number_at(file, 20, 4, true), max_pixels);
    }
    if (!outline.complete) {
        refuse(name, std::string(cut_off));
    }
    png_reader reader(file);
    if (!reader.read_header()) {
        refuse_damaged(reader);
    }
    const auto width = static_cast<int>(reader.width());
    const auto height = static_cast<int>(reader.height());
    check_extents(name, width, height, max_pixels);
    constexpr std::size_t largest_deflate_ratio = 1032; // 258 bytes from two bits
    check_density(name, width, height, file.size(), reader.height() * reader.row_bytes() / largest_deflate_ratio);
    const auto metadata = std::make_shared<picture_metadata>();
    metadata->bits = reader.bits();
    metadata->icc = reader.profile();
    if (!reader.prepare()) {
        refuse_damaged(reader);
    }
    picture p = blank_picture(width, height, static_cast<int>(reader.channels()));
    const std::size_t bytes = reader.bits() == 16 ? 2 : 1;
    if (p.channels < 1 || p.channels > 4 || reader.row_bytes() * reader.height() != bytes * p.pixels.size()) {
        refuse(name, joined_text({"is a PNG with ", reader.channels(), " channels in rows of ", reader.row_bytes(),
                                  " bytes; grey and RGB of 8 or 16 bits are expected"}));
    }
    std::vector<png_bytep> rows(reader.height());
    p.deep.resize(bytes == 2 ? p.pixels.size() : 0);
    auto* const first = bytes == 2 ? reinterpret_cast<png_bytep>(p.deep.data()) : p.pixels.data();
    for (std::size_t y = 0; y < rows.size(); ++y) {
        rows[y] = first + y * reader.row_bytes();
    }
    if (!reader.read_pixels(rows.data())) {
        refuse_damaged(reader);
    }
    std::transform(p.deep.begin(), p.deep.end(), bytes == 2 ? p.pixels.begin() : p.pixels.end(), to_8_bits);
    metadata->exif = upright_exif(outline.exif);
    metadata->pieces = std::move(outline.pieces);
    for (auto& piece : metadata->pieces) {
        constexpr std::string_view xmp("XML:com.adobe.xmp\0\0\0\0\0", 22); // not compressed, no language
        if (piece.type == "eXIf") {
            piece.data = metadata->exif;
        } else if (piece.type == "iTXt" && as_text(piece.data).starts_with(xmp)) {
            metadata->xmp = as_text(piece.data).substr(xmp.size());
        }
    }
    p.metadata = metadata;
    return upright(std::move(p), outline.exif);
}

/// The signature and IHDR.
inline constexpr std::ptrdiff_t png_header_bytes = 8 + 25;

/// A zlib stream (RFC 1950) that holds the bytes as they are.
inline void append_stored_zlib(std::vector<std::byte>& to, std::span<const std::byte> bytes) {
    const auto append = [&to](unsigned value) { to.push_back(static_cast<std::byte>(value)); };
    append(0x78);
    append(0x01);
    std::uint32_t a = 1;
    std::uint32_t b = 0;
    for (const std::byte byte : bytes) {
        a = (a + static_cast<std::uint32_t>(byte)) % 65521U;
        b = (b + a) % 65521U;
    }
    constexpr std::size_t longest = 65535;
    for (std::size_t at = 0; at == 0 || at < bytes.size(); at += longest) {
        const std::size_t length = std::min(longest, bytes.size() - at);
        append(at + length == bytes.size() ? 1 : 0);
        append(static_cast<unsigned>(length & 0xFFU));
        append(static_cast<unsigned>(length >> 8U));
        append(static_cast<unsigned>(~length & 0xFFU));
        append(static_cast<unsigned>(~length >> 8U & 0xFFU));
        to.insert(to.end(), bytes.begin() + static_cast<std::ptrdiff_t>(at),
                  bytes.begin() + static_cast<std::ptrdiff_t>(at + length));
    }
    for (const std::uint32_t half : {b, a}) {
        append(half >> 8U);
        append(half & 0xFFU);
    }
}

inline void append_chunk(std::vector<std::uint8_t>& to, std::string_view type, std::span<const std::byte> data) {
    const auto append_number = [&to](std::size_t value) {
        for (unsigned shift = 32; shift > 0;) {
            shift -= 8;
            to.push_back(static_cast<std::uint8_t>(value >> shift & 0xFFU));
        }
    };
    append_number(data.size());
    const std::size_t begin = to.size();
    to.insert(to.end(), type.begin(), type.end());
    for (const std::byte b : data) {
        to.push_back(static_cast<std::uint8_t>(b));
    }
    append_number(crc32(std::as_bytes(std::span(to).subspan(begin))));
}

/// The chunks that say beside the pixels what the picture's file said.
inline std::vector<std::uint8_t> png_pieces(const picture& p) {
    std::vector<std::uint8_t> bytes;
    if (p.metadata == nullptr) {
        return bytes;
    }
    if (p.metadata->format == file_format::png) {
        for (const auto& piece : p.metadata->pieces) {
            append_chunk(bytes, piece.type, piece.data);
        }
        return bytes;
    }
    if (!p.metadata->icc.empty()) {
        // "ICC profile", a zero, method 0, and a zlib stream, of stored blocks: nothing has to be compressed.
        std::vector<std::byte> data;
        for (const char c : std::string_view("ICC profile\0\0", 13)) {
            data.push_back(static_cast<std::byte>(c));
        }
        append_stored_zlib(data, p.metadata->icc);
        append_chunk(bytes, "iCCP", data);
    }
    if (!p.metadata->xmp.empty()) {
        const std::string text = std::string("XML:com.adobe.xmp\0\0\0\0\0", 22) + p.metadata->xmp;
        append_chunk(bytes, "iTXt", as_bytes(text));
    }
    if (!p.metadata->exif.empty()) {
        append_chunk(bytes, "eXIf", p.metadata->exif);
    }
    return bytes;
}

} // namespace detail

REPAINT_INLINE std::vector<std::uint8_t> encode_png(const picture& p) {
    detail::check_picture(p, "encode_png");
    constexpr int colour_types[] = {PNG_COLOR_TYPE_GRAY, PNG_COLOR_TYPE_GRAY_ALPHA, PNG_COLOR_TYPE_RGB,
                                    PNG_COLOR_TYPE_RGB_ALPHA};
    const int bits = p.deep.empty() ? 8 : 16;
    const std::size_t row_bytes =
        static_cast<std::size_t>(p.width) * static_cast<std::size_t>(p.channels) * static_cast<std::size_t>(bits / 8);
    // libpng's type for rows is not const, but it only reads them.
    auto* const first = bits == 8 ? const_cast<png_bytep>(p.pixels.data())
                                  : reinterpret_cast<png_bytep>(const_cast<std::uint16_t*>(p.deep.data()));
    std::vector<png_bytep> rows(static_cast<std::size_t>(p.height));
    for (std::size_t y = 0; y < rows.size(); ++y) {
        rows[y] = first + y * row_bytes;
    }
    std::vector<std::uint8_t> bytes;
    detail::png_writer writer(bytes);
    if (!writer.write(p, bits, colour_types[p.channels - 1], rows.data())) {
        throw error(std::string("encode_png: ") + writer.message());
    }
    const auto pieces = detail::png_pieces(p);
    bytes.insert(bytes.begin() + detail::png_header_bytes, pieces.begin(), pieces.end());
    return bytes;
}

} // namespace repaint
