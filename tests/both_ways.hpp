#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include <repaint/core/host_tensor.hpp>

namespace both_ways {

/// What one of the two ways of building the library gives.
struct values {
    std::vector<std::size_t> sizes;
    std::vector<double> numbers;
    std::vector<std::string> texts;
};

/// In both_ways_header_only.cpp, which has every definition from the headers.
values header_only();
repaint::host_tensor drawn_header_only(repaint::shape4 shape, unsigned seed);
void check_header_only(const repaint::shape4& images, const repaint::host_tensor& keep);

} // namespace both_ways
