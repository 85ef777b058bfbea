#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <turbojpeg.h>

#include <repaint/config.hpp>
#include <repaint/core/text.hpp>
#include <repaint/error.hpp>
#include <repaint/image/codecs.hpp>
#include <repaint/image/decoding.hpp>
#include <repaint/image/jpeg.hpp>
#include <repaint/image/pixels.hpp>
#include <repaint/io/bytes.hpp>

namespace repaint {

namespace detail {

/// What a walk over the segments of a JPEG file finds.
struct jpeg_outline : picture_outline {
    unsigned frame = 0; ///< the marker of the frame header, which names the compression
};

inline jpeg_outline outline_of_jpeg(std::span<const std::byte> file) {
    constexpr std::string_view exif_name("Exif\0\0", 6);
    jpeg_outline outline;
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
        const std::size_t length = number_at(file, at, 2, true);
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

REPAINT_INLINE picture decode_jpeg(std::span<const std::byte> file, const std::string& name, std::size_t max_pixels) {
    const jpeg_outline outline = outline_of_jpeg(file);
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
    return upright(std::move(p), outline.exif);
}

} // namespace detail

REPAINT_INLINE std::vector<std::uint8_t> encode_jpeg(const picture& p) {
    constexpr int quality = 95;
    constexpr int largest_side = 65500;
    const picture flat = over_white(p);
    if (flat.width > largest_side || flat.height > largest_side) {
        throw shape_error(joined_text({"encode_jpeg: a picture of ", detail::size_text(flat.width, flat.height),
                                       " pixels; a JPEG has at most ", largest_side, " a side, a PNG more"}));
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

} // namespace repaint
