#pragma once

#include <algorithm>
#include <array>
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
#include <repaint/image/exif.hpp>
#include <repaint/image/jpeg.hpp>
#include <repaint/image/pixels.hpp>
#include <repaint/io/bytes.hpp>

namespace repaint {

namespace detail {

/// What a walk over the segments of a JPEG file finds.
struct jpeg_outline : picture_outline {
    unsigned frame = 0; ///< the marker of the frame header, which names the compression
    bool adobe = false; ///< an Adobe segment: CMYK is inverted
    std::vector<picture_metadata::piece> pieces;
    std::vector<std::pair<unsigned, std::span<const std::byte>>> profile; ///< parts of an ICC profile, numbered
    std::string xmp;
    std::array<unsigned, 64> luma_table{}; ///< quantisation of luma, in zigzag order; zeros: none that has 8 bits
};

inline constexpr std::string_view jpeg_exif_name("Exif\0\0", 6);
inline constexpr std::string_view jpeg_profile_name("ICC_PROFILE\0", 12);
inline constexpr std::string_view jpeg_xmp_name("http://ns.adobe.com/xap/1.0/\0", 29);
inline constexpr std::size_t longest_segment = 65533;

/// Takes what a segment says beside the pixels.
inline void take_segment(jpeg_outline& outline, unsigned marker, std::span<const std::byte> body) {
    const std::string_view text = as_text(body);
    if (marker == 0xEE && text.starts_with("Adobe")) {
        outline.adobe = true;
        return; // it says how the pixels are coded
    }
    if (marker == 0xDB) {
        for (std::size_t at = 0; at + 65 <= body.size() && byte_at(body, at) < 16; at += 65) {
            if (byte_at(body, at) == 0) {
                for (std::size_t i = 0; i < 64; ++i) {
                    outline.luma_table[i] = byte_at(body, at + 1 + i);
                }
            }
        }
        return;
    }
    if (marker == 0xE1 && text.starts_with(jpeg_exif_name)) {
        if (outline.exif.empty()) {
            outline.exif = body.subspan(jpeg_exif_name.size());
        }
    } else if (marker == 0xE1 && text.starts_with(jpeg_xmp_name)) {
        outline.xmp = text.substr(jpeg_xmp_name.size());
    } else if (marker == 0xE2 && text.starts_with(jpeg_profile_name) && body.size() > jpeg_profile_name.size() + 2) {
        outline.profile.emplace_back(byte_at(body, jpeg_profile_name.size()),
                                     body.subspan(jpeg_profile_name.size() + 2));
    } else if (marker == 0xE2 && text.starts_with("MPF")) {
        return; // tells where further pictures lie, which are not written
    }
    if ((marker >= 0xE0 && marker <= 0xEF) || marker == 0xFE) {
        outline.pieces.push_back({std::string(1, static_cast<char>(marker)), {body.begin(), body.end()}});
    }
}

/// The table of luma that libjpeg's quality 50 stands for, in zigzag order (ITU-T T.81, table K.1).
inline constexpr std::array<unsigned, 64> standard_luma{
    16, 11,  12, 14, 12, 10, 16,  14,  13,  14, 18, 17,  16,  19,  24,  40,  26, 24,  22,  22, 24, 49,
    35, 37,  29, 40, 58, 51, 61,  60,  57,  51, 56, 55,  64,  72,  92,  78,  64, 68,  87,  69, 55, 56,
    80, 109, 81, 87, 95, 98, 103, 104, 103, 62, 77, 113, 121, 112, 100, 120, 92, 101, 103, 99};

/// The quality of libjpeg whose table is nearest, 1 to 100; 0 without a table.
inline int quality_of(const std::array<unsigned, 64>& table) {
    if (table[0] == 0) {
        return 0;
    }
    int best = 0;
    unsigned least = ~0U;
    for (int quality = 1; quality <= 100; ++quality) {
        const unsigned scale = static_cast<unsigned>(quality < 50 ? 5000 / quality : 200 - 2 * quality);
        unsigned distance = 0;
        for (std::size_t i = 0; i < 64; ++i) {
            const unsigned expected = std::clamp((standard_luma[i] * scale + 50) / 100, 1U, 255U);
            distance += expected > table[i] ? expected - table[i] : table[i] - expected;
        }
        if (distance <= least) {
            least = distance;
            best = quality;
        }
    }
    return best;
}

inline jpeg_outline outline_of_jpeg(std::span<const std::byte> file) {
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
        take_segment(outline, marker, body);
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

/// RGB of CMYK, as decoders without a profile make it. inverted: 255 is no ink, as Adobe writes it.
inline picture from_inks(const picture& inks, bool inverted) {
    picture p = blank_picture(inks.width, inks.height, 3);
    for (std::size_t i = 0; i < pixel_count(p); ++i) {
        const std::uint8_t* ink = inks.pixels.data() + 4 * i;
        const unsigned flip = inverted ? 0U : 255U;
        const unsigned black = ink[3] ^ flip;
        for (std::size_t c = 0; c < 3; ++c) {
            p.pixels[3 * i + c] = static_cast<std::uint8_t>(((ink[c] ^ flip) * black + 127U) / 255U);
        }
    }
    return p;
}

REPAINT_INLINE picture decode_jpeg(std::span<const std::byte> file, const std::string& name, std::size_t max_pixels) {
    jpeg_outline outline = outline_of_jpeg(file);
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
    const bool inks = colours == TJCS_CMYK || colours == TJCS_YCCK;
    // Huffman codes have a bit or more, and every 8 x 8 block has one for its mean. Arithmetic codes can be shorter.
    const bool arithmetic = outline.frame > 0xC8;
    const std::size_t pixels = static_cast<std::size_t>(width) * static_cast<std::size_t>(height);
    check_density(name, width, height, file.size(), arithmetic ? 0 : pixels / (8 * 64));
    picture p = blank_picture(width, height, colours == TJCS_GRAY ? 1 : inks ? 4 : 3);
    int flags = TJFLAG_ACCURATEDCT;
#ifdef TJFLAG_LIMITSCANS
    flags |= TJFLAG_LIMITSCANS;
#endif
    if (tjDecompress2(handle.get(), bytes, size, p.pixels.data(), width, width * p.channels, height,
                      inks              ? TJPF_CMYK
                      : p.channels == 1 ? TJPF_GRAY
                                        : TJPF_RGB,
                      flags) != 0 &&
        (tjGetErrorCode(handle.get()) != TJERR_WARNING || !is_harmless_jpeg_warning(tjGetErrorStr2(handle.get())))) {
        refuse_damaged();
    }
    if (inks) {
        p = from_inks(p, outline.adobe);
    }
    const auto metadata = std::make_shared<picture_metadata>();
    metadata->format = file_format::jpeg;
    metadata->exif = upright_exif(outline.exif);
    metadata->xmp = outline.xmp;
    metadata->quality = quality_of(outline.luma_table);
    metadata->subsampling = subsampling;
    std::stable_sort(outline.profile.begin(), outline.profile.end(),
                     [](const auto& x, const auto& y) { return x.first < y.first; });
    for (const auto& [number, part] : outline.profile) {
        metadata->icc.insert(metadata->icc.end(), part.begin(), part.end());
    }
    for (auto& piece : outline.pieces) {
        if (as_text(piece.data).starts_with(jpeg_exif_name)) { // there may be several, each of a length of its own
            const auto block = upright_exif(std::span(piece.data).subspan(jpeg_exif_name.size()));
            std::copy(block.begin(), block.end(),
                      piece.data.begin() + static_cast<std::ptrdiff_t>(jpeg_exif_name.size()));
        }
        // The profile of inks is not that of the colours they became.
        if (!inks || !as_text(piece.data).starts_with(jpeg_profile_name)) {
            metadata->pieces.push_back(std::move(piece));
        }
    }
    if (inks) {
        metadata->icc.clear();
    }
    p.metadata = metadata;
    return upright(std::move(p), outline.exif);
}

inline void append_segment(std::vector<std::uint8_t>& to, unsigned marker, std::string_view name,
                           std::span<const std::byte> body) {
    const std::size_t length = name.size() + body.size() + 2;
    if (length > longest_segment + 2) {
        return; // no segment is that long
    }
    to.insert(to.end(), {0xFF, static_cast<std::uint8_t>(marker), static_cast<std::uint8_t>(length >> 8U),
                         static_cast<std::uint8_t>(length & 0xFFU)});
    to.insert(to.end(), name.begin(), name.end());
    for (const std::byte b : body) {
        to.push_back(static_cast<std::uint8_t>(b));
    }
}

/// The segments that say beside the pixels what the picture's file said.
inline std::vector<std::uint8_t> jpeg_pieces(const picture& p) {
    std::vector<std::uint8_t> bytes;
    if (p.metadata == nullptr) {
        return bytes;
    }
    if (p.metadata->format == file_format::jpeg) {
        for (const bool first : {true, false}) { // JFIF's segment, of the resolution, comes first
            for (const auto& piece : p.metadata->pieces) {
                if (as_text(piece.data).starts_with("JFIF") == first) {
                    append_segment(bytes, static_cast<unsigned char>(piece.type[0]), {}, piece.data);
                }
            }
        }
        return bytes;
    }
    if (!p.metadata->exif.empty()) {
        append_segment(bytes, 0xE1, jpeg_exif_name, p.metadata->exif);
    }
    if (!p.metadata->xmp.empty()) {
        append_segment(bytes, 0xE1, jpeg_xmp_name, as_bytes(p.metadata->xmp));
    }
    const std::span<const std::byte> icc = p.metadata->icc;
    constexpr std::size_t part = longest_segment - 14;
    const std::size_t parts = (icc.size() + part - 1) / part;
    for (std::size_t i = 0; i < parts && parts < 256; ++i) {
        std::string name(jpeg_profile_name);
        name += static_cast<char>(i + 1);
        name += static_cast<char>(parts);
        append_segment(bytes, 0xE2, name, icc.subspan(i * part, std::min(part, icc.size() - i * part)));
    }
    return bytes;
}

} // namespace detail

REPAINT_INLINE std::vector<std::uint8_t> encode_jpeg(const picture& p, int wanted_quality) {
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
    // What was a JPEG stays one of its own kind.
    const bool was_jpeg = p.metadata != nullptr && p.metadata->format == file_format::jpeg;
    const int quality = wanted_quality > 0                    ? wanted_quality
                        : was_jpeg && p.metadata->quality > 0 ? p.metadata->quality
                                                              : 95;
    const bool same_subsampling = wanted_quality == 0 && was_jpeg && p.metadata->subsampling >= 0 &&
                                  p.metadata->subsampling < TJ_NUMSAMP && p.metadata->subsampling != TJSAMP_GRAY;
    const int failed = tjCompress2(handle.get(), flat.pixels.data(), flat.width, flat.width * flat.channels,
                                   flat.height, grey ? TJPF_GRAY : TJPF_RGB, &encoded, &size,
                                   grey               ? TJSAMP_GRAY
                                   : same_subsampling ? p.metadata->subsampling
                                                      : TJSAMP_444,
                                   quality, TJFLAG_ACCURATEDCT);
    const std::unique_ptr<unsigned char, detail::turbojpeg_freer> owned(encoded);
    if (failed != 0) {
        throw error(std::string("encode_jpeg: ") + tjGetErrorStr2(handle.get()));
    }
    std::vector<std::uint8_t> bytes(encoded, encoded + size);
    const auto pieces = detail::jpeg_pieces(p);
    // Behind the start mark and libjpeg's own JFIF segment, or in its place where there is one.
    constexpr std::ptrdiff_t start_mark = 2;
    const std::ptrdiff_t jfif = bytes.size() > 20 && bytes[3] == 0xE0 ? 18 : 0;
    if (pieces.size() > 1 && pieces[1] == 0xE0) {
        bytes.erase(bytes.begin() + start_mark, bytes.begin() + start_mark + jfif);
        bytes.insert(bytes.begin() + start_mark, pieces.begin(), pieces.end());
    } else {
        bytes.insert(bytes.begin() + start_mark + jfif, pieces.begin(), pieces.end());
    }
    return bytes;
}

} // namespace repaint
