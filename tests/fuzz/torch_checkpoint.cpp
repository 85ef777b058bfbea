#include <repaint/io/torch_checkpoint.hpp>

#include "checkpoint.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    fuzz_checkpoint(data, size, [](const auto& file) { return repaint::read_torch_checkpoint(file); });
    return 0;
}
