#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>

#include <repaint/error.hpp>
#include <repaint/io/bytes.hpp>
#include <repaint/io/json.hpp>

// Any text is refused with a format_error or parsed; a string that was parsed survives being written and parsed again.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const auto text = repaint::detail::as_text(std::as_bytes(std::span(data, size)));
    try {
        const repaint::json_value v = repaint::parse_json(text, "input");
        if (v.is_string()) {
            const auto again = repaint::parse_json(repaint::json_string(v.as_string()), "again");
            if (again.as_string() != v.as_string()) {
                std::abort();
            }
        }
    } catch (const repaint::format_error&) {
    }
    return 0;
}
