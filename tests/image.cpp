#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <initializer_list>
#include <memory>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <unistd.h>

#include <png.h>
#include <turbojpeg.h>

#include <repaint/error.hpp>
#include <repaint/image/codecs.hpp>
#include <repaint/image/exif.hpp>
#include <repaint/image/mask.hpp>
#include <repaint/image/mask_canvas.hpp>
#include <repaint/io/bytes.hpp>

#include "support/catch.hpp"

namespace {

using repaint::format_error;
using repaint::picture;
using file_bytes = std::vector<std::uint8_t>;

/// Decodes from a heap block of exactly the file's length, so that a sanitizer sees a read past its end.
picture decode(const file_bytes& file, std::size_t max_pixels = repaint::max_picture_pixels) {
    const std::vector<std::uint8_t> exact(file.begin(), file.end());
    return repaint::decode_picture(std::as_bytes(std::span(exact)), "test.file", max_pixels);
}

/// What decoding says, or an empty string when it succeeds.
std::string refusal(const file_bytes& file) {
    try {
        decode(file);
        return {};
    } catch (const format_error& e) {
        return e.what();
    }
}

/// Pixels without a pattern that compression or filters could hide a mistake behind.
picture noise(int width, int height, int channels, std::uint64_t seed = 1) {
    picture p{width, height, channels, {}};
    repaint::detail::mask_random random(seed);
    p.pixels.resize(static_cast<std::size_t>(width) * static_cast<std::size_t>(height) *
                    static_cast<std::size_t>(channels));
    for (auto& byte : p.pixels) {
        byte = static_cast<std::uint8_t>(random.below(256));
    }
    return p;
}

/// Pixels that a JPEG can hold well.
picture gradient(int width, int height, int channels) {
    picture p{width, height, channels, {}};
    for (int y = 0; y < height; ++y) {
        for (int x = 0; x < width; ++x) {
            for (int c = 0; c < channels; ++c) {
                p.pixels.push_back(static_cast<std::uint8_t>((c + 1) * (c % 2 == 0 ? 2 * x + y : 3 * y + x) / 2 % 250));
            }
        }
    }
    return p;
}

int largest_difference(const picture& a, const picture& b) {
    REQUIRE(a.width == b.width);
    REQUIRE(a.height == b.height);
    REQUIRE(a.channels == b.channels);
    int largest = 0;
    for (std::size_t i = 0; i < a.pixels.size(); ++i) {
        largest = std::max(largest, std::abs(a.pixels[i] - b.pixels[i]));
    }
    return largest;
}

struct png_kind {
    int colour_type = PNG_COLOR_TYPE_GRAY;
    int depth = 8;
    bool interlaced = false;
    std::vector<png_color> palette{};
    std::vector<std::uint8_t> palette_alpha{};
    bool transparent = false;
    png_color_16 transparent_colour{};
};

std::size_t samples_of(const png_kind& kind) {
    switch (kind.colour_type) {
    case PNG_COLOR_TYPE_GRAY_ALPHA: return 2;
    case PNG_COLOR_TYPE_RGB: return 3;
    case PNG_COLOR_TYPE_RGB_ALPHA: return 4;
    default: return 1;
    }
}

/// A PNG of any kind from its samples, written by libpng itself.
file_bytes png_of(const png_kind& kind, std::size_t width, std::size_t height,
                  const std::vector<std::uint16_t>& samples) {
    const std::size_t per_row = width * samples_of(kind);
    REQUIRE(samples.size() == per_row * height);
    const auto depth = static_cast<std::size_t>(kind.depth);
    std::vector<file_bytes> packed(height, file_bytes((per_row * depth + 7) / 8));
    for (std::size_t y = 0; y < height; ++y) {
        for (std::size_t i = 0; i < per_row; ++i) {
            for (std::size_t bit = 0; bit < depth; ++bit) {
                const std::size_t at = i * depth + bit;
                const unsigned value = samples[y * per_row + i] >> (depth - 1 - bit) & 1U;
                packed[y][at / 8] = static_cast<std::uint8_t>(packed[y][at / 8] | value << (7 - at % 8));
            }
        }
    }
    std::vector<png_bytep> rows;
    for (auto& row : packed) {
        rows.push_back(row.data());
    }
    file_bytes file;
    png_structp png = png_create_write_struct(
        PNG_LIBPNG_VER_STRING, nullptr, [](png_structp, png_const_charp) { std::abort(); },
        [](png_structp, png_const_charp) {});
    png_infop info = png_create_info_struct(png);
    png_set_write_fn(
        png, &file,
        [](png_structp p, png_bytep from, png_size_t length) {
            auto* to = static_cast<file_bytes*>(png_get_io_ptr(p));
            to->insert(to->end(), from, from + length);
        },
        [](png_structp) {});
    png_set_IHDR(png, info, static_cast<png_uint_32>(width), static_cast<png_uint_32>(height), kind.depth,
                 kind.colour_type, kind.interlaced ? PNG_INTERLACE_ADAM7 : PNG_INTERLACE_NONE,
                 PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
    // A gamma that a reader must not apply.
    png_set_gAMA_fixed(png, info, 100000);
    if (!kind.palette.empty()) {
        png_set_PLTE(png, info, kind.palette.data(), static_cast<int>(kind.palette.size()));
    }
    if (!kind.palette_alpha.empty()) {
        png_set_tRNS(png, info, kind.palette_alpha.data(), static_cast<int>(kind.palette_alpha.size()), nullptr);
    }
    if (kind.transparent) {
        png_set_tRNS(png, info, nullptr, 0, &kind.transparent_colour);
    }
    png_write_info(png, info);
    png_write_image(png, rows.data());
    png_write_end(png, nullptr);
    png_destroy_write_struct(&png, &info);
    return file;
}

std::vector<std::uint16_t> random_samples(std::size_t count, unsigned end, std::uint64_t seed = 3) {
    repaint::detail::mask_random random(seed);
    std::vector<std::uint16_t> samples(count);
    for (auto& s : samples) {
        s = static_cast<std::uint16_t>(random.below(end));
    }
    return samples;
}

/// A sample of 1 to 16 bits as 8 bits, to the nearest.
std::uint8_t to_8_bits(unsigned sample, int depth) {
    const unsigned largest = (1U << static_cast<unsigned>(depth)) - 1;
    return static_cast<std::uint8_t>((2 * sample * 255 + largest) / (2 * largest));
}

void append_number(file_bytes& to, std::uint64_t value, int bytes, bool big_endian) {
    const std::size_t start = to.size();
    to.resize(start + static_cast<std::size_t>(bytes));
    for (int i = 0; i < bytes; ++i) {
        to[start + static_cast<std::size_t>(i)] =
            static_cast<std::uint8_t>(value >> (8U * static_cast<unsigned>(big_endian ? bytes - 1 - i : i)));
    }
}

file_bytes png_chunk(std::string_view type, const file_bytes& data) {
    file_bytes chunk;
    append_number(chunk, data.size(), 4, true);
    chunk.insert(chunk.end(), type.begin(), type.end());
    chunk.insert(chunk.end(), data.begin(), data.end());
    append_number(chunk, repaint::detail::crc32(std::as_bytes(std::span(chunk)).subspan(4)), 4, true);
    return chunk;
}

file_bytes inserted(file_bytes file, std::size_t at, const file_bytes& what) {
    file.insert(file.begin() + static_cast<std::ptrdiff_t>(at), what.begin(), what.end());
    return file;
}

constexpr std::size_t after_ihdr = 33;
constexpr std::size_t iend_size = 12;

file_bytes png_header(std::uint64_t width, std::uint64_t height, int depth = 8, int colour_type = 0) {
    file_bytes data;
    append_number(data, width, 4, true);
    append_number(data, height, 4, true);
    data.insert(data.end(), {static_cast<std::uint8_t>(depth), static_cast<std::uint8_t>(colour_type), 0, 0, 0});
    file_bytes file{0x89, 'P', 'N', 'G', '\r', '\n', 0x1A, '\n'};
    return inserted(file, 8, png_chunk("IHDR", data));
}

/// A TIFF header and one directory with an entry before and after the orientation, as cameras write it.
file_bytes exif_block(unsigned orientation, bool big_endian, unsigned type = 3) {
    file_bytes tiff{static_cast<std::uint8_t>(big_endian ? 'M' : 'I'),
                    static_cast<std::uint8_t>(big_endian ? 'M' : 'I')};
    append_number(tiff, 42, 2, big_endian);
    append_number(tiff, 8, 4, big_endian);
    append_number(tiff, 3, 2, big_endian);
    for (const unsigned tag : {271U, 274U, 282U}) {
        append_number(tiff, tag, 2, big_endian);
        append_number(tiff, tag == 274 ? type : 2, 2, big_endian);
        append_number(tiff, 1, 4, big_endian);
        append_number(tiff, tag == 274 ? orientation : 7, 2, big_endian);
        append_number(tiff, 0, 2, big_endian);
    }
    append_number(tiff, 0, 4, big_endian);
    return tiff;
}

file_bytes jpeg_with_exif(const file_bytes& jpeg, const file_bytes& tiff) {
    file_bytes segment{0xFF, 0xE1};
    append_number(segment, tiff.size() + 8, 2, true);
    segment.insert(segment.end(), {'E', 'x', 'i', 'f', 0, 0});
    segment.insert(segment.end(), tiff.begin(), tiff.end());
    return inserted(jpeg, 2, segment);
}

file_bytes jpeg_of(const picture& p, int format, int subsampling, int flags = 0) {
    tjhandle handle = tjInitCompress();
    unsigned char* encoded = nullptr;
    unsigned long size = 0;
    REQUIRE(tjCompress2(handle, p.pixels.data(), p.width, 0, p.height, format, &encoded, &size, subsampling, 90,
                        flags) == 0);
    file_bytes file(encoded, encoded + size);
    tjFree(encoded);
    tjDestroy(handle);
    return file;
}

std::size_t position_of(const file_bytes& file, std::initializer_list<std::uint8_t> what) {
    const auto found = std::search(file.begin(), file.end(), what.begin(), what.end());
    REQUIRE(found != file.end());
    return static_cast<std::size_t>(found - file.begin());
}

/// A directory that is gone at the end of the test.
class scratch_directory {
public:
    scratch_directory() {
        std::string name = (std::filesystem::temp_directory_path() / "repaint-image-XXXXXX").string();
        REQUIRE(::mkdtemp(name.data()) != nullptr);
        path_ = name;
    }
    scratch_directory(const scratch_directory&) = delete;
    scratch_directory& operator=(const scratch_directory&) = delete;
    ~scratch_directory() {
        std::error_code ignored;
        std::filesystem::remove_all(path_, ignored);
    }
    [[nodiscard]] std::filesystem::path operator/(const char* name) const { return path_ / name; }
    [[nodiscard]] std::size_t entries() const {
        return static_cast<std::size_t>(std::distance(std::filesystem::directory_iterator(path_), {}));
    }

private:
    std::filesystem::path path_;
};

void write_bytes(const std::filesystem::path& path, std::string_view bytes) {
    std::ofstream(path, std::ios::binary).write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
}

/// Catches what a library prints behind our back.
class captured_stderr {
public:
    captured_stderr() : file_(std::tmpfile()), saved_(::dup(2)) { ::dup2(::fileno(file_), 2); }
    captured_stderr(const captured_stderr&) = delete;
    captured_stderr& operator=(const captured_stderr&) = delete;
    ~captured_stderr() {
        stop();
        std::fclose(file_);
    }
    long stop() {
        if (saved_ >= 0) {
            std::fflush(stderr);
            ::dup2(saved_, 2);
            ::close(saved_);
            saved_ = -1;
            std::fseek(file_, 0, SEEK_END);
        }
        return std::ftell(file_);
    }

private:
    std::FILE* file_;
    int saved_;
};

} // namespace

TEST_CASE("a PNG gives back exactly the pixels that were written", "[image]") {
    for (int channels = 1; channels <= 4; ++channels) {
        for (const auto& [width, height] : {std::pair{1, 1}, {1, 9}, {9, 1}, {7, 5}, {64, 33}, {2000, 3}}) {
            const picture p = noise(width, height, channels);
            CAPTURE(width, height, channels);
            REQUIRE(decode(repaint::encode_png(p)) == p);
        }
    }
    picture ramp{256, 1, 1, {}};
    for (int v = 0; v < 256; ++v) {
        ramp.pixels.push_back(static_cast<std::uint8_t>(v));
    }
    CHECK(decode(repaint::encode_png(ramp)) == ramp);
    CHECK(decode(repaint::encode_png(noise(65535, 1, 1))).width == 65535);
}

TEST_CASE("known pixels of an inpainted PNG equal the bytes of the original file", "[image]") {
    const picture original = decode(repaint::encode_png(noise(64, 64, 3)));
    const repaint::host_tensor keep = repaint::make_mask(repaint::mask_kind::wide, 64, 64, 4);
    const repaint::host_tensor filled({1, 3, 64, 64}, std::vector<float>(3 * 64 * 64, 0.123F));
    const picture result = decode(repaint::encode_png(compose_picture(original, filled, 0, keep)));
    for (std::size_t i = 0; i < 64 * 64; ++i) {
        for (std::size_t c = 0; c < 3; ++c) {
            REQUIRE(result.pixels[3 * i + c] == (keep.data()[i] == 1.0F ? original.pixels[3 * i + c] : 143));
        }
    }
}

TEST_CASE("every kind of PNG becomes 8-bit grey or RGB, interlaced or not", "[image]") {
    struct combination {
        int colour_type;
        int depth;
    };
    const std::vector<combination> combinations{
        {PNG_COLOR_TYPE_GRAY, 1},      {PNG_COLOR_TYPE_GRAY, 2},       {PNG_COLOR_TYPE_GRAY, 4},
        {PNG_COLOR_TYPE_GRAY, 8},      {PNG_COLOR_TYPE_GRAY, 16},      {PNG_COLOR_TYPE_RGB, 8},
        {PNG_COLOR_TYPE_RGB, 16},      {PNG_COLOR_TYPE_GRAY_ALPHA, 8}, {PNG_COLOR_TYPE_GRAY_ALPHA, 16},
        {PNG_COLOR_TYPE_RGB_ALPHA, 8}, {PNG_COLOR_TYPE_RGB_ALPHA, 16},
    };
    for (const auto& [colour_type, depth] : combinations) {
        for (const bool interlaced : {false, true}) {
            for (const auto& [width, height] : {std::pair<std::size_t, std::size_t>{1, 1}, {3, 5}, {13, 9}, {2, 33}}) {
                const png_kind kind{.colour_type = colour_type, .depth = depth, .interlaced = interlaced};
                const auto samples = random_samples(width * height * samples_of(kind), 1U << depth);
                const picture p = decode(png_of(kind, width, height, samples));
                CAPTURE(colour_type, depth, interlaced, width, height);
                REQUIRE(static_cast<std::size_t>(p.width) == width);
                REQUIRE(static_cast<std::size_t>(p.height) == height);
                REQUIRE(static_cast<std::size_t>(p.channels) == samples_of(kind));
                for (std::size_t i = 0; i < samples.size(); ++i) {
                    REQUIRE(p.pixels[i] == to_8_bits(samples[i], depth));
                }
            }
        }
    }
}

TEST_CASE("16 bits are scaled to the nearest 8, for every value", "[image]") {
    std::vector<std::uint16_t> all(65536);
    for (std::size_t i = 0; i < all.size(); ++i) {
        all[i] = static_cast<std::uint16_t>(i);
    }
    const picture p = decode(png_of({.depth = 16}, 256, 256, all));
    for (std::size_t i = 0; i < all.size(); ++i) {
        REQUIRE(p.pixels[i] == to_8_bits(all[i], 16));
        REQUIRE(p.deep[i] == all[i]);
    }
}

TEST_CASE("16 bits go to the network and come back in 16 bits", "[image]") {
    for (const int colour_type : {PNG_COLOR_TYPE_GRAY, PNG_COLOR_TYPE_RGB, PNG_COLOR_TYPE_RGB_ALPHA}) {
        const png_kind kind{.colour_type = colour_type, .depth = 16};
        const auto samples = random_samples(9 * 7 * samples_of(kind), 65536);
        const picture p = decode(png_of(kind, 9, 7, samples));
        CHECK(p.deep == samples);
        CHECK(decode(repaint::encode_png(p)) == p);
        CHECK(p.metadata->bits == 16);
        const auto tensor = repaint::to_tensor(p);
        CHECK(tensor(0, 0, 0, 0) == static_cast<float>(samples[0]) / 32767.5F - 1.0F);
        // What is known keeps all its bits; what is filled has 16 of its own.
        repaint::host_tensor keep({1, 1, 7, 9});
        keep(0, 0, 0, 0) = 1.0F;
        const repaint::host_tensor filled({1, 3, 7, 9}, std::vector<float>(189, 0.25F));
        const picture out = repaint::compose_picture(p, filled, 0, keep);
        CHECK(out.channels == p.channels);
        CHECK(out.deep[0] == samples[0]);
        const auto stride = static_cast<std::size_t>(p.channels);
        CHECK(out.deep[stride] == 40959); // 1.25 * 32767.5, rounded
        CHECK(out.pixels[stride] == 159);
        CHECK(decode(repaint::encode_png(out)) == out);
        const picture turned = repaint::oriented(p, 6);
        CHECK(turned.deep[0] == p.deep[6 * 9 * stride]);
    }
}

TEST_CASE("what a PNG says beside its pixels is said again", "[image]") {
    const file_bytes plain = repaint::encode_png(gradient(8, 8, 3));
    const std::vector<std::pair<std::string, file_bytes>> chunks{
        {"gAMA", {0, 0, 177, 143}}, {"cICP", {12, 13, 0, 1}},      {"pHYs", {0, 0, 46, 35, 0, 0, 46, 35, 1}},
        {"tEXt", {'a', 0, 'b'}},    {"eXIf", exif_block(6, true)}, {"tIME", {7, 234, 1, 1, 0, 0, 0}}};
    file_bytes file = plain;
    for (auto chunk = chunks.rbegin(); chunk != chunks.rend(); ++chunk) {
        file = inserted(file, 33, png_chunk(chunk->first.c_str(), chunk->second));
    }
    const picture p = decode(file);
    const file_bytes again = repaint::encode_png(p);
    for (const auto& [type, data] : chunks) {
        INFO(type);
        // The orientation is that of the pixels, which are upright; the time is that of the last change.
        const file_bytes expected = png_chunk(type.c_str(), type == "eXIf" ? exif_block(1, true) : data);
        const bool there = std::search(again.begin(), again.end(), expected.begin(), expected.end()) != again.end();
        CHECK(there == (type != "tIME"));
    }
    CHECK(decode(again) == p); // and is not turned twice

    // Into another format go EXIF, XMP and the profile.
    const std::string xmp = std::string("XML:com.adobe.xmp\0\0\0\0\0", 22) + "<x:xmpmeta/>";
    file = inserted(file, 33, png_chunk("iTXt", file_bytes(xmp.begin(), xmp.end())));
    const picture converted = decode(repaint::encode_jpeg(decode(file)));
    CHECK(converted.metadata->format == repaint::file_format::jpeg);
    CHECK(converted.metadata->xmp == "<x:xmpmeta/>");
    CHECK(converted.metadata->exif.size() == exif_block(1, true).size());
}

TEST_CASE("what a JPEG says beside its pixels is said again, and its quality is its own", "[image]") {
    const picture p = gradient(40, 24, 3);
    std::string profile(70000, 'p'); // two segments
    const auto segment = [](unsigned marker, const std::string& body) {
        file_bytes bytes{0xFF, static_cast<std::uint8_t>(marker)};
        append_number(bytes, body.size() + 2, 2, true);
        bytes.insert(bytes.end(), body.begin(), body.end());
        return bytes;
    };
    file_bytes file = jpeg_with_exif(jpeg_of(p, TJPF_RGB, TJSAMP_420), exif_block(3, false));
    file = inserted(file, 2, segment(0xFE, "a comment"));
    file = inserted(file, 2, segment(0xE2, std::string("ICC_PROFILE\0\x02\x02", 14) + profile.substr(65000)));
    file = inserted(file, 2, segment(0xE2, std::string("ICC_PROFILE\0\x01\x02", 14) + profile.substr(0, 65000)));
    file = inserted(file, 2, segment(0xE1, std::string("http://ns.adobe.com/xap/1.0/\0", 29) + "<x/>"));
    const picture read = decode(file);
    CHECK(read.metadata->quality == 90);
    CHECK(read.metadata->subsampling == TJSAMP_420);
    CHECK(read.metadata->icc.size() == profile.size());
    const picture again = decode(repaint::encode_jpeg(read));
    CHECK(again.metadata->quality == 90);
    CHECK(again.metadata->subsampling == TJSAMP_420);
    CHECK(again.metadata->icc == read.metadata->icc);
    CHECK(again.metadata->exif == read.metadata->exif);
    CHECK(repaint::detail::exif_orientation(again.metadata->exif) == 1);
    CHECK(again.metadata->xmp == "<x/>");
    CHECK(again.metadata->pieces.size() == read.metadata->pieces.size());
    CHECK(decode(repaint::encode_jpeg(read, 50)).metadata->quality == 50);
    CHECK(decode(repaint::encode_jpeg(p)).metadata->quality == 95);
    // The profile of a JPEG becomes that of a PNG. (libpng takes valid profiles only.)
    CHECK(position_of(repaint::encode_png(read), {'i', 'C', 'C', 'P'}) == 37);
    // Several EXIF segments, each of a length of its own: every one is turned by itself.
    file_bytes longer = exif_block(3, false);
    longer.resize(60000);
    file_bytes several = jpeg_of(p, TJPF_RGB, TJSAMP_420);
    for (int i = 0; i < 20; ++i) {
        several = jpeg_with_exif(several, {});
    }
    several = jpeg_with_exif(several, longer);
    const picture turned = decode(several);
    CHECK(turned.metadata->exif.size() == 60000);
    CHECK(decode(repaint::encode_jpeg(turned)).metadata->pieces.size() == turned.metadata->pieces.size());
}

TEST_CASE("palettes become RGB, with alpha when they have some", "[image]") {
    const std::vector<png_color> colours{{1, 2, 3}, {40, 50, 60}, {255, 254, 253}};
    for (const int depth : {2, 4, 8}) {
        for (const bool interlaced : {false, true}) {
            for (const bool with_alpha : {false, true}) {
                png_kind kind{.colour_type = PNG_COLOR_TYPE_PALETTE,
                              .depth = depth,
                              .interlaced = interlaced,
                              .palette = colours};
                if (with_alpha) {
                    kind.palette_alpha = {0, 128}; // the third is opaque
                }
                const auto samples = random_samples(11 * 7, 3);
                const picture p = decode(png_of(kind, 11, 7, samples));
                REQUIRE(p.channels == (with_alpha ? 4 : 3));
                for (std::size_t i = 0; i < samples.size(); ++i) {
                    const png_color& colour = colours[samples[i]];
                    const std::uint8_t* pixel = p.pixels.data() + i * static_cast<std::size_t>(p.channels);
                    REQUIRE(pixel[0] == colour.red);
                    REQUIRE(pixel[1] == colour.green);
                    REQUIRE(pixel[2] == colour.blue);
                    if (with_alpha) {
                        REQUIRE(pixel[3] == (samples[i] == 0 ? 0 : samples[i] == 1 ? 128 : 255));
                    }
                }
            }
        }
    }
    SECTION("an index beyond the palette is no reason to crash") {
        const png_kind kind{.colour_type = PNG_COLOR_TYPE_PALETTE, .depth = 8, .palette = colours};
        file_bytes file = png_of(kind, 2, 1, {0, 2});
        // The palette chunk, cut down to one colour.
        const std::size_t palette = position_of(file, {'P', 'L', 'T', 'E'}) - 4;
        file.erase(file.begin() + static_cast<std::ptrdiff_t>(palette),
                   file.begin() + static_cast<std::ptrdiff_t>(palette + 12 + 9));
        file = inserted(file, palette, png_chunk("PLTE", {1, 2, 3}));
        const picture p = decode(file);
        CHECK(p.pixels[0] == 1);
    }
}

TEST_CASE("a transparent colour becomes alpha", "[image]") {
    for (const int depth : {1, 4, 8, 16}) {
        png_kind kind{.depth = depth, .transparent = true};
        kind.transparent_colour.gray = 1;
        const auto samples = random_samples(30, depth == 16 ? 4 : 2);
        const picture p = decode(png_of(kind, 6, 5, samples));
        REQUIRE(p.channels == 2);
        for (std::size_t i = 0; i < samples.size(); ++i) {
            REQUIRE(p.pixels[2 * i] == to_8_bits(samples[i], depth));
            REQUIRE(p.pixels[2 * i + 1] == (samples[i] == 1 ? 0 : 255));
        }
    }
    png_kind kind{.colour_type = PNG_COLOR_TYPE_RGB, .depth = 8, .transparent = true};
    kind.transparent_colour.red = 9;
    kind.transparent_colour.green = 8;
    kind.transparent_colour.blue = 7;
    CHECK(decode(png_of(kind, 2, 1, {9, 8, 7, 9, 8, 6})) == picture{2, 1, 4, {9, 8, 7, 0, 9, 8, 6, 255}});
}

TEST_CASE("a JPEG holds smooth pictures closely, grey as grey, alpha over white", "[image]") {
    for (const auto& [width, height] : {std::pair{1, 1}, {8, 8}, {17, 9}, {64, 48}}) {
        for (const int channels : {1, 3}) {
            const picture p = gradient(width, height, channels);
            // At quality 95 the quantisation steps are 1 to 10; a wrap-around of the gradient is an edge that rings.
            CHECK(largest_difference(decode(repaint::encode_jpeg(p)), p) <= 16);
        }
    }
    const picture flat{16, 16, 3, file_bytes(768, 200)};
    CHECK(largest_difference(decode(repaint::encode_jpeg(flat)), flat) <= 1);
    SECTION("no chroma subsampling: a one-pixel red line stays red") {
        picture p{16, 16, 3, file_bytes(768, 128)};
        for (std::size_t y = 0; y < 16; ++y) {
            p.pixels[(y * 16 + 8) * 3] = 255;
        }
        CHECK(largest_difference(decode(repaint::encode_jpeg(p)), p) <= 12);
    }
    SECTION("alpha") {
        const picture clear{8, 8, 4, file_bytes(256, 0)};
        CHECK(decode(repaint::encode_jpeg(clear)) == picture{8, 8, 3, file_bytes(192, 255)});
        const picture clear_grey{8, 8, 2, file_bytes(128, 0)};
        CHECK(decode(repaint::encode_jpeg(clear_grey)) == picture{8, 8, 1, file_bytes(64, 255)});
    }
    SECTION("too wide for the format") {
        REQUIRE_THROWS_AS(repaint::encode_jpeg(noise(65501, 1, 1)), repaint::shape_error);
        REQUIRE_THROWS_WITH(repaint::encode_jpeg(noise(1, 65501, 1)), contains("65500"));
    }
}

TEST_CASE("JPEGs of other encoders: subsampled, progressive, CMYK", "[image]") {
    const picture p = gradient(37, 21, 3);
    for (const int subsampling : {TJSAMP_444, TJSAMP_422, TJSAMP_420, TJSAMP_440, TJSAMP_411}) {
        for (const int flags : {0, TJFLAG_PROGRESSIVE}) {
            const picture decoded = decode(jpeg_of(p, TJPF_RGB, subsampling, flags));
            REQUIRE(decoded.width == 37);
            REQUIRE(decoded.height == 21);
            REQUIRE(decoded.channels == 3);
        }
    }
    CHECK(decode(jpeg_of(gradient(37, 21, 1), TJPF_GRAY, TJSAMP_GRAY, TJFLAG_PROGRESSIVE)).channels == 1);
    // CMYK: libjpeg marks it as Adobe does, and inverted. Without inks it is white, with black alone black.
    for (const auto& [ink, expected] :
         std::vector<std::pair<file_bytes, file_bytes>>{{{255, 255, 255, 255}, {255, 255, 255}},
                                                        {{255, 255, 255, 0}, {0, 0, 0}},
                                                        {{0, 255, 255, 255}, {0, 255, 255}},
                                                        {{255, 128, 255, 128}, {128, 64, 128}}}) {
        picture inks{16, 16, 4, {}};
        for (int i = 0; i < 256; ++i) {
            inks.pixels.insert(inks.pixels.end(), ink.begin(), ink.end());
        }
        const picture colours = decode(jpeg_of(inks, TJPF_CMYK, TJSAMP_444));
        REQUIRE(colours.channels == 3);
        for (std::size_t c = 0; c < 3; ++c) {
            CHECK(std::abs(colours.pixels[c] - expected[c]) <= 3);
        }
    }

    SECTION("a subsampling that TurboJPEG 2 has no name for, 3x1, from blocks of zeros") {
        file_bytes file = repaint::encode_jpeg(picture{24, 8, 3, file_bytes(576, 128)});
        const std::size_t frame = position_of(file, {0xFF, 0xC0});
        file[frame + 11] = 0x31;
        const std::size_t scan = position_of(file, {0xFF, 0xDA});
        // All three components on the luma tables, where "00" is a mean of zero and "1010" ends a block: five blocks.
        file[scan + 6] = file[scan + 8] = file[scan + 10] = 0x00;
        file.resize(scan + 14);
        const file_bytes blocks{0b00101000, 0b10100010, 0b10001010, 0b00101011, 0xFF, 0xD9};
        file.insert(file.end(), blocks.begin(), blocks.end());
        CHECK(decode(file) == picture{24, 8, 3, file_bytes(576, 128)});
    }
}

TEST_CASE("stray bytes in a JPEG that lose no pixel are accepted", "[image]") {
    const file_bytes file = repaint::encode_jpeg(gradient(24, 24, 3));
    const picture expected = decode(file);
    SECTION("after the end") {
        file_bytes longer = file;
        longer.insert(longer.end(), {'t', 'r', 'a', 'i', 'l', 0xFF, 0xD8, 0xFF});
        CHECK(decode(longer) == expected);
    }
    SECTION("before the end mark") { CHECK(decode(inserted(file, file.size() - 2, {0, 0, 0, 0})) == expected); }
}

TEST_CASE("all eight EXIF orientations come out upright", "[image]") {
    const picture stored = noise(5, 3, 3);
    const file_bytes png = repaint::encode_png(stored);
    const picture jpeg_stored = gradient(21, 10, 3);
    const file_bytes jpeg = repaint::encode_jpeg(jpeg_stored);
    const picture jpeg_decoded = decode(jpeg);
    for (unsigned orientation = 1; orientation <= 8; ++orientation) {
        for (const bool big_endian : {false, true}) {
            CAPTURE(orientation, big_endian);
            const file_bytes exif = exif_block(orientation, big_endian);
            const int turn = static_cast<int>(orientation);
            CHECK(decode(inserted(png, after_ihdr, png_chunk("eXIf", exif))) == oriented(stored, turn));
            CHECK(decode(inserted(png, png.size() - iend_size, png_chunk("eXIf", exif))) == oriented(stored, turn));
            CHECK(decode(jpeg_with_exif(jpeg, exif)) == oriented(jpeg_decoded, turn));
        }
    }
    CHECK(decode(jpeg_with_exif(jpeg, exif_block(6, true))).width == 10);
    SECTION("after another application segment, as JFIF files have it") {
        const file_bytes xmp{0xFF, 0xE1, 0, 8, 'h', 't', 't', 'p', ':', '/'};
        CHECK(decode(inserted(jpeg_with_exif(jpeg, exif_block(6, false)), 2, xmp)).width == 10);
    }
}

TEST_CASE("hostile EXIF is ignored and never read beyond its end", "[image]") {
    const picture stored = noise(5, 3, 1);
    const file_bytes png = repaint::encode_png(stored);
    const file_bytes jpeg = repaint::encode_jpeg(stored);
    const picture jpeg_decoded = decode(jpeg);
    const auto ignored = [&](const file_bytes& exif) {
        CAPTURE(exif.size());
        CHECK(decode(inserted(png, after_ihdr, png_chunk("eXIf", exif))) == stored);
        CHECK(decode(jpeg_with_exif(jpeg, exif)) == jpeg_decoded);
    };
    for (const bool big_endian : {false, true}) {
        const file_bytes whole = exif_block(6, big_endian);
        // The entry of the orientation ends at 8 + 2 + 24.
        for (std::size_t length = 0; length < 34; ++length) {
            ignored(file_bytes(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(length)));
        }
        for (const std::uint64_t directory : {0xFFFFFFFFU, 0xFFFFFFFEU, 0x80000000U, 47U, 48U, 49U, 50U, 51U}) {
            file_bytes moved(whole.begin(), whole.begin() + 4);
            append_number(moved, directory, 4, big_endian);
            moved.insert(moved.end(), whole.begin() + 8, whole.end());
            ignored(moved);
        }
        file_bytes many = whole;
        many[8] = many[9] = 0xFF;
        many[big_endian ? 23 : 22] = 0; // no entry is the orientation
        ignored(many);
        for (const unsigned value : {0U, 9U, 255U, 65535U}) {
            ignored(exif_block(value, big_endian));
        }
        ignored(exif_block(6, big_endian, 4));
    }
    ignored({'I', 'M', 42, 0, 8, 0, 0, 0, 1, 0});
    ignored(file_bytes(64, 0xFF));
    repaint::detail::mask_random random(11);
    for (int i = 0; i < 20000; ++i) {
        file_bytes block = exif_block(6, i % 2 == 0);
        for (int change = 0; change < 3; ++change) {
            block[static_cast<std::size_t>(random.below(static_cast<std::int64_t>(block.size())))] =
                static_cast<std::uint8_t>(random.below(256));
        }
        block.resize(static_cast<std::size_t>(random.below(static_cast<std::int64_t>(block.size()) + 1)));
        const auto exact = std::make_unique<std::byte[]>(block.size());
        std::memcpy(exact.get(), block.data(), block.size());
        const int orientation = repaint::detail::exif_orientation({exact.get(), block.size()});
        REQUIRE(orientation >= 1);
        REQUIRE(orientation <= 8);
    }
}

TEST_CASE("a file cut off at any byte is refused with one sentence", "[image]") {
    captured_stderr nothing;
    const std::vector<file_bytes> files{
        repaint::encode_png(noise(6, 5, 3)),
        png_of({.depth = 4, .interlaced = true}, 9, 9, random_samples(81, 16)),
        repaint::encode_jpeg(gradient(19, 11, 3)),
        repaint::encode_jpeg(gradient(9, 9, 1)),
        jpeg_of(gradient(19, 11, 3), TJPF_RGB, TJSAMP_420, TJFLAG_PROGRESSIVE),
    };
    for (const file_bytes& file : files) {
        REQUIRE(refusal(file).empty());
        for (std::size_t length = 0; length < file.size(); ++length) {
            const std::string said =
                refusal(file_bytes(file.begin(), file.begin() + static_cast<std::ptrdiff_t>(length)));
            CAPTURE(file.size(), length, said);
            REQUIRE_THAT(said, contains("test.file: "));
            REQUIRE(said.find('\n') == std::string::npos);
        }
    }
    CHECK(nothing.stop() == 0);
}

TEST_CASE("a damaged file is refused or gives a picture of the right size, silently", "[image]") {
    captured_stderr nothing;
    const std::vector<file_bytes> files{
        inserted(repaint::encode_png(noise(6, 5, 4)), after_ihdr, png_chunk("eXIf", exif_block(6, false))),
        png_of({.colour_type = PNG_COLOR_TYPE_PALETTE,
                .depth = 2,
                .interlaced = true,
                .palette = {{1, 2, 3}, {4, 5, 6}},
                .palette_alpha = {7}},
               9, 9, random_samples(81, 2)),
        jpeg_with_exif(repaint::encode_jpeg(gradient(19, 11, 3)), exif_block(8, true)),
        jpeg_of(gradient(19, 11, 3), TJPF_RGB, TJSAMP_420, TJFLAG_PROGRESSIVE),
    };
    std::size_t refused = 0;
    std::size_t decoded = 0;
    for (const file_bytes& file : files) {
        for (std::size_t at = 0; at < file.size(); ++at) {
            for (const unsigned change : {0x01U, 0x80U, 0xFFU}) {
                file_bytes damaged = file;
                damaged[at] = static_cast<std::uint8_t>(damaged[at] ^ change);
                try {
                    const picture p = decode(damaged, 1U << 20U);
                    ++decoded;
                    REQUIRE(p.pixels.size() == static_cast<std::size_t>(p.width) * static_cast<std::size_t>(p.height) *
                                                   static_cast<std::size_t>(p.channels));
                } catch (const format_error&) {
                    ++refused;
                }
            }
        }
    }
    CHECK(nothing.stop() == 0);
    CHECK(refused > decoded);
    SECTION("pixel data of a PNG carry a checksum: no change of them goes unnoticed") {
        const file_bytes file = repaint::encode_png(noise(6, 5, 3));
        const std::size_t data = position_of(file, {'I', 'D', 'A', 'T'});
        for (std::size_t at = data; at < file.size() - iend_size; ++at) {
            file_bytes damaged = file;
            damaged[at] ^= 0x10;
            CHECK_FALSE(refusal(damaged).empty());
        }
    }
}

TEST_CASE("a PNG with too little pixel data is refused", "[image]") {
    const file_bytes small = repaint::encode_png(noise(4, 4, 1));
    const std::size_t data = position_of(small, {'I', 'D', 'A', 'T'}) - 4;
    file_bytes file = png_header(4, 40);
    file.insert(file.end(), small.begin() + static_cast<std::ptrdiff_t>(data), small.end());
    CHECK_THAT(refusal(file), contains("damaged PNG"));
}

TEST_CASE("sizes are checked before anything is allocated", "[image]") {
    const file_bytes end = png_chunk("IEND", {});
    const auto claim = [&end](std::uint64_t width, std::uint64_t height, int depth = 8, int colour_type = 0) {
        file_bytes file = png_header(width, height, depth, colour_type);
        const file_bytes data = png_chunk("IDAT", {0x78, 0x9C, 0x63, 0x00});
        file.insert(file.end(), data.begin(), data.end());
        file.insert(file.end(), end.begin(), end.end());
        return refusal(file);
    };
    CHECK_THAT(claim(2147483648U, 2147483648U), contains("2147483648 x 2147483648") && contains("65535"));
    CHECK_THAT(claim(2147483647U, 2147483647U, 16, 6), contains("2147483647 x 2147483647"));
    CHECK_THAT(claim(65536, 1), contains("65536 x 1 pixels"));
    CHECK_THAT(claim(1, 65536), contains("1 x 65536 pixels"));
    CHECK_THAT(claim(65535, 65535), contains("at most 268435456 pixels"));
    CHECK_THAT(claim(16385, 16384), contains("at most 268435456 pixels"));
    CHECK_THAT(claim(0, 5), contains("0 x 5 pixels"));
    CHECK_THAT(claim(16384, 16384, 16, 6), contains("bytes cannot hold 16384 x 16384 pixels"));
    CHECK_THAT(claim(4000, 4000), contains("cannot hold 4000 x 4000"));

    file_bytes jpeg = repaint::encode_jpeg(gradient(16, 16, 3));
    const std::size_t frame = position_of(jpeg, {0xFF, 0xC0});
    const auto claim_jpeg = [&](unsigned width, unsigned height) {
        file_bytes file = jpeg;
        file[frame + 5] = static_cast<std::uint8_t>(height >> 8U);
        file[frame + 6] = static_cast<std::uint8_t>(height);
        file[frame + 7] = static_cast<std::uint8_t>(width >> 8U);
        file[frame + 8] = static_cast<std::uint8_t>(width);
        return refusal(file);
    };
    CHECK_THAT(claim_jpeg(65500, 65500), contains("65500 x 65500") && contains("at most 268435456"));
    CHECK_THAT(claim_jpeg(16000, 16000), contains("cannot hold 16000 x 16000"));
    CHECK_THAT(claim_jpeg(65535, 65535), contains("test.file: "));
    CHECK_FALSE(claim_jpeg(0, 16).empty());
    CHECK_FALSE(claim_jpeg(16, 0).empty());
    CHECK_FALSE(claim_jpeg(16, 24).empty());

    SECTION("a caller's own limit") {
        const file_bytes png = repaint::encode_png(noise(10, 10, 1));
        CHECK(decode(png, 100).width == 10);
        REQUIRE_THROWS_WITH(decode(png, 99), contains("10 x 10 pixels") && contains("at most 99"));
        REQUIRE_THROWS_AS(decode(jpeg, 255), format_error);
    }
    SECTION("the densest files there are pass") {
        CHECK(decode(repaint::encode_png(picture{4000, 4000, 1, file_bytes(16000000)})).width == 4000);
        const picture blank{2048, 2048, 1, file_bytes(std::size_t{1} << 22U, 128)};
        CHECK(decode(jpeg_of(blank, TJPF_GRAY, TJSAMP_GRAY, TJFLAG_PROGRESSIVE)).width == 2048);
    }
}

TEST_CASE("other formats are refused by name", "[image]") {
    const auto said = [](std::string_view start) {
        file_bytes file(start.begin(), start.end());
        file.resize(64);
        return refusal(file);
    };
    CHECK(said("GIF89a") == "test.file: is a GIF picture; PNG and JPEG are read");
    CHECK_THAT(said("GIF87a"), contains("is a GIF picture"));
    CHECK(said(std::string_view("RIFF\x10\0\0\0WEBPVP8 ", 16)) ==
          "test.file: is a WebP picture; PNG and JPEG are read");
    CHECK_THAT(said("BM"), contains("is a BMP picture"));
    CHECK_THAT(said(std::string_view("II*\0", 4)), contains("is a TIFF picture"));
    CHECK_THAT(said(std::string_view("MM\0*", 4)), contains("is a TIFF picture"));
    CHECK_THAT(said(std::string_view("\0\0\0\x18"
                                     "ftypheic\0\0\0\0mif1heic",
                                     24)),
               contains("is a HEIC picture"));
    CHECK_THAT(said(std::string_view("\0\0\0\x18"
                                     "ftypmif1\0\0\0\0mif1heic",
                                     24)),
               contains("is a HEIC picture"));
    CHECK_THAT(said(std::string_view("\0\0\0\x18"
                                     "ftypavif\0\0\0\0mif1miaf",
                                     24)),
               contains("is an AVIF picture"));
    CHECK_THAT(said(std::string_view("\0\0\0\x18"
                                     "ftypmif1\0\0\0\0avifmif1",
                                     24)),
               contains("is an AVIF picture"));
    CHECK_THAT(said("\xFF\x0A"), contains("is a JPEG XL picture"));
    CHECK_THAT(said(std::string_view("\0\0\0\x0CjP  ", 8)), contains("is a JPEG 2000 picture"));
    CHECK_THAT(said(std::string_view("PK\x03\x04", 4)), contains("starts with 50 4b 03 04 00 00 00 00; PNG and JPEG"));
    CHECK_THAT(refusal({0x89}), contains("starts with 89;"));
    CHECK_THAT(refusal({}), contains("is empty"));
}

TEST_CASE("pictures that contradict themselves are not encoded", "[image]") {
    for (const picture& p : {picture{}, picture{2, 2, 3, file_bytes(11)}, picture{1, 1, 5, file_bytes(5)}}) {
        REQUIRE_THROWS_AS(repaint::encode_png(p), repaint::shape_error);
        REQUIRE_THROWS_AS(repaint::encode_jpeg(p), repaint::shape_error);
    }
}

TEST_CASE("files: written by extension, read by content", "[image]") {
    const scratch_directory scratch;
    const picture p = noise(12, 7, 4);
    for (const char* name : {"a.png", "b.PNG", "c.d.Png"}) {
        write_picture(scratch / name, p);
        CHECK(repaint::read_picture(scratch / name) == p);
    }
    for (const char* name : {"a.jpg", "b.JPEG", "c.Jpg"}) {
        write_picture(scratch / name, p);
        CHECK(repaint::read_picture(scratch / name).channels == 3);
    }
    std::filesystem::rename(scratch / "a.png", scratch / "misnamed.jpg");
    CHECK(repaint::read_picture(scratch / "misnamed.jpg") == p);

    SECTION("an existing file is replaced, and nothing else is left behind") {
        const std::size_t before = scratch.entries();
        write_picture(scratch / "b.PNG", noise(3, 3, 1));
        CHECK(repaint::read_picture(scratch / "b.PNG").width == 3);
        CHECK(scratch.entries() == before);
    }
    SECTION("names without a format write nothing") {
        const std::size_t before = scratch.entries();
        for (const char* name : {"x", "x.gif", "x.pngx", ".png", "png", "x."}) {
            REQUIRE_THROWS_AS(write_picture(scratch / name, p), std::invalid_argument);
        }
        REQUIRE_THROWS_WITH(write_picture(scratch / "x.webp", p),
                            contains("x.webp") && contains(".png, .jpg or .jpeg"));
        REQUIRE_THROWS_AS(write_picture(scratch / "bad.png", picture{}), repaint::shape_error);
        CHECK(scratch.entries() == before);
    }
    SECTION("what cannot be read names the path") {
        REQUIRE_THROWS_AS(repaint::read_picture(scratch / "none.png"), format_error);
        REQUIRE_THROWS_WITH(repaint::read_picture(scratch / "none.png"), contains("none.png"));
        std::filesystem::create_directory(scratch / "folder.png");
        REQUIRE_THROWS_WITH(repaint::read_picture(scratch / "folder.png"), contains("is a directory"));
        write_bytes(scratch / "empty.png", "");
        REQUIRE_THROWS_WITH(repaint::read_picture(scratch / "empty.png"), contains("empty.png: is empty"));
        write_bytes(scratch / "text.png", "hello, world");
        REQUIRE_THROWS_WITH(repaint::read_picture(scratch / "text.png"), contains("68 65 6c 6c 6f 2c 20 77"));
    }
    SECTION("what cannot be written throws") {
        REQUIRE_THROWS_AS(write_picture(scratch / "no/such/folder.png", p), repaint::error);
    }
}
