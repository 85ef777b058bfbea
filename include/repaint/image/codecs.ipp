#pragma once

#include <algorithm>
#include <csetjmp>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <memory>
#include <new>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include <png.h>
#include <turbojpeg.h>

#include <repaint/config.hpp>
#include <repaint/core/text.hpp>
#include <repaint/error.hpp>
#include <repaint/image/codecs.hpp>
#include <repaint/image/picture.hpp>
#include <repaint/io/atomic_file.hpp>
#include <repaint/io/bytes.hpp>
#include <repaint/io/mapped_file.hpp>

namespace repaint {

namespace detail {

inline unsigned byte_at(std::span<const std::byte> bytes, std::size_t at) { return static_cast<unsigned>(bytes[at]); }

/// Two or four bytes as an unsigned number. The caller guarantees that they exist.
inline std::uint32_t number_at(std::span<const std::byte> bytes, std::size_t at, std::size_t length, bool big_endian) {
    std::uint32_t value = 0;
    for (std::size_t i = 0; i < length; ++i) {
        value = value << 8U | byte_at(bytes, at + (big_endian ? i : length - 1 - i));
    }
    return value;
}

inline std::uint32_t big_endian_16(std::span<const std::byte> bytes, std::size_t at) {
    return number_at(bytes, at, 2, true);
}

inline std::uint32_t big_endian_32(std::span<const std::byte> bytes, std::size_t at) {
    return number_at(bytes, at, 4, true);
}

REPAINT_INLINE int exif_orientation(std::span<const std::byte> tiff) {
    if (tiff.size() < 8) {
        return 1;
    }
    const bool big_endian = byte_at(tiff, 0) == 'M';
    if (byte_at(tiff, 0) != byte_at(tiff, 1) || (!big_endian && byte_at(tiff, 0) != 'I') ||
        number_at(tiff, 2, 2, big_endian) != 42) {
        return 1;
    }
    const std::size_t directory = number_at(tiff, 4, 4, big_endian);
    if (directory > tiff.size() - 2) {
        return 1;
    }
    const std::size_t entries = number_at(tiff, directory, 2, big_endian);
    for (std::size_t i = 0; i < entries; ++i) {
        const std::size_t entry = directory + 2 + 12 * i;
        if (entry + 12 > tiff.size()) {
            return 1;
        }
        constexpr std::uint32_t orientation_tag = 274;
        constexpr std::uint32_t short_type = 3;
        if (number_at(tiff, entry, 2, big_endian) == orientation_tag) {
            const std::uint32_t value = number_at(tiff, entry + 8, 2, big_endian);
            return number_at(tiff, entry + 2, 2, big_endian) == short_type && value >= 1 && value <= 8
                       ? static_cast<int>(value)
                       : 1;
        }
    }
    return 1;
}

/// What a walk over the chunks or segments of a file finds before a decoder sees it.
struct picture_outline {
    bool complete = false; // the end mark of the format was reached
    unsigned frame = 0;    // JPEG: the marker of the frame header, which names the compression
    std::span<const std::byte> exif;
};

inline picture_outline outline_of_png(std::span<const std::byte> file) {
    picture_outline outline;
    std::size_t at = 8;
    while (file.size() - at >= 12) {
        const std::size_t length = big_endian_32(file, at);
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

inline picture_outline outline_of_jpeg(std::span<const std::byte> file) {
    constexpr std::string_view exif_name("Exif\0\0", 6);
    picture_outline outline;
    std::size_t at = 2;
    while (file.size() - at >= 2) {
        const unsigned marker = byte_at(file, at + 1);
        // Entropy-coded data, its stuffed zeros and restart marks, and padding: everything that is no segment.
        if (byte_at(file, at) != 0xFF || marker == 0x00 || marker == 0xFF || marker == 0x01 ||
            (marker >= 0xD0 && marker <= 0xD8)) {
            at += byte_at(file, at) == 0xFF && marker != 0xFF ? std::size_t{2} : std::size_t{1};
            continue;
        }
        if (marker == 0xD9) {
            outline.complete = true;
            return outline;
        }
        at += 2;
        if (file.size() - at < 2) {
            return outline;
        }
        const std::size_t length = big_endian_16(file, at);
        if (length < 2 || length > file.size() - at) {
            return outline;
        }
        const auto body = file.subspan(at + 2, length - 2);
        if (marker == 0xE1 && outline.exif.empty() && as_text(body).starts_with(exif_name)) {
            outline.exif = body.subspan(exif_name.size());
        }
        if (marker >= 0xC0 && marker <= 0xCF && marker != 0xC4 && marker != 0xC8 && marker != 0xCC) {
            outline.frame = marker;
        }
        at += length;
    }
    return outline;
}

/// Refuses extents beyond the limits before anything is allocated for them.
inline void check_extents(const std::string& name, long long width, long long height, std::size_t max_pixels) {
    if (width < 1 || height < 1 || width > max_picture_side || height > max_picture_side ||
        static_cast<std::size_t>(width) * static_cast<std::size_t>(height) > max_pixels) {
        refuse(name, "claims " + size_text(width, height) + " pixels; sides are 1 to " +
                         std::to_string(max_picture_side) + ", and at most " + std::to_string(max_pixels) +
                         " pixels in all");
    }
}

/// Refuses extents that no file of this length can fill, so that a few bytes cannot ask for gigabytes.
inline void check_density(const std::string& name, int width, int height, std::size_t bytes, std::size_t least_bytes) {
    if (bytes < least_bytes) {
        refuse(name, "is cut off or damaged: " + std::to_string(bytes) + " bytes cannot hold " +
                         size_text(width, height) + " pixels");
    }
}

inline constexpr std::string_view cut_off = "is cut off: its end is missing";

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

/// A libpng writer, with the same rule for errors as png_reader.
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

inline picture decode_png(std::span<const std::byte> file, const std::string& name, std::size_t max_pixels) {
    const auto refuse_damaged = [&name](const png_reader& reader) {
        refuse(name, std::string("is a damaged PNG: ") + reader.message());
    };
    const picture_outline outline = outline_of_png(file);
    if (file.size() >= 24 && as_text(file.subspan(12, 4)) == "IHDR") {
        check_extents(name, big_endian_32(file, 16), big_endian_32(file, 20), max_pixels);
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
        refuse(name, "is a PNG with " + std::to_string(reader.channels()) + " channels in rows of " +
                         std::to_string(reader.row_bytes()) + " bytes; 8-bit grey and RGB are expected");
    }
    std::vector<png_bytep> rows(reader.height());
    for (std::size_t y = 0; y < rows.size(); ++y) {
        rows[y] = p.pixels.data() + y * reader.row_bytes();
    }
    if (!reader.read_pixels(rows.data())) {
        refuse_damaged(reader);
    }
    const int orientation = exif_orientation(outline.exif);
    return orientation == 1 ? p : oriented(p, orientation);
}

struct turbojpeg_destroyer {
    void operator()(void* handle) const { tjDestroy(handle); }
};

using turbojpeg_handle = std::unique_ptr<void, turbojpeg_destroyer>;

struct turbojpeg_freer {
    void operator()(unsigned char* bytes) const { tjFree(bytes); }
};

/// Warnings after which libjpeg has still read every pixel: stray bytes before the end mark, as cameras write them, and
/// header fields that do not matter.
inline bool is_harmless_jpeg_warning(std::string_view message) {
    constexpr auto npos = std::string_view::npos;
    return (message.find("extraneous bytes before marker 0xd9") != npos) ||
           (message.find("Invalid SOS parameters") != npos) || (message.find("JFIF revision") != npos) ||
           (message.find("Unknown Adobe color transform") != npos);
}

inline picture decode_jpeg(std::span<const std::byte> file, const std::string& name, std::size_t max_pixels) {
    const picture_outline outline = outline_of_jpeg(file);
    const turbojpeg_handle handle(tjInitDecompress());
    if (handle == nullptr) {
        throw std::bad_alloc();
    }
    const auto* bytes = reinterpret_cast<const unsigned char*>(file.data());
    const auto size = static_cast<unsigned long>(file.size());
    const auto refuse_damaged = [&] {
        refuse(name, std::string("is a damaged JPEG: ") + tjGetErrorStr2(handle.get()));
    };
    int width = -1;
    int height = -1;
    int subsampling = -1;
    int colours = -1;
    // TurboJPEG 2 calls an unusual subsampling an error, although it decodes it: what counts is that the rest is known.
    if (tjDecompressHeader3(handle.get(), bytes, size, &width, &height, &subsampling, &colours) != 0 &&
        (width < 1 || height < 1 || colours < 0)) {
        if (!outline.complete) {
            refuse(name, std::string(cut_off));
        }
        refuse_damaged();
    }
    check_extents(name, width, height, max_pixels);
    if (!outline.complete) {
        refuse(name, std::string(cut_off));
    }
    if (colours == TJCS_CMYK || colours == TJCS_YCCK) {
        refuse(name, "is a CMYK JPEG; grey and RGB are read");
    }
    // Huffman codes have a bit or more, and every 8 x 8 block has one for its mean. Arithmetic codes can be shorter.
    const bool arithmetic = outline.frame > 0xC8;
    const std::size_t pixels = static_cast<std::size_t>(width) * static_cast<std::size_t>(height);
    check_density(name, width, height, file.size(), arithmetic ? 0 : pixels / (8 * 64));
    picture p = blank_picture(width, height, colours == TJCS_GRAY ? 1 : 3);
    int flags = TJFLAG_ACCURATEDCT;
#ifdef TJFLAG_LIMITSCANS
    flags |= TJFLAG_LIMITSCANS;
#endif
    if (tjDecompress2(handle.get(), bytes, size, p.pixels.data(), width, width * p.channels, height,
                      p.channels == 1 ? TJPF_GRAY : TJPF_RGB, flags) != 0 &&
        (tjGetErrorCode(handle.get()) != TJERR_WARNING || !is_harmless_jpeg_warning(tjGetErrorStr2(handle.get())))) {
        refuse_damaged();
    }
    const int orientation = exif_orientation(outline.exif);
    return orientation == 1 ? p : oriented(p, orientation);
}

/// "PNG", "JPEG" or another format that a file's first bytes show, with its article; empty when none is known.
inline std::string_view picture_format(std::span<const std::byte> file) {
    const std::string_view text = as_text(file.first(std::min<std::size_t>(file.size(), 64)));
    const auto at = [text](std::size_t offset, std::string_view mark) {
        return text.size() >= offset && text.substr(offset).starts_with(mark);
    };
    if (at(0, "\x89PNG\r\n\x1A\n")) {
        return "PNG";
    }
    if (at(0, "\xFF\xD8\xFF")) {
        return "JPEG";
    }
    if (at(0, "GIF87a") || at(0, "GIF89a")) {
        return "a GIF";
    }
    if (at(0, "RIFF") && at(8, "WEBP")) {
        return "a WebP";
    }
    if (at(0, "BM")) {
        return "a BMP";
    }
    if (at(0, std::string_view("II*\0", 4)) || at(0, std::string_view("MM\0*", 4))) {
        return "a TIFF";
    }
    if (at(4, "ftyp")) {
        // The major brand and the compatible ones after its version.
        const std::string_view brands = text.substr(8);
        for (const std::string_view brand : {"avif", "avis"}) {
            if (brands.find(brand) != std::string_view::npos) {
                return "an AVIF";
            }
        }
        for (const std::string_view brand : {"heic", "heix", "hevc", "hevx", "heim", "heis", "mif1", "msf1"}) {
            if (brands.find(brand) != std::string_view::npos) {
                return "a HEIC";
            }
        }
    }
    if (at(0, "\xFF\x0A") || at(4, "JXL ")) {
        return "a JPEG XL";
    }
    if (at(4, "jP  ")) {
        return "a JPEG 2000";
    }
    return {};
}

} // namespace detail

REPAINT_INLINE picture decode_picture(std::span<const std::byte> bytes, std::string_view name, std::size_t max_pixels) {
    const std::string path(name);
    if (bytes.empty()) {
        detail::refuse(path, "is empty; PNG and JPEG are read");
    }
    const std::string_view format = detail::picture_format(bytes);
    if (format == "PNG") {
        return detail::decode_png(bytes, path, std::min(max_pixels, max_picture_pixels));
    }
    if (format == "JPEG") {
        return detail::decode_jpeg(bytes, path, std::min(max_pixels, max_picture_pixels));
    }
    if (format.empty()) {
        detail::refuse(path, "is not a picture that can be read: it starts with " +
                                 detail::hexadecimal(bytes.first(std::min<std::size_t>(bytes.size(), 8))) +
                                 "; PNG and JPEG are read");
    }
    detail::refuse(path, "is " + std::string(format) + " picture; PNG and JPEG are read");
}

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

REPAINT_INLINE std::vector<std::uint8_t> encode_jpeg(const picture& p) {
    constexpr int quality = 95;
    constexpr int largest_side = 65500;
    const picture flat = over_white(p);
    if (flat.width > largest_side || flat.height > largest_side) {
        throw shape_error("encode_jpeg: a picture of " + detail::size_text(flat.width, flat.height) +
                          " pixels; a JPEG has at most " + std::to_string(largest_side) + " a side, a PNG more");
    }
    const detail::turbojpeg_handle handle(tjInitCompress());
    if (handle == nullptr) {
        throw std::bad_alloc();
    }
    unsigned char* encoded = nullptr;
    unsigned long size = 0;
    const bool grey = flat.channels == 1;
    const int failed = tjCompress2(handle.get(), flat.pixels.data(), flat.width, flat.width * flat.channels,
                                   flat.height, grey ? TJPF_GRAY : TJPF_RGB, &encoded, &size,
                                   grey ? TJSAMP_GRAY : TJSAMP_444, quality, TJFLAG_ACCURATEDCT);
    const std::unique_ptr<unsigned char, detail::turbojpeg_freer> owned(encoded);
    if (failed != 0) {
        throw error(std::string("encode_jpeg: ") + tjGetErrorStr2(handle.get()));
    }
    return {encoded, encoded + size};
}

REPAINT_INLINE picture read_picture(const std::string& path) {
    const mapped_file file(path);
    return decode_picture(file.bytes(), path);
}

REPAINT_INLINE void write_picture(const std::string& path, const picture& p) {
    std::string extension = std::filesystem::path(path).extension();
    for (char& c : extension) {
        c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
    }
    const bool png = extension == ".png";
    if (!png && extension != ".jpg" && extension != ".jpeg") {
        throw std::invalid_argument(shown(path) + ": a picture is written to a name that ends in .png, .jpg or "
                                                  ".jpeg");
    }
    const std::vector<std::uint8_t> bytes = png ? encode_png(p) : encode_jpeg(p);
    write_file_atomically(path, std::as_bytes(std::span(bytes)));
}

} // namespace repaint
