#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <repaint/config.hpp>
#include <repaint/core/text.hpp>
#include <repaint/error.hpp>
#include <repaint/io/stored_tensor.hpp>
#include <repaint/model/checkpoint_names.hpp>

namespace repaint {

namespace detail {

REPAINT_COLD std::vector<int> required_shape(const checkpoint& file, const std::string& name, std::size_t rank,
                                             std::string_view family) {
    const auto found = file.tensors.find(name);
    if (found == file.tensors.end()) {
        throw format_error(joined_text(
            {shown(file.path), ": a ", std::string(family), " needs a tensor ", name, ", the file has none"}));
    }
    const auto& shape = found->second.shape;
    if (shape.size() != rank) {
        throw format_error(joined_text(
            {shown(file.path), ": the tensor ", name, " has ", shape.size(), " dimensions, expected ", rank}));
    }
    std::vector<int> result;
    for (const std::int64_t extent : shape) {
        if (extent < 1 || extent > 1 << 20) {
            throw format_error(joined_text({shown(file.path), ": the tensor ", name, " has an extent of ", extent,
                                            ", accepted are 1 to 1048576"}));
        }
        result.push_back(static_cast<int>(extent));
    }
    return result;
}

REPAINT_COLD bool has_tensor(const checkpoint& file, const std::string& name) { return file.tensors.contains(name); }

REPAINT_COLD bool has_prefix(const checkpoint& file, const std::string& start) {
    const auto first = file.tensors.lower_bound(start);
    return first != file.tensors.end() && first->first.starts_with(start);
}

REPAINT_COLD int count_blocks(const checkpoint& file, const std::string& prefix) {
    int count = 0;
    while (has_prefix(file, joined_text({prefix, ".", count, "."}))) {
        ++count;
    }
    return count;
}

REPAINT_COLD std::string tensors_of(const checkpoint& file) {
    std::string text = joined_text({shown(file.path), ": its ", file.tensors.size(), " tensors"});
    if (!file.tensors.empty()) {
        text += joined_text({" (the first is ", printable(file.tensors.begin()->first), ")"});
    }
    return text;
}

} // namespace detail

} // namespace repaint
