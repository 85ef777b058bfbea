#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <stdexcept>
#include <utility>
#include <vector>

#include <repaint/core/host_tensor.hpp>
#include <repaint/error.hpp>
#include <repaint/image/picture.hpp>

#include "support/catch.hpp"

namespace {

using repaint::host_tensor;
using repaint::mask_polarity;
using repaint::picture;
using repaint::pixel_rounding;
using repaint::shape4;

/// 16 x 16 pixels in which every channel takes all 256 values, each channel in another order.
picture every_byte(int channels) {
    picture p{16, 16, channels, {}};
    for (unsigned i = 0; i < 256; ++i) {
        for (unsigned c = 0; c < static_cast<unsigned>(channels); ++c) {
            p.pixels.push_back(static_cast<std::uint8_t>(i * (2 * c + 1) + 37 * c));
        }
    }
    return p;
}

host_tensor filled_with(shape4 shape, float value) { return {shape, std::vector<float>(shape.size(), value)}; }

constexpr float not_a_number = std::numeric_limits<float>::quiet_NaN();
constexpr float infinity = std::numeric_limits<float>::infinity();

} // namespace

TEST_CASE("to_tensor is byte / 127.5 - 1 in float32, for every byte", "[picture]") {
    const picture p = every_byte(3);
    const host_tensor t = to_tensor(p);
    REQUIRE(t.shape() == shape4{1, 3, 16, 16});
    for (int c = 0; c < 3; ++c) {
        for (int y = 0; y < 16; ++y) {
            for (int x = 0; x < 16; ++x) {
                const auto byte = p.pixels[static_cast<std::size_t>((y * 16 + x) * 3 + c)];
                REQUIRE(t(0, c, y, x) == static_cast<float>(byte) / 127.5F - 1.0F);
            }
        }
    }
    CHECK(to_tensor(picture{1, 1, 1, {0}})(0, 0, 0, 0) == -1.0F);
    CHECK(to_tensor(picture{1, 1, 1, {255}})(0, 0, 0, 0) == 1.0F);
}

TEST_CASE("to_tensor drops alpha, replicates grey and reduces RGB to luma", "[picture]") {
    SECTION("grey, with and without alpha, fills three channels") {
        for (const int channels : {1, 2}) {
            const picture p = every_byte(channels);
            const host_tensor t = to_tensor(p);
            REQUIRE(t.shape() == shape4{1, 3, 16, 16});
            for (std::size_t i = 0; i < 256; ++i) {
                const float expected =
                    static_cast<float>(p.pixels[i * static_cast<std::size_t>(channels)]) / 127.5F - 1;
                REQUIRE(t.data()[i] == expected);
                REQUIRE(t.data()[256 + i] == expected);
                REQUIRE(t.data()[512 + i] == expected);
            }
        }
    }
    SECTION("RGBA gives what RGB gives") {
        picture rgb{16, 16, 3, {}};
        const picture rgba = every_byte(4);
        for (std::size_t i = 0; i < 256; ++i) {
            rgb.pixels.insert(rgb.pixels.end(), {rgba.pixels[4 * i], rgba.pixels[4 * i + 1], rgba.pixels[4 * i + 2]});
        }
        const host_tensor a = to_tensor(rgb);
        const host_tensor b = to_tensor(rgba);
        CHECK(std::equal(a.values().begin(), a.values().end(), b.values().begin(), b.values().end()));
    }
    SECTION("luma as PIL rounds it; a grey RGB keeps its value for every byte") {
        const auto luma = [](int r, int g, int b) {
            const picture p{
                1, 1, 3, {static_cast<std::uint8_t>(r), static_cast<std::uint8_t>(g), static_cast<std::uint8_t>(b)}};
            return static_cast<int>(to_picture(to_tensor(p, 1)).pixels[0]);
        };
        CHECK(luma(255, 0, 0) == 76);
        CHECK(luma(0, 255, 0) == 150);
        CHECK(luma(0, 0, 255) == 29);
        CHECK(luma(10, 200, 77) == 129);
        for (int v = 0; v < 256; ++v) {
            REQUIRE(luma(v, v, v) == v);
        }
        CHECK(to_tensor(every_byte(4), 1).shape() == shape4{1, 1, 16, 16});
    }
    SECTION("other numbers of channels") {
        REQUIRE_THROWS_AS(to_tensor(every_byte(3), 2), std::invalid_argument);
        REQUIRE_THROWS_WITH(to_tensor(every_byte(3), 4), contains("1 or 3, got 4"));
    }
}

TEST_CASE("rounding to nearest gives every byte back", "[picture]") {
    for (const int channels : {1, 3}) {
        const picture p = every_byte(channels);
        CHECK(to_picture(to_tensor(p, channels)) == p);
    }
}

TEST_CASE("truncation loses 1 from the bytes 1 to 63 and from no other", "[picture]") {
    const picture p{256, 1, 1, [] {
                        std::vector<std::uint8_t> all;
                        for (int v = 0; v < 256; ++v) {
                            all.push_back(static_cast<std::uint8_t>(v));
                        }
                        return all;
                    }()};
    const picture truncated = to_picture(to_tensor(p, 1), 0, pixel_rounding::truncated);
    for (int v = 0; v < 256; ++v) {
        REQUIRE(truncated.pixels[static_cast<std::size_t>(v)] == (v >= 1 && v <= 63 ? v - 1 : v));
    }
}

TEST_CASE("to_picture rounds, clamps and survives what networks produce", "[picture]") {
    const auto byte = [](float value, pixel_rounding rounding) {
        return static_cast<int>(to_picture(host_tensor({1, 1, 1, 1}, {value}), 0, rounding).pixels[0]);
    };
    for (const auto rounding : {pixel_rounding::nearest, pixel_rounding::truncated}) {
        CHECK(byte(not_a_number, rounding) == 0);
        CHECK(byte(-infinity, rounding) == 0);
        CHECK(byte(infinity, rounding) == 255);
        CHECK(byte(-1.001F, rounding) == 0);
        CHECK(byte(1.001F, rounding) == 255);
        CHECK(byte(-1.0F, rounding) == 0);
        CHECK(byte(1.0F, rounding) == 255);
    }
    CHECK(byte(0.0F, pixel_rounding::nearest) == 128); // 127.5
    CHECK(byte(0.0F, pixel_rounding::truncated) == 127);
    CHECK(byte(0.9999F, pixel_rounding::nearest) == 255);
    CHECK(byte(0.9999F, pixel_rounding::truncated) == 254);

    const host_tensor two({2, 1, 1, 2}, {-1.0F, -1.0F, 1.0F, 0.0F});
    CHECK(to_picture(two, 1).pixels == std::vector<std::uint8_t>{255, 128});
    REQUIRE_THROWS_AS(to_picture(two, 2), repaint::shape_error);
    REQUIRE_THROWS_WITH(to_picture(two, -1), contains("image -1"));
    REQUIRE_THROWS_WITH(to_picture(host_tensor({1, 2, 4, 4})), contains("2 channels"));
}

TEST_CASE("keep masks in both polarities, soft values kept", "[picture]") {
    for (const int channels : {1, 2}) {
        const picture p = every_byte(channels);
        const host_tensor keep = keep_mask(p, mask_polarity::keep);
        const host_tensor paint = keep_mask(p, mask_polarity::paint);
        REQUIRE(keep.shape() == shape4{1, 1, 16, 16});
        for (std::size_t i = 0; i < 256; ++i) {
            const int v = p.pixels[i * static_cast<std::size_t>(channels)];
            REQUIRE(keep.data()[i] == static_cast<float>(v) / 255.0F);
            REQUIRE(paint.data()[i] == static_cast<float>(255 - v) / 255.0F);
        }
    }
    const picture black_and_white{2, 1, 1, {0, 255}};
    CHECK(keep_mask(black_and_white, mask_polarity::keep)(0, 0, 0, 1) == 1.0F);
    CHECK(keep_mask(black_and_white, mask_polarity::paint)(0, 0, 0, 1) == 0.0F);
    CHECK(keep_mask(black_and_white, mask_polarity::paint)(0, 0, 0, 0) == 1.0F);
}

TEST_CASE("RGB masks are one channel when their channels agree and three when they differ", "[picture]") {
    picture p{2, 2, 3, {0, 0, 0, 255, 255, 255, 9, 9, 9, 255, 255, 255}};
    CHECK(keep_mask(p, mask_polarity::keep).shape() == shape4{1, 1, 2, 2});
    for (const std::size_t odd_one : {std::size_t{6}, std::size_t{7}, std::size_t{8}}) {
        picture q = p;
        q.pixels[odd_one] = 200;
        const host_tensor keep = keep_mask(q, mask_polarity::keep);
        REQUIRE(keep.shape() == shape4{1, 3, 2, 2});
        for (int c = 0; c < 3; ++c) {
            CHECK(keep(0, c, 0, 1) == 1.0F);
            const bool changed = static_cast<std::size_t>(c) == odd_one - 6;
            CHECK(keep(0, c, 1, 0) == (changed ? 200.0F : 9.0F) / 255.0F);
        }
    }
}

TEST_CASE("a mask that lives in alpha alone is refused, other alpha is ignored", "[picture]") {
    const picture in_alpha{2, 1, 4, {0, 0, 0, 0, 0, 0, 0, 255}};
    REQUIRE_THROWS_AS(keep_mask(in_alpha, mask_polarity::keep), repaint::format_error);
    REQUIRE_THROWS_WITH(keep_mask(in_alpha, mask_polarity::paint), contains("use a grey mask"));
    REQUIRE_THROWS_AS(keep_mask(picture{2, 1, 2, {7, 255, 7, 0}}, mask_polarity::keep), repaint::format_error);

    const picture with_colours{2, 1, 4, {0, 0, 0, 0, 255, 255, 255, 9}};
    CHECK(keep_mask(with_colours, mask_polarity::keep)(0, 0, 0, 1) == 1.0F);
    // One colour and no transparency: everything is known, which a mask may say.
    const picture all_known{2, 1, 4, {255, 255, 255, 255, 255, 255, 255, 255}};
    CHECK(keep_mask(all_known, mask_polarity::keep)(0, 0, 0, 0) == 1.0F);
}

TEST_CASE("compose_picture gives known pixels their bytes back, whatever was sampled", "[picture]") {
    const host_tensor all_known = filled_with({1, 1, 16, 16}, 1.0F);
    for (const float sampled : {0.3F, not_a_number, infinity, -77.0F}) {
        for (const int channels : {1, 2, 3, 4}) {
            const picture original = every_byte(channels);
            const picture rgb = compose_picture(original, filled_with({1, 3, 16, 16}, sampled), 0, all_known);
            CHECK(rgb == original); // a grey one stays grey
            const picture grey = compose_picture(original, filled_with({1, 1, 16, 16}, sampled), 0, all_known);
            REQUIRE(grey.channels == (channels % 2 == 0 ? 2 : 1));
            if (channels <= 2) {
                CHECK(grey == original);
            } else {
                const picture luma = to_picture(to_tensor(original, 1));
                const auto stride = static_cast<std::size_t>(grey.channels);
                for (std::size_t i = 0; i < 256; ++i) {
                    REQUIRE(grey.pixels[i * stride] == luma.pixels[i]);
                }
            }
        }
    }
}

TEST_CASE("compose_picture takes everything else from the sample", "[picture]") {
    const picture original{2, 2, 3, {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}};
    const host_tensor filled = filled_with({1, 3, 2, 2}, 1.0F);
    SECTION("binary and soft masks") {
        const host_tensor keep({1, 1, 2, 2}, {1.0F, 0.0F, 0.999F, not_a_number});
        CHECK(compose_picture(original, filled, 0, keep).pixels ==
              std::vector<std::uint8_t>{1, 2, 3, 255, 255, 255, 255, 255, 255, 255, 255, 255});
    }
    SECTION("a mask per channel") {
        host_tensor keep({1, 3, 2, 2});
        keep(0, 1, 1, 0) = 1.0F;
        CHECK(compose_picture(original, filled, 0, keep).pixels ==
              std::vector<std::uint8_t>{255, 255, 255, 255, 255, 255, 255, 8, 255, 255, 255, 255});
    }
    SECTION("image and mask of a batch") {
        host_tensor batch({2, 3, 2, 2});
        for (float& v : batch.image(1)) {
            v = -1.0F;
        }
        host_tensor keeps({2, 1, 2, 2});
        keeps(1, 0, 0, 0) = 1.0F;
        CHECK(compose_picture(original, batch, 1, keeps).pixels ==
              std::vector<std::uint8_t>{1, 2, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0});
        CHECK(compose_picture(original, batch, 0, keeps).pixels == std::vector<std::uint8_t>(12, 128));
        CHECK(compose_picture(original, batch, 1, host_tensor({1, 1, 2, 2})).pixels ==
              std::vector<std::uint8_t>(12, 0));
    }
    SECTION("what was filled is opaque, unless alpha is to be kept; grey stays grey") {
        const picture grey_alpha{2, 1, 2, {10, 20, 30, 40}};
        const host_tensor keep({1, 1, 1, 2}, {1.0F, 0.0F});
        CHECK(compose_picture(grey_alpha, filled_with({1, 3, 1, 2}, 1.0F), 0, keep).pixels ==
              std::vector<std::uint8_t>{10, 20, 255, 255});
        CHECK(compose_picture(grey_alpha, filled_with({1, 3, 1, 2}, 1.0F), 0, keep, true).pixels ==
              std::vector<std::uint8_t>{10, 20, 255, 40});
        const picture rgb_alpha{1, 1, 4, {1, 2, 3, 0}};
        host_tensor one_channel({1, 3, 1, 1}, {1.0F, 0.0F, 1.0F});
        CHECK(compose_picture(rgb_alpha, filled_with({1, 3, 1, 1}, 1.0F), 0, one_channel).pixels ==
              std::vector<std::uint8_t>{1, 255, 3, 255});
    }
    SECTION("a fill in colours becomes luma in a grey picture") {
        const picture grey{1, 1, 1, {7}};
        const host_tensor red({1, 3, 1, 1}, {1.0F, -1.0F, -1.0F});
        CHECK(compose_picture(grey, red, 0, host_tensor({1, 1, 1, 1})).pixels == std::vector<std::uint8_t>{76});
    }
}

TEST_CASE("compose_picture refuses what does not fit, with both sizes", "[picture]") {
    const picture original = every_byte(3);
    const host_tensor filled({2, 3, 16, 16});
    const host_tensor keep({1, 1, 16, 16});
    REQUIRE_THROWS_AS(compose_picture(original, host_tensor({1, 3, 16, 15}), 0, keep), repaint::shape_error);
    REQUIRE_THROWS_WITH(compose_picture(original, host_tensor({1, 3, 8, 16}), 0, keep),
                        contains("(1, 3, 8, 16)") && contains("16 x 16"));
    REQUIRE_THROWS_WITH(compose_picture(original, filled, 0, host_tensor({1, 1, 15, 16})), contains("(1, 1, 15, 16)"));
    REQUIRE_THROWS_AS(compose_picture(original, filled, 0, host_tensor({1, 2, 16, 16})), repaint::shape_error);
    REQUIRE_THROWS_AS(compose_picture(original, filled, 0, host_tensor({3, 1, 16, 16})), repaint::shape_error);
    REQUIRE_THROWS_AS(compose_picture(original, host_tensor({1, 1, 16, 16}), 0, host_tensor({1, 3, 16, 16})),
                      repaint::shape_error);
    REQUIRE_THROWS_AS(compose_picture(original, filled, 2, keep), repaint::shape_error);
    REQUIRE_THROWS_AS(compose_picture(original, host_tensor({1, 4, 16, 16}), 0, keep), repaint::shape_error);
    REQUIRE_THROWS_AS(compose_picture(picture{}, filled, 0, keep), repaint::shape_error);
}

TEST_CASE("all eight orientations of a picture that is 3 wide and 2 high", "[picture]") {
    // 1 2 3
    // 4 5 6
    const picture stored{3, 2, 1, {1, 2, 3, 4, 5, 6}};
    const std::vector<picture> upright{
        {3, 2, 1, {1, 2, 3, 4, 5, 6}}, // 1 as it is
        {3, 2, 1, {3, 2, 1, 6, 5, 4}}, // 2 mirrored left to right
        {3, 2, 1, {6, 5, 4, 3, 2, 1}}, // 3 half a turn
        {3, 2, 1, {4, 5, 6, 1, 2, 3}}, // 4 mirrored top to bottom
        {2, 3, 1, {1, 4, 2, 5, 3, 6}}, // 5 transposed
        {2, 3, 1, {4, 1, 5, 2, 6, 3}}, // 6 a quarter turn clockwise
        {2, 3, 1, {6, 3, 5, 2, 4, 1}}, // 7 transposed about the other diagonal
        {2, 3, 1, {3, 6, 2, 5, 1, 4}}, // 8 a quarter turn anticlockwise
    };
    for (int orientation = 1; orientation <= 8; ++orientation) {
        CAPTURE(orientation);
        CHECK(oriented(stored, orientation) == upright[static_cast<std::size_t>(orientation - 1)]);
    }
    const picture p = every_byte(4);
    CHECK(oriented(oriented(p, 6), 8) == p);
    CHECK(oriented(oriented(p, 7), 7) == p);
    REQUIRE_THROWS_AS(oriented(stored, 0), std::invalid_argument);
    REQUIRE_THROWS_AS(oriented(stored, 9), std::invalid_argument);
}

TEST_CASE("over_white blends alpha and leaves the rest alone", "[picture]") {
    CHECK(over_white(every_byte(3)) == every_byte(3));
    CHECK(over_white(picture{2, 2, 2, {0, 0, 0, 255, 100, 128, 255, 7}}) == picture{2, 2, 1, {255, 0, 177, 255}});
    CHECK(over_white(picture{1, 1, 4, {0, 128, 255, 51}}) == picture{1, 1, 3, {204, 230, 255}});
}

TEST_CASE("a contact sheet places, scales and centres", "[picture]") {
    const picture one{1, 1, 1, {0}};
    const picture wide{3, 1, 3, {10, 11, 12, 20, 21, 22, 30, 31, 32}};
    const picture see_through{1, 1, 4, {0, 0, 0, 0}};
    SECTION("sizes, gap and background") {
        const picture sheet =
            repaint::contact_sheet({{wide, one}, {see_through}}, {.scale = 2, .gap = 1, .background = {1, 2, 3}});
        REQUIRE(sheet.channels == 3);
        REQUIRE(sheet.width == 1 + 6 + 1 + 6 + 1);
        REQUIRE(sheet.height == 1 + 2 + 1 + 2 + 1);
        const auto pixel = [&sheet](int x, int y) {
            const auto* at = sheet.pixels.data() + (y * sheet.width + x) * 3;
            return std::vector<int>{at[0], at[1], at[2]};
        };
        CHECK(pixel(0, 0) == std::vector<int>{1, 2, 3});
        CHECK(pixel(1, 1) == std::vector<int>{10, 11, 12});
        CHECK(pixel(2, 2) == std::vector<int>{10, 11, 12});
        CHECK(pixel(3, 1) == std::vector<int>{20, 21, 22});
        CHECK(pixel(6, 2) == std::vector<int>{30, 31, 32});
        CHECK(pixel(7, 1) == std::vector<int>{1, 2, 3});
        CHECK(pixel(9, 1) == std::vector<int>{1, 2, 3});
        CHECK(pixel(10, 1) == std::vector<int>{0, 0, 0});
        CHECK(pixel(11, 2) == std::vector<int>{0, 0, 0});
        CHECK(pixel(12, 1) == std::vector<int>{1, 2, 3});
        CHECK(pixel(3, 4) == std::vector<int>{255, 255, 255});
        CHECK(pixel(10, 4) == std::vector<int>{1, 2, 3});
    }
    SECTION("one picture without a gap is itself") { CHECK(repaint::contact_sheet({{wide}}, {.gap = 0}) == wide); }
    SECTION("an empty cell keeps its place") {
        const picture sheet = repaint::contact_sheet({{picture{}, one}}, {.gap = 0, .background = {9, 9, 9}});
        CHECK(sheet.pixels == std::vector<std::uint8_t>{9, 9, 9, 0, 0, 0});
    }
    SECTION("what it refuses") {
        REQUIRE_THROWS_AS(repaint::contact_sheet({}), std::invalid_argument);
        REQUIRE_THROWS_AS(repaint::contact_sheet({{}, {picture{}}}), std::invalid_argument);
        REQUIRE_THROWS_AS(repaint::contact_sheet({{one}}, {.scale = 0}), std::invalid_argument);
        REQUIRE_THROWS_AS(repaint::contact_sheet({{one}}, {.gap = -1}), std::invalid_argument);
        REQUIRE_THROWS_AS(repaint::contact_sheet({{wide}}, {.scale = 65535}), repaint::shape_error);
        REQUIRE_THROWS_AS(repaint::contact_sheet({{picture{1, 1, 1, {}}}}), repaint::shape_error);
    }
}

TEST_CASE("pictures that contradict themselves are refused", "[picture]") {
    const std::vector<picture> broken{
        {0, 1, 1, {}},
        {1, 0, 1, {}},
        {-1, -1, 1, {1}},
        {1, 1, 0, {}},
        {1, 1, 5, {1, 2, 3, 4, 5}},
        {2, 1, 3, {1, 2, 3}},
        {1, 1, 3, {1, 2, 3, 4}},
        {65536, 1, 1, {}},
        {65535, 65535, 1, {}},
    };
    for (const picture& p : broken) {
        CAPTURE(p.width, p.height, p.channels, p.pixels.size());
        REQUIRE_THROWS_AS(to_tensor(p), repaint::shape_error);
        REQUIRE_THROWS_AS(keep_mask(p, mask_polarity::keep), repaint::shape_error);
        REQUIRE_THROWS_AS(over_white(p), repaint::shape_error);
        REQUIRE_THROWS_AS(oriented(p, 3), repaint::shape_error);
    }
    REQUIRE_THROWS_WITH(to_tensor(picture{2, 1, 3, {1, 2, 3}}), contains("2 x 1") && contains("6 bytes, got 3"));
}
