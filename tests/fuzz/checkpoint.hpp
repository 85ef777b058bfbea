#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include <repaint/error.hpp>
#include <repaint/io/mapped_file.hpp>
#include <repaint/io/stored_tensor.hpp>

/// Any bytes are refused with a format_error or give tensors that lie inside the file.
template <class Reader> void fuzz_checkpoint(const std::uint8_t* data, std::size_t size, Reader read_file) {
    const auto bytes = std::as_bytes(std::span(data, size));
    try {
        const auto file =
            std::make_shared<const repaint::mapped_file>(std::vector<std::byte>(bytes.begin(), bytes.end()), "input");
        const repaint::checkpoint c = read_file(file);
        int read = 0;
        for (const auto& [name, tensor] : c.tensors) {
            // A few are enough: an expanded tensor of a megabyte may appear under thousands of names.
            if (repaint::converts_to_float(tensor.type) && read++ < 8) {
                std::vector<float> values(tensor.numel());
                repaint::detail::gather(tensor, name, values.data());
            }
        }
    } catch (const repaint::format_error&) {
    }
}
