#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string_view>
#include <system_error>

#include <repaint/config.hpp>
#include <repaint/core/text.hpp>
#include <repaint/io/bytes.hpp>
#include <repaint/io/checkpoint.hpp>
#include <repaint/io/mapped_file.hpp>
#include <repaint/io/safetensors.hpp>
#include <repaint/io/stored_tensor.hpp>
#include <repaint/io/torch_checkpoint.hpp>

namespace repaint {

namespace detail {

enum class checkpoint_kind { safetensors, json, torch, unknown };

/// What a file is, by its content. The length at the start of a safetensors file is below 2^32, so bytes 4 to 7 are
/// zero, and then comes a "{": neither JSON text nor a pickle nor a zip archive starts like that.
inline checkpoint_kind kind_of(std::span<const std::byte> bytes) {
    const std::string_view text = as_text(bytes);
    const auto starts_object_at = [&](std::size_t from) {
        const std::size_t first = text.size() < from ? std::string_view::npos : text.find_first_not_of(" \t\r\n", from);
        return first != std::string_view::npos && text[first] == '{';
    };
    if (bytes.size() >= 8 && load<std::uint64_t>(bytes.data()) >> 32U == 0 && starts_object_at(8)) {
        return checkpoint_kind::safetensors;
    }
    if (text.starts_with("PK") || text.starts_with('\x80') || text.starts_with("PYTORCH1") ||
        (text.size() > 262 && text.substr(257, 5) == "ustar")) {
        return checkpoint_kind::torch;
    }
    return starts_object_at(0) ? checkpoint_kind::json : checkpoint_kind::unknown;
}

/// One of the files of an index: safetensors, or what torch.save wrote (pytorch_model.bin.index.json).
inline checkpoint read_shard(const std::shared_ptr<const mapped_file>& file) {
    return kind_of(file->bytes()) == checkpoint_kind::torch ? read_torch_checkpoint(file) : read_safetensors(file);
}

} // namespace detail

REPAINT_COLD checkpoint read_checkpoint(const std::shared_ptr<const mapped_file>& file) {
    const auto read = [&] {
        switch (detail::kind_of(file->bytes())) {
        case detail::checkpoint_kind::safetensors: return read_safetensors(file);
        case detail::checkpoint_kind::json: return read_safetensors_index(file->path(), detail::read_shard);
        case detail::checkpoint_kind::torch: return read_torch_checkpoint(file);
        default: break;
        }
        if (file->path().ends_with(".safetensors")) {
            return read_safetensors(file); // which says what is wrong with it
        }
        const auto first = file->bytes().first(std::min<std::size_t>(8, file->bytes().size()));
        detail::refuse(
            file->path(),
            (first.empty() ? "is empty" : joined_text({"starts with the bytes ", detail::hexadecimal(first)})) +
                ", accepted are .safetensors, .safetensors.index.json and what torch.save writes");
    };
    checkpoint result = read();
    detail::strip_common_prefix(result);
    return result;
}

REPAINT_COLD checkpoint read_checkpoint(const std::string& path) {
    std::error_code ignored;
    if (std::filesystem::is_directory(path, ignored)) {
        detail::refuse(path, "is a directory, accepted are files: .safetensors, .safetensors.index.json and what "
                             "torch.save writes");
    }
    return read_checkpoint(map_file(path));
}

} // namespace repaint
