#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <repaint/core/host_tensor.hpp>
#include <repaint/error.hpp>
#include <repaint/image/mask.hpp>
#include <repaint/image/mask_canvas.hpp>
#include <repaint/image/mask_reading.hpp>
#include <repaint/image/mask_shaping.hpp>

#include "support/catch.hpp"

namespace {

using repaint::host_tensor;
using repaint::make_mask;
using repaint::mask_kind;
using repaint::shape4;

constexpr mask_kind all_kinds[] = {mask_kind::wide,  mask_kind::narrow,        mask_kind::half, mask_kind::expand,
                                   mask_kind::lines, mask_kind::super_resolve, mask_kind::box};

bool same(const host_tensor& a, const host_tensor& b) {
    return a.shape() == b.shape() && std::equal(a.values().begin(), a.values().end(), b.values().begin());
}

double missing_share(const host_tensor& mask) {
    return static_cast<double>(std::count(mask.values().begin(), mask.values().end(), 0.0F)) /
           static_cast<double>(mask.size());
}

/// The side of the largest square without a known pixel.
int largest_hole(const host_tensor& mask) {
    const int width = mask.shape().w;
    std::vector<int> above(static_cast<std::size_t>(width) + 1, 0);
    int largest = 0;
    for (int y = 0; y < mask.shape().h; ++y) {
        std::vector<int> here(above.size(), 0);
        for (int x = 0; x < width; ++x) {
            const auto i = static_cast<std::size_t>(x);
            if (mask(0, 0, y, x) == 0.0F) {
                here[i + 1] = 1 + std::min({here[i], above[i], above[i + 1]});
                largest = std::max(largest, here[i + 1]);
            }
        }
        above = here;
    }
    return largest;
}

} // namespace

TEST_CASE("mask names", "[mask]") {
    for (const mask_kind kind : all_kinds) {
        CHECK(repaint::parse_mask_kind(to_string(kind)) == kind);
    }
    CHECK(repaint::parse_mask_kind("super-resolve") == mask_kind::super_resolve);
    for (const char* wrong : {"", "Wide", "super_resolve", "wide ", "boxes"}) {
        REQUIRE_THROWS_AS(repaint::parse_mask_kind(wrong), std::invalid_argument);
    }
    REQUIRE_THROWS_WITH(repaint::parse_mask_kind("thick"),
                        contains("wide, narrow, half, expand, lines, super-resolve or box, not 'thick'"));
    REQUIRE_THROWS_AS(to_string(static_cast<mask_kind>(9)), std::invalid_argument);
    REQUIRE_THROWS_AS(make_mask(static_cast<mask_kind>(9), 8, 8), std::invalid_argument);
}

TEST_CASE("the regular masks at 256 x 256", "[mask]") {
    const host_tensor half = make_mask(mask_kind::half, 256, 256);
    const host_tensor expand = make_mask(mask_kind::expand, 256, 256);
    const host_tensor lines = make_mask(mask_kind::lines, 256, 256);
    const host_tensor super_resolve = make_mask(mask_kind::super_resolve, 256, 256);
    for (int y = 0; y < 256; ++y) {
        for (int x = 0; x < 256; ++x) {
            REQUIRE(half(0, 0, y, x) == (x < 128 ? 1.0F : 0.0F));
            REQUIRE(expand(0, 0, y, x) == (x >= 96 && x < 160 && y >= 96 && y < 160 ? 1.0F : 0.0F));
            REQUIRE(lines(0, 0, y, x) == (y % 2 == 1 ? 1.0F : 0.0F));
            REQUIRE(super_resolve(0, 0, y, x) == (y % 2 == 1 && x % 2 == 1 ? 1.0F : 0.0F));
        }
    }
    CHECK(missing_share(half) == 0.5);
    CHECK(missing_share(expand) == 15.0 / 16.0);
    CHECK(missing_share(lines) == 0.5);
    CHECK(missing_share(super_resolve) == 0.75);
}

TEST_CASE("the regular masks at odd sizes", "[mask]") {
    CHECK(missing_share(make_mask(mask_kind::half, 5, 2)) == 0.6);
    CHECK(missing_share(make_mask(mask_kind::lines, 2, 5)) == 0.6);
    CHECK(missing_share(make_mask(mask_kind::super_resolve, 3, 3)) == approx(8.0 / 9.0));
    const host_tensor expand = make_mask(mask_kind::expand, 12, 7);
    CHECK(missing_share(expand) == approx(1.0 - 3.0 / 84.0));
    CHECK(expand(0, 0, 3, 4) == 1.0F);
    CHECK(expand(0, 0, 3, 6) == 1.0F);
}

TEST_CASE("every kind at every small size, and long ones: binary, something missing, no crash", "[mask]") {
    const auto examine = [](mask_kind kind, int width, int height) {
        const host_tensor mask = make_mask(kind, width, height, 5);
        CAPTURE(to_string(kind), width, height);
        REQUIRE(mask.shape() == shape4{1, 1, height, width});
        REQUIRE(std::all_of(mask.values().begin(), mask.values().end(), [](float v) { return v == 0 || v == 1; }));
        if (kind != mask_kind::expand || width * height > 1) {
            REQUIRE(missing_share(mask) > 0.0);
        }
    };
    for (const mask_kind kind : all_kinds) {
        for (int height = 1; height <= 9; ++height) {
            for (int width = 1; width <= 9; ++width) {
                examine(kind, width, height);
            }
        }
        examine(kind, 1, 65535);
        examine(kind, 65535, 1);
        examine(kind, 2047, 33);
    }
}

TEST_CASE("sizes that are refused, before anything is allocated", "[mask]") {
    for (const mask_kind kind : all_kinds) {
        for (const auto& [width, height] : std::vector<std::pair<int, int>>{
                 {0, 5}, {5, 0}, {-1, 5}, {65536, 1}, {1, 65536}, {65535, 65535}, {2147483647, 2147483647}}) {
            REQUIRE_THROWS_AS(make_mask(kind, width, height), std::invalid_argument);
        }
    }
    REQUIRE_THROWS_WITH(make_mask(mask_kind::wide, 65536, 2), contains("65536 x 2") && contains("65535"));
}

TEST_CASE("the same seed draws the same mask, another seed another", "[mask]") {
    for (const mask_kind kind : {mask_kind::wide, mask_kind::narrow, mask_kind::box}) {
        CAPTURE(to_string(kind));
        CHECK(same(make_mask(kind, 100, 80, 7), make_mask(kind, 100, 80, 7)));
        CHECK_FALSE(same(make_mask(kind, 100, 80, 7), make_mask(kind, 100, 80, 8)));
        CHECK_FALSE(same(make_mask(kind, 100, 80, 7), make_mask(kind, 100, 80, 7 + (std::uint64_t{1} << 40U))));
    }
    for (const mask_kind kind : {mask_kind::half, mask_kind::expand, mask_kind::lines, mask_kind::super_resolve}) {
        CHECK(same(make_mask(kind, 100, 80, 7), make_mask(kind, 100, 80, 8)));
    }
}

TEST_CASE("drawn masks are the same pixels on every platform", "[mask]") {
    // FNV-1a of the known pixels: integers only, so these numbers hold for every compiler and processor.
    const auto digest = [](mask_kind kind, int width, int height, std::uint64_t seed) {
        std::uint64_t hash = 14695981039346656037U;
        const host_tensor mask = make_mask(kind, width, height, seed);
        for (const float v : mask.values()) {
            hash = (hash ^ static_cast<std::uint64_t>(v)) * 1099511628211U;
        }
        return hash;
    };
    CHECK(digest(mask_kind::wide, 256, 256, 0) == 0x466b0f0deadd4bf8U);
    CHECK(digest(mask_kind::wide, 301, 77, 12345) == 0xfab603fe26500530U);
    CHECK(digest(mask_kind::narrow, 256, 256, 0) == 0x10a919204c6de4ffU);
    CHECK(digest(mask_kind::narrow, 301, 77, 12345) == 0xc01358c4ac439a1aU);
    CHECK(digest(mask_kind::box, 256, 256, 0) == 0x2041f03750c7fd24U);
}

TEST_CASE("random strokes leave at least half of the picture", "[mask]") {
    for (const mask_kind kind : {mask_kind::wide, mask_kind::narrow}) {
        double sum = 0;
        for (std::uint64_t seed = 0; seed < 100; ++seed) {
            const double share = missing_share(make_mask(kind, 128, 128, seed));
            REQUIRE(share > 0.0);
            REQUIRE(share <= 0.5);
            sum += share;
        }
        // Over 1000 seeds at 256 x 256 the mean is 0.27 for both kinds; 100 seeds scatter by about 0.015.
        CAPTURE(to_string(kind));
        CHECK(sum / 100 > 0.20);
        CHECK(sum / 100 < 0.34);
    }
}

TEST_CASE("wide strokes make larger holes than narrow ones, in proportion to the picture", "[mask]") {
    for (const int side : {64, 256}) {
        double wide = 0;
        double narrow = 0;
        for (std::uint64_t seed = 0; seed < 40; ++seed) {
            wide += largest_hole(make_mask(mask_kind::wide, side, side, seed));
            narrow += largest_hole(make_mask(mask_kind::narrow, side, side, seed));
        }
        // Strokes are 5 to 104 against 5 to 14 of 256 pixels thick; crossing narrow ones join to larger squares.
        CAPTURE(side, wide / 40, narrow / 40);
        CHECK(wide > 2 * narrow);
        CHECK(wide / 40 > side * 50.0 / 256.0);
        CHECK(narrow / 40 < side * 40.0 / 256.0);
    }
}

TEST_CASE("a stroke is the set of pixels within half its thickness of the segment", "[mask]") {
    using repaint::detail::mask_canvas;
    using repaint::detail::mask_point;
    const std::vector<std::pair<mask_point, mask_point>> segments{
        {{20, 20}, {20, 20}}, {{5, 20}, {35, 20}}, {{20, 5}, {20, 35}}, {{4, 6}, {31, 22}},
        {{31, 22}, {4, 6}},   {{30, 3}, {9, 36}},  {{0, 0}, {40, 40}},  {{40, 10}, {37, 40}},
    };
    for (const auto& [a, b] : segments) {
        for (const std::int64_t thickness : {1, 2, 3, 5, 8, 15, 40}) {
            mask_canvas canvas(40, 40);
            canvas.line(a, b, thickness);
            const std::int64_t dx = b.x - a.x;
            const std::int64_t dy = b.y - a.y;
            const std::int64_t length2 = dx * dx + dy * dy;
            for (std::int64_t y = 0; y < 40; ++y) {
                for (std::int64_t x = 0; x < 40; ++x) {
                    const auto near = [&](mask_point p) {
                        return 4 * ((x - p.x) * (x - p.x) + (y - p.y) * (y - p.y)) <= thickness * thickness;
                    };
                    const std::int64_t along = (x - a.x) * dx + (y - a.y) * dy;
                    const std::int64_t across = (x - a.x) * dy - (y - a.y) * dx;
                    const bool beside = length2 > 0 && along >= 0 && along <= length2 &&
                                        4 * across * across <= thickness * thickness * length2;
                    CAPTURE(a.x, a.y, b.x, b.y, thickness, x, y);
                    REQUIRE(canvas.missing(static_cast<std::size_t>(y * 40 + x)) == (near(a) || near(b) || beside));
                }
            }
        }
    }
}

TEST_CASE("a box has sides of 1/4 to 1/2 and stays 1/16 away from the border", "[mask]") {
    for (const auto& [width, height] : std::vector<std::pair<int, int>>{{256, 256}, {64, 200}, {33, 47}, {16, 16}}) {
        for (std::uint64_t seed = 0; seed < 200; ++seed) {
            const host_tensor mask = make_mask(mask_kind::box, width, height, seed);
            int left = width;
            int right = -1;
            int top = height;
            int bottom = -1;
            int missing = 0;
            for (int y = 0; y < height; ++y) {
                for (int x = 0; x < width; ++x) {
                    if (mask(0, 0, y, x) == 0.0F) {
                        left = std::min(left, x);
                        right = std::max(right, x);
                        top = std::min(top, y);
                        bottom = std::max(bottom, y);
                        ++missing;
                    }
                }
            }
            const int box_width = right - left + 1;
            const int box_height = bottom - top + 1;
            CAPTURE(width, height, seed);
            REQUIRE(missing == box_width * box_height);
            REQUIRE(4 * box_width >= width);
            REQUIRE(2 * box_width <= width);
            REQUIRE(4 * box_height >= height);
            REQUIRE(2 * box_height <= height);
            REQUIRE(16 * std::min(left, width - 1 - right) >= width);
            REQUIRE(16 * std::min(top, height - 1 - bottom) >= height);
        }
    }
}

namespace {

using repaint::mask_polarity;
using repaint::picture;

/// A picture of these grey or RGB values in one row.
picture row(int channels, std::vector<std::uint8_t> pixels) {
    return {static_cast<int>(pixels.size()) / channels, 1, channels, std::move(pixels)};
}

std::vector<float> kept(const picture& p, mask_polarity polarity = mask_polarity::keep) {
    const auto mask = repaint::understand_mask(p, polarity).keep;
    return {mask.values().begin(), mask.values().end()};
}

/// A disc of one value on another, blurred by a box of the given radius, `repeats` times.
picture blurred_disc(int side, int radius, int repeats) {
    picture p{side, side, 1,
              std::vector<std::uint8_t>(static_cast<std::size_t>(side) * static_cast<std::size_t>(side))};
    std::vector<double> values(p.pixels.size());
    const auto at = [side](int x, int y) {
        return static_cast<std::size_t>(std::clamp(y, 0, side - 1)) * static_cast<std::size_t>(side) +
               static_cast<std::size_t>(std::clamp(x, 0, side - 1));
    };
    for (int y = 0; y < side; ++y) {
        for (int x = 0; x < side; ++x) {
            values[at(x, y)] = std::hypot(x - side / 2, y - side / 2) < side / 4.0 ? 255.0 : 0.0;
        }
    }
    for (int i = 0; i < repeats; ++i) {
        auto next = values;
        for (int y = 0; y < side; ++y) {
            for (int x = 0; x < side; ++x) {
                double sum = 0.0;
                for (int d = -radius; d <= radius; ++d) {
                    sum += i % 2 == 0 ? values[at(x + d, y)] : values[at(x, y + d)];
                }
                next[at(x, y)] = sum / (2 * radius + 1);
            }
        }
        values = std::move(next);
    }
    for (std::size_t i = 0; i < values.size(); ++i) {
        p.pixels[i] = static_cast<std::uint8_t>(std::lround(values[i]));
    }
    return p;
}

} // namespace

TEST_CASE("masks mean what people mean by them", "[mask]") {
    CHECK(kept(row(1, {0, 255, 128, 3})) == std::vector<float>{0.0F, 1.0F, 128.0F / 255.0F, 3.0F / 255.0F});
    CHECK(kept(row(1, {0, 255, 128, 3}), mask_polarity::paint) ==
          std::vector<float>{1.0F, 0.0F, 127.0F / 255.0F, 252.0F / 255.0F});
    // Two values, whatever they are.
    for (const auto& [low, high] : {std::pair{0, 1}, {0, 128}, {17, 40}, {254, 255}}) {
        const auto l = static_cast<std::uint8_t>(low);
        const auto h = static_cast<std::uint8_t>(high);
        const auto mask = repaint::understand_mask(row(1, {l, h, l}), mask_polarity::keep);
        CHECK(std::vector<float>(mask.keep.values().begin(), mask.keep.values().end()) ==
              std::vector<float>{0.0F, 1.0F, 0.0F});
        REQUIRE(mask.notes.size() == 1);
        CHECK(mask.notes.front() == "its two values, " + std::to_string(low) + " and " + std::to_string(high) +
                                        ", were taken as black and white");
    }
    CHECK(repaint::understand_mask(row(1, {0, 255}), mask_polarity::keep).notes.empty());
    // A brush of any colour acts on all channels: on black, and on white.
    for (const std::vector<std::uint8_t>& brush : {std::vector<std::uint8_t>{255, 0, 0}, {0, 200, 0}, {90, 0, 90}}) {
        std::vector<std::uint8_t> on_black{0, 0, 0};
        on_black.insert(on_black.end(), brush.begin(), brush.end());
        CHECK(kept(row(3, on_black), mask_polarity::paint) == std::vector<float>{1.0F, 0.0F});
    }
    CHECK(kept(row(3, {255, 255, 255, 255, 0, 0})) == std::vector<float>{1.0F, 0.0F});
    CHECK(kept(row(1, {0, 0})) == std::vector<float>{0.0F, 0.0F});
    CHECK(kept(row(1, {255, 255})) == std::vector<float>{1.0F, 1.0F});
    CHECK_THROWS_WITH(kept(row(1, {7, 7})), contains("one value 7"));
    CHECK_THROWS_WITH(kept(row(2, {255, 255, 255, 0})), contains("differs only in alpha"));
    CHECK(kept(row(2, {255, 255, 0, 0})) == std::vector<float>{1.0F, 0.0F});
}

TEST_CASE("a blurred mask is a mask, a photograph is not", "[mask]") {
    for (const int radius : {0, 1, 3, 8, 12}) {
        INFO(radius);
        CHECK_NOTHROW(kept(blurred_disc(128, radius, 4)));
    }
    picture photograph{64, 64, 1, std::vector<std::uint8_t>(64 * 64)};
    for (std::size_t i = 0; i < photograph.pixels.size(); ++i) {
        photograph.pixels[i] = static_cast<std::uint8_t>((i * 2654435761U >> 16U) % 256);
    }
    CHECK_THROWS_WITH(kept(photograph), contains("does not look like a mask"));
    for (std::size_t i = 0; i < photograph.pixels.size(); ++i) {
        photograph.pixels[i] = static_cast<std::uint8_t>(60 + i % 64 * 2); // a smooth slope without ends
    }
    CHECK_THROWS_WITH(kept(photograph), contains("Is it a picture?"));
    // What compression leaves around edges is no reason.
    picture compressed = blurred_disc(128, 0, 0);
    for (std::size_t i = 0; i < compressed.pixels.size(); i += 3) {
        compressed.pixels[i] = static_cast<std::uint8_t>(compressed.pixels[i] > 0 ? 247 : 9);
    }
    CHECK_NOTHROW(kept(compressed));
}

TEST_CASE("arrays as masks", "[mask]") {
    const auto understood = [](std::vector<float> values, mask_polarity polarity = mask_polarity::keep) {
        const int count = static_cast<int>(values.size());
        const auto mask = repaint::understand_mask(host_tensor({1, 1, 1, count}, std::move(values)), polarity).keep;
        return std::vector<float>(mask.values().begin(), mask.values().end());
    };
    CHECK(understood({0.0F, 1.0F, 0.25F}) == std::vector<float>{0.0F, 1.0F, 0.25F});
    CHECK(understood({0.0F, 1.0F, 0.25F}, mask_polarity::paint) == std::vector<float>{1.0F, 0.0F, 0.75F});
    CHECK(understood({0.0F, 255.0F}) == std::vector<float>{0.0F, 1.0F});
    CHECK(understood({-1.0F, 1.0F}) == std::vector<float>{0.0F, 1.0F});
    CHECK(understood({0.0F, 255.0F, 51.0F}) == std::vector<float>{0.0F, 1.0F, 0.2F});
    CHECK_THROWS_WITH(understood({0.0F, 1.0F, 300.0F}), contains("from 0 to 300"));
    CHECK_THROWS_WITH(understood({0.0F, 1.0F, -0.5F}), contains("from -0.5 to 1"));
    CHECK_THROWS_WITH(understood({0.0F, std::nanf("")}), contains("NaN"));
}

TEST_CASE("holes from alpha, from a colour and from NaN", "[mask]") {
    const auto values = [](const host_tensor& mask) {
        return std::vector<float>(mask.values().begin(), mask.values().end());
    };
    CHECK(values(repaint::alpha_mask(row(2, {9, 0, 9, 255, 9, 51}))) == std::vector<float>{0.0F, 1.0F, 0.2F});
    CHECK(values(repaint::alpha_mask(row(4, {1, 2, 3, 0, 1, 2, 3, 255}), mask_polarity::paint)) ==
          std::vector<float>{1.0F, 0.0F});
    CHECK_THROWS_WITH(repaint::alpha_mask(row(1, {0, 1})), contains("no alpha"));
    CHECK_THROWS_WITH(repaint::alpha_mask(row(2, {0, 255})), contains("opaque everywhere"));
    CHECK(values(repaint::colour_mask(row(3, {255, 0, 0, 250, 4, 0, 0, 0, 0}), {255, 0, 0}, 5)) ==
          std::vector<float>{0.0F, 0.0F, 1.0F});
    CHECK(values(repaint::colour_mask(row(3, {255, 0, 0, 250, 4, 0}), {255, 0, 0})) == std::vector<float>{0.0F, 1.0F});
    CHECK_THROWS_WITH(repaint::colour_mask(row(3, {250, 0, 0}), {255, 0, 0}, 4), contains("--tolerance"));
    CHECK(values(repaint::nan_mask(host_tensor({1, 2, 1, 2}, {0.0F, 1.0F, std::nanf(""), 1.0F}))) ==
          std::vector<float>{0.0F, 1.0F});
}

TEST_CASE("distances are those of a search through all pixels", "[mask]") {
    std::uint32_t random = 1;
    for (const auto& [width, height] : {std::pair{1, 1}, {1, 17}, {23, 1}, {16, 9}, {31, 40}}) {
        for (const unsigned rarity : {2U, 20U, 400U}) {
            std::vector<bool> marked(static_cast<std::size_t>(width) * static_cast<std::size_t>(height));
            for (std::size_t i = 0; i < marked.size(); ++i) {
                random = random * 1664525U + 1013904223U;
                marked[i] = (random >> 16U) % rarity == 0;
            }
            const auto found = repaint::squared_distances(marked, width, height);
            for (int y = 0; y < height; ++y) {
                for (int x = 0; x < width; ++x) {
                    std::int64_t nearest = std::numeric_limits<std::int64_t>::max();
                    for (int v = 0; v < height; ++v) {
                        for (int u = 0; u < width; ++u) {
                            if (marked[static_cast<std::size_t>(v * width + u)]) {
                                nearest = std::min<std::int64_t>(nearest, (x - u) * (x - u) + (y - v) * (y - v));
                            }
                        }
                    }
                    REQUIRE(found[static_cast<std::size_t>(y * width + x)] == nearest);
                }
            }
        }
    }
    CHECK_THROWS_AS(repaint::squared_distances({true}, 2, 1), repaint::shape_error);
}

TEST_CASE("holes grow round and fade outward", "[mask]") {
    host_tensor point({1, 1, 9, 9}, std::vector<float>(81, 1.0F));
    point(0, 0, 4, 4) = 0.0F;
    CHECK(same(repaint::grown(point, 0.0), point));
    const auto disc = repaint::grown(point, 2.0);
    for (int y = 0; y < 9; ++y) {
        for (int x = 0; x < 9; ++x) {
            CHECK(disc(0, 0, y, x) == ((x - 4) * (x - 4) + (y - 4) * (y - 4) <= 4 ? 0.0F : 1.0F));
        }
    }
    const auto soft = repaint::feathered(point, 3.0);
    CHECK(soft(0, 0, 4, 4) == 0.0F);
    CHECK(soft(0, 0, 4, 5) > 0.0F);
    CHECK(soft(0, 0, 4, 5) < soft(0, 0, 4, 6));
    CHECK(soft(0, 0, 4, 6) == Approx(0.5F));
    CHECK(soft(0, 0, 4, 7) < 1.0F);
    CHECK(soft(0, 0, 4, 8) == 1.0F);
    CHECK(same(repaint::feathered(point, 0.0), point));
    CHECK(same(repaint::thresholded(soft, 0.5F), repaint::thresholded(repaint::thresholded(soft, 0.5F), 1.0F)));
    CHECK_THROWS_AS(repaint::grown(point, -1.0), std::invalid_argument);
    CHECK_THROWS_AS(repaint::feathered(point, std::nan("")), std::invalid_argument);
    CHECK_THROWS_AS(repaint::thresholded(point, 0.0F), std::invalid_argument);
    const host_tensor nothing({1, 1, 3, 3}, std::vector<float>(9, 1.0F));
    CHECK(same(repaint::grown(nothing, 5.0), nothing));
    CHECK(same(repaint::feathered(nothing, 5.0), nothing));
}
