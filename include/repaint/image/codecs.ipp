#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <initializer_list>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include <repaint/config.hpp>
#include <repaint/core/text.hpp>
#include <repaint/image/codecs.hpp>
#include <repaint/image/jpeg.hpp>
#include <repaint/image/picture.hpp>
#include <repaint/image/png.hpp>
#include <repaint/io/atomic_file.hpp>
#include <repaint/io/bytes.hpp>
#include <repaint/io/mapped_file.hpp>

namespace repaint {

namespace detail {

/// The first bytes of a file, as text.
class file_start {
public:
    explicit file_start(std::span<const std::byte> file)
        : text_(as_text(file.first(std::min<std::size_t>(file.size(), 64)))) {}

    /// True when the mark stands at that offset.
    [[nodiscard]] bool has(std::string_view mark, std::size_t offset = 0) const {
        return text_.size() >= offset && text_.substr(offset).starts_with(mark);
    }

    /// True when the file is of the ISO base media format (HEIF) and the major or a compatible brand is one of these.
    [[nodiscard]] bool is_of(std::initializer_list<std::string_view> brands) const {
        if (!has("ftyp", 4)) {
            return false;
        }
        const std::string_view found = text_.substr(8);
        return std::any_of(brands.begin(), brands.end(),
                           [found](std::string_view brand) { return found.find(brand) != std::string_view::npos; });
    }

private:
    std::string_view text_;
};

/// A format of pictures that is known by its first bytes.
struct picture_format {
    const char* name; ///< as it completes "is ... picture"
    bool (*starts)(const file_start& start);
    /// Decodes a file of this format; null: the format is only known by name.
    picture (*decode)(std::span<const std::byte> file, const std::string& name, std::size_t max_pixels);
};

inline constexpr std::array picture_formats{
    picture_format{"a PNG", [](const file_start& s) { return s.has("\x89PNG\r\n\x1A\n"); }, decode_png},
    picture_format{"a JPEG", [](const file_start& s) { return s.has("\xFF\xD8\xFF"); }, decode_jpeg},
    picture_format{"a GIF", [](const file_start& s) { return s.has("GIF87a") || s.has("GIF89a"); }, nullptr},
    picture_format{"a WebP", [](const file_start& s) { return s.has("RIFF") && s.has("WEBP", 8); }, nullptr},
    picture_format{"a BMP", [](const file_start& s) { return s.has("BM"); }, nullptr},
    picture_format{
        "a TIFF",
        [](const file_start& s) { return s.has(std::string_view("II*\0", 4)) || s.has(std::string_view("MM\0*", 4)); },
        nullptr},
    picture_format{"an AVIF",
                   [](const file_start& s) {
                       return s.is_of({"avif", "avis"});
                   },
                   nullptr},
    picture_format{"a HEIC",
                   [](const file_start& s) {
                       return s.is_of({"heic", "heix", "hevc", "hevx", "heim", "heis", "mif1", "msf1"});
                   },
                   nullptr},
    picture_format{"a JPEG XL", [](const file_start& s) { return s.has("\xFF\x0A") || s.has("JXL ", 4); }, nullptr},
    picture_format{"a JPEG 2000", [](const file_start& s) { return s.has("jP  ", 4); }, nullptr},
};

/// The formats that decode_picture reads, for messages.
inline constexpr const char* formats_read = "PNG and JPEG are read";

} // namespace detail

REPAINT_COLD picture decode_picture(std::span<const std::byte> bytes, std::string_view name, std::size_t max_pixels) {
    const std::string path(name);
    if (bytes.empty()) {
        detail::refuse(path, std::string("is empty; ") + detail::formats_read);
    }
    const detail::file_start start(bytes);
    for (const auto& format : detail::picture_formats) {
        if (format.starts(start)) {
            if (format.decode == nullptr) {
                detail::refuse(path,
                               joined_text({std::string("is "), format.name, " picture; ", detail::formats_read}));
            }
            return format.decode(bytes, path, std::min(max_pixels, max_picture_pixels));
        }
    }
    detail::refuse(path, joined_text({"is not a picture that can be read: it starts with ",
                                      detail::hexadecimal(bytes.first(std::min<std::size_t>(bytes.size(), 8))), "; ",
                                      detail::formats_read}));
}

REPAINT_COLD picture read_picture(const std::string& path) {
    const mapped_file file(path);
    return decode_picture(file.bytes(), path);
}

REPAINT_COLD void write_picture(const std::string& path, const picture& p, int quality) {
    const std::string extension = lower_case(std::filesystem::path(path).extension());
    const bool png = extension == ".png";
    if (!png && extension != ".jpg" && extension != ".jpeg") {
        throw std::invalid_argument(
            joined_text({shown(path), ": a picture is written to a name that ends in .png, .jpg or "
                                      ".jpeg"}));
    }
    const std::vector<std::uint8_t> bytes = png ? encode_png(p) : encode_jpeg(p, quality);
    write_file_atomically(path, std::as_bytes(std::span(bytes)));
}

} // namespace repaint
