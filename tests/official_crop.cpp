// The official preparation of pictures and masks, byte for byte as Pillow does it (tests/peers/make_official_crop_data.py).
#include <cstddef>
#include <cstdint>
#include <fstream>
#include <sstream>
#include <string>

#include <repaint/error.hpp>
#include <repaint/image/codecs.hpp>
#include <repaint/image/official_crop.hpp>

#include "support/golden.hpp"

using repaint::official_crop;
using repaint::picture;

namespace {

/// The picture of make_official_crop_data.py: edges, gradients and noise.
picture input(int width, int height, int channels) {
    picture p{width, height, channels, {}};
    const std::size_t count =
        static_cast<std::size_t>(width) * static_cast<std::size_t>(height) * static_cast<std::size_t>(channels);
    for (std::size_t i = 0; i < count; ++i) {
        auto x = static_cast<std::uint32_t>(i * 2654435761U + 12345U);
        x ^= x >> 15U;
        x *= 2246822519U;
        x ^= x >> 13U;
        const std::size_t pixel = i / static_cast<std::size_t>(channels);
        const std::size_t column = pixel % static_cast<std::size_t>(width);
        const std::size_t row = pixel / static_cast<std::size_t>(width);
        const std::size_t kind = (column / 9 + row / 7) % 3;
        p.pixels.push_back(static_cast<std::uint8_t>(kind == 0   ? 255 * ((column / 5) % 2)
                                                     : kind == 1 ? (column * 3 + row * 5) & 0xFFU
                                                                 : (x >> 11U) & 0xFFU));
    }
    return p;
}

std::uint64_t fnv(const std::vector<std::uint8_t>& bytes) {
    std::uint64_t value = 0xCBF29CE484222325U;
    for (const std::uint8_t byte : bytes) {
        value = (value ^ byte) * 0x100000001B3U;
    }
    return value;
}

} // namespace

TEST_CASE("official_crop gives the bytes that Pillow gives", "[official_crop]") {
    std::ifstream file(golden::data("official_crop/crops.txt"));
    REQUIRE(file);
    std::string line;
    int cases = 0;
    while (std::getline(file, line)) {
        if (line.starts_with("#")) {
            continue;
        }
        INFO(line);
        std::istringstream words(line);
        int width = 0;
        int height = 0;
        int channels = 0;
        int size = 0;
        std::uint64_t expected = 0;
        words >> width >> height >> channels >> size >> std::hex >> expected;
        REQUIRE(words);
        const picture result = official_crop(input(width, height, channels), size);
        CHECK(result.width == size);
        CHECK(result.height == size);
        CHECK(result.channels == 3);
        CHECK(fnv(result.pixels) == expected);
        ++cases;
    }
    CHECK(cases == 35);
}

TEST_CASE("the pixels behind the hashes", "[official_crop]") {
    CHECK(official_crop(input(50, 37, 3), 16) == repaint::read_picture(golden::data("official_crop/small.png")));
    CHECK(official_crop(input(37, 50, 1), 16) == repaint::read_picture(golden::data("official_crop/mask.png")));
}

TEST_CASE("official_crop drops alpha, as the official program does", "[official_crop]") {
    const picture rgb = input(40, 30, 3);
    picture rgba{40, 30, 4, {}};
    for (std::size_t i = 0; i < rgb.pixels.size(); ++i) {
        rgba.pixels.push_back(rgb.pixels[i]);
        if (i % 3 == 2) {
            rgba.pixels.push_back(static_cast<std::uint8_t>(i));
        }
    }
    CHECK(official_crop(rgba, 24) == official_crop(rgb, 24));

    const picture grey = input(40, 30, 1);
    picture grey_alpha{40, 30, 2, {}};
    for (const std::uint8_t value : grey.pixels) {
        grey_alpha.pixels.push_back(value);
        grey_alpha.pixels.push_back(7);
    }
    CHECK(official_crop(grey_alpha, 24) == official_crop(grey, 24));
}

TEST_CASE("a mask of another size becomes soft", "[official_crop]") {
    picture mask{40, 30, 1, {}};
    for (int i = 0; i < 40 * 30; ++i) {
        mask.pixels.push_back(i % 40 < 20 ? 255 : 0);
    }
    bool soft = false;
    for (const std::uint8_t value : official_crop(mask, 24).pixels) {
        soft = soft || (value != 0 && value != 255);
    }
    CHECK(soft);
}

TEST_CASE("pictures that are one pixel high do not grow beyond what is cut out", "[official_crop]") {
    const picture line = input(65535, 1, 1);
    const picture result = official_crop(line, 256);
    CHECK(result.width == 256);
    CHECK(result.height == 256);
}

TEST_CASE("official_crop refuses impossible sizes and pictures", "[official_crop]") {
    const picture p = input(8, 8, 3);
    REQUIRE_THROWS_AS(official_crop(p, 0), std::invalid_argument);
    REQUIRE_THROWS_AS(official_crop(p, -1), std::invalid_argument);
    REQUIRE_THROWS_WITH(official_crop(p, 16385), contains("must be 1 to 16384, got 16385"));
    REQUIRE_THROWS_AS(official_crop(picture{}, 8), repaint::shape_error);
    REQUIRE_THROWS_AS(official_crop(picture{8, 8, 3, {1, 2, 3}}, 8), repaint::shape_error);
}
