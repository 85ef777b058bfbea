#pragma once

#include <csetjmp>
#include <cstddef>
#include <cstdint>
#include <cstring>
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
#include <repaint/image/pixels.hpp>
#include <repaint/image/png.hpp>
#include <repaint/io/bytes.hpp>

namespace repaint {

namespace detail {

inline picture_outline outline_of_png(std::span<const std::byte> file) {
    picture_outline outline;
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
        // Profiles and texts are not decoded: they cannot change a pixel, only cost memory.
        png_set_keep_unknown_chunks(png_, PNG_HANDLE_CHUNK_NEVER, nullptr, -1);
#endif
        png_read_info(png_, info_);
        return true;
    }

    /// Asks for 8-bit grey or RGB, with alpha where the file has it, and without gamma.
    bool prepare() {
        if (setjmp(png_jmpbuf(png_)) != 0) {
            return false;
        }
        png_set_expand(png_);
        png_set_scale_16(png_);
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

    bool write(const picture& p, int colour_type, png_bytep* rows) {
        if (setjmp(png_jmpbuf(png_)) != 0) {
            return false;
        }
        png_set_write_fn(png_, &exchange_, png_write, png_flush);
        png_set_IHDR(png_, info_, static_cast<png_uint_32>(p.width), static_cast<png_uint_32>(p.height), 8, colour_type,
                     PNG_INTERLACE_NONE, PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
        png_write_info(png_, info_);
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
    const picture_outline outline = outline_of_png(file);
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
    if (!reader.prepare()) {
        refuse_damaged(reader);
    }
    picture p = blank_picture(width, height, static_cast<int>(reader.channels()));
    if (p.channels < 1 || p.channels > 4 || reader.row_bytes() * reader.height() != p.pixels.size()) {
        refuse(name, joined_text({"is a PNG with ", reader.channels(), " channels in rows of ", reader.row_bytes(),
                                  " bytes; 8-bit grey and RGB are expected"}));
    }
    std::vector<png_bytep> rows(reader.height());
    for (std::size_t y = 0; y < rows.size(); ++y) {
        rows[y] = p.pixels.data() + y * reader.row_bytes();
    }
    if (!reader.read_pixels(rows.data())) {
        refuse_damaged(reader);
    }
    return upright(std::move(p), outline.exif);
}

} // namespace detail

REPAINT_INLINE std::vector<std::uint8_t> encode_png(const picture& p) {
    detail::check_picture(p, "encode_png");
    constexpr int colour_types[] = {PNG_COLOR_TYPE_GRAY, PNG_COLOR_TYPE_GRAY_ALPHA, PNG_COLOR_TYPE_RGB,
                                    PNG_COLOR_TYPE_RGB_ALPHA};
    const std::size_t row_bytes = static_cast<std::size_t>(p.width) * static_cast<std::size_t>(p.channels);
    std::vector<png_bytep> rows(static_cast<std::size_t>(p.height));
    for (std::size_t y = 0; y < rows.size(); ++y) {
        // libpng's type for rows is not const, but it only reads them.
        rows[y] = const_cast<png_bytep>(p.pixels.data()) + y * row_bytes;
    }
    std::vector<std::uint8_t> bytes;
    detail::png_writer writer(bytes);
    if (!writer.write(p, colour_types[p.channels - 1], rows.data())) {
        throw error(std::string("encode_png: ") + writer.message());
    }
    return bytes;
}

} // namespace repaint
