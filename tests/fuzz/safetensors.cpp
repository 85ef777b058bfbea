#include <repaint/io/safetensors.hpp>

#include "checkpoint.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    fuzz_checkpoint(data, size, [](const auto& file) { return repaint::read_safetensors(file); });
    return 0;
}
