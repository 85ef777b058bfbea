#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>

#include <repaint/error.hpp>
#include <repaint/image/codecs.hpp>

// Any bytes either are refused with a format_error or decode to a picture that survives a round trip through PNG, and that a JPEG takes.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    constexpr std::size_t max_pixels = std::size_t{1} << 18;
    try {
        const auto p = repaint::decode_picture(std::as_bytes(std::span(data, size)), "input", max_pixels);
        const auto png = repaint::encode_png(p);
        if (repaint::decode_picture(std::as_bytes(std::span(png)), "again") != p) {
            std::abort();
        }
        constexpr int largest_jpeg = 65500;
        if (p.width <= largest_jpeg && p.height <= largest_jpeg) {
            (void)repaint::encode_jpeg(p); // with what the file said beside its pixels
        }
    } catch (const repaint::format_error&) {
    }
    return 0;
}
