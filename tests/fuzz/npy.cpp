#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>
#include <vector>

#include <repaint/error.hpp>
#include <repaint/io/mapped_file.hpp>
#include <repaint/io/npy.hpp>

// Any bytes are refused with a format_error or give a tensor with no more elements than the file has bytes.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const auto bytes = std::as_bytes(std::span(data, size));
    try {
        const repaint::mapped_file file(std::vector<std::byte>(bytes.begin(), bytes.end()), "input");
        if (repaint::read_npy(file).size() > size) {
            std::abort();
        }
    } catch (const repaint::format_error&) {
    }
    return 0;
}
