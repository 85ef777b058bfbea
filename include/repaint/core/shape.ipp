#pragma once

#include <string>

#include <repaint/config.hpp>
#include <repaint/core/shape.hpp>
#include <repaint/core/text.hpp>

namespace repaint {

REPAINT_COLD std::string to_string(const shape4& s) {
    // Appended, not "(" + ...: GCC 12 warns of an overlap there that cannot happen (its bug 105329).
    std::string text;
    for (const int extent : {s.n, s.c, s.h, s.w}) {
        text += text.empty() ? "(" : ", ";
        text += std::to_string(extent);
    }
    return joined_text({text, ")"});
}

} // namespace repaint
