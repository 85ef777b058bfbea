#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <repaint/core/host_tensor.hpp>
#include <repaint/io/checkpoint.hpp>
#include <repaint/io/json.hpp>
#include <repaint/io/stored_tensor.hpp>

#include "catch.hpp"

/// Reading of tests/data.
namespace golden {

inline std::filesystem::path data(const std::string& name) { return std::filesystem::path(REPAINT_TEST_DATA) / name; }

/// A tensor of a golden file as (n, c, h, w), missing extents at the end being 1.
inline repaint::host_tensor tensor(const repaint::checkpoint& file, const std::string& name) {
    INFO(name);
    const auto found = file.tensors.find(name);
    REQUIRE(found != file.tensors.end());
    std::array<int, 4> extents{1, 1, 1, 1};
    REQUIRE(found->second.shape.size() <= 4);
    std::transform(found->second.shape.begin(), found->second.shape.end(), extents.begin(),
                   [](std::int64_t e) { return static_cast<int>(e); });
    const repaint::shape4 s{extents[0], extents[1], extents[2], extents[3]};
    const auto weights = repaint::read_weights(found->second, s);
    return {s, std::vector<float>(weights.values.get(), weights.values.get() + s.size())};
}

/// Integers as they are stored.
inline std::vector<int> integers(const repaint::checkpoint& file, const std::string& name) {
    const auto values = tensor(file, name);
    return {values.values().begin(), values.values().end()};
}

/// The values that tests/peers/make_unet_goldens.py gives a tensor of that name: multiples of 2^-11 times scale, so
/// that both sides have the same bits without storing them.
inline std::vector<float> generated(std::string_view name, std::size_t count, float scale, float offset) {
    std::uint32_t start = 0x811C9DC5U;
    for (const char c : name) {
        start = (start ^ static_cast<unsigned char>(c)) * 0x01000193U;
    }
    std::vector<float> values(count);
    for (std::size_t i = 0; i < count; ++i) {
        std::uint32_t x = start + static_cast<std::uint32_t>(i) * 0x9E3779B9U;
        x ^= x >> 16U;
        x *= 0x85EBCA6BU;
        x ^= x >> 13U;
        x *= 0xC2B2AE35U;
        x ^= x >> 16U;
        values[i] = offset + scale * (2.0F * static_cast<float>(x >> 21U) - 2047.0F) / 2048.0F;
    }
    return values;
}

/// A tensor of one's own making for a checkpoint.
inline repaint::stored_tensor stored(std::vector<std::int64_t> shape, std::vector<float> values) {
    const auto owner = std::make_shared<std::vector<float>>(std::move(values));
    auto result = repaint::describe(std::span<const float>(*owner), std::move(shape));
    result.owner = owner;
    return result;
}

/// Adds the tensors that are not stored but described under "generated" in the file's metadata.
inline void add_generated(repaint::checkpoint& file) {
    const auto recipe = file.metadata.find("generated");
    if (recipe == file.metadata.end()) {
        return;
    }
    const auto entries = repaint::parse_json(recipe->second, "generated");
    for (const auto& [tensor_name, how] : entries.as_object()) {
        std::vector<std::int64_t> shape;
        std::size_t count = 1;
        for (const auto& extent : how.array("shape")) {
            shape.push_back(extent.as_integer());
            count *= static_cast<std::size_t>(shape.back());
        }
        file.tensors.emplace(tensor_name,
                             stored(shape, generated(tensor_name, count, static_cast<float>(how.number("scale")),
                                                     static_cast<float>(how.number("offset")))));
    }
}

/// A file of tests/data/unet: the network under its official names, its configuration, inputs and the output expected.
struct network {
    repaint::checkpoint weights;
    repaint::json_value config;
    repaint::checkpoint expected;
};

inline network read_network(const std::string& name) {
    const auto path = data("unet/" + name + ".safetensors");
    network result;
    result.weights = repaint::read_checkpoint(path);
    result.config = repaint::parse_json(result.weights.metadata.at("config"), "config");
    for (auto at = result.weights.tensors.begin(); at != result.weights.tensors.end();) {
        if (at->first.starts_with("golden.")) {
            result.expected.tensors.emplace(at->first, at->second);
            at = result.weights.tensors.erase(at);
        } else {
            ++at;
        }
    }
    add_generated(result.weights);
    return result;
}

inline const std::vector<std::string> networks{"updown_legacy",
                                               "strided_additive",
                                               "one_level",
                                               "new_order",
                                               "heads_by_count",
                                               "class_labels",
                                               "half_multiplier",
                                               "non_square_odd_batch",
                                               "non_square_strided",
                                               "two_blocks_three_levels",
                                               "labels_new_order_strided"};

} // namespace golden
