#include "sizes.hpp"

#include <algorithm>
#include <charconv>
#include <stdexcept>

#include <repaint/image/picture.hpp>

namespace cli {

constexpr int largest = repaint::max_picture_side;

repaint::shape4 parse_size(const std::string& text, int channels) {
    int width = 0;
    int height = 0;
    const char* const end = text.data() + text.size();
    const auto first = std::from_chars(text.data(), end, width);
    if (first.ec == std::errc() && first.ptr != end && (*first.ptr == 'x' || *first.ptr == 'X')) {
        const auto second = std::from_chars(first.ptr + 1, end, height);
        if (second.ec == std::errc() && second.ptr == end && width > 0 && height > 0 && width <= largest &&
            height <= largest) {
            return {1, channels, height, width};
        }
    }
    throw std::invalid_argument("--size " + text +
                                " must be WIDTHxHEIGHT in pixels, each 1 to 65535, for example 256x256");
}

repaint::shape4 model_size(const std::string& text, const repaint::unet_config& network,
                           const repaint::model_description& description) {
    if (!text.empty()) {
        return parse_size(text, network.in_channels);
    }
    const int side = description.image_size > 0 ? description.image_size : std::max(64, network.size_multiple());
    return {1, network.in_channels, side, side};
}

} // namespace cli
