#pragma once

#include <cstddef>
#include <cstdint>
#include <fstream>
#include <sstream>
#include <string>

#include <repaint/io/checkpoint.hpp>

#include "golden.hpp"

/// The names and shapes of a published network ("name [extents]" per line), without values.
inline repaint::checkpoint published(const std::string& name) {
    std::ifstream lines(golden::data("state_dicts/" + name + ".txt"));
    REQUIRE(lines);
    repaint::checkpoint file;
    file.path = name + ".pt";
    std::string line;
    while (std::getline(lines, line)) {
        const std::size_t bracket = line.find(" [");
        REQUIRE(bracket != std::string::npos);
        std::istringstream extents(line.substr(bracket + 2));
        repaint::stored_tensor tensor;
        tensor.type = repaint::dtype::f32;
        std::int64_t extent = 0;
        char separator = ' ';
        while (extents >> extent) {
            tensor.shape.push_back(extent);
            extents >> separator;
        }
        tensor.strides.assign(tensor.shape.size(), 1);
        for (std::size_t axis = tensor.shape.size(); axis-- > 1;) {
            tensor.strides[axis - 1] = tensor.strides[axis] * tensor.shape[axis];
        }
        file.tensors.emplace(line.substr(0, bracket), tensor);
    }
    return file;
}
