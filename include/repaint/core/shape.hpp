#pragma once

#include <cstddef>
#include <string>

namespace repaint {

/// The logical shape of every tensor: batch, channels, rows, columns. Physical layout is the backend's secret.
struct shape4 {
    int n = 0;
    int c = 0;
    int h = 0;
    int w = 0;

    friend bool operator==(const shape4&, const shape4&) = default;

    /// Number of elements.
    [[nodiscard]] constexpr std::size_t size() const {
        return static_cast<std::size_t>(n) * static_cast<std::size_t>(c) * plane();
    }

    /// Number of elements of one channel of one image.
    [[nodiscard]] constexpr std::size_t plane() const {
        return static_cast<std::size_t>(h) * static_cast<std::size_t>(w);
    }
};

/// "(1, 3, 64, 64)", as it appears in error messages.
std::string to_string(const shape4& s);

} // namespace repaint

#ifndef REPAINT_COMPILED
#include <repaint/core/shape.ipp>
#endif
