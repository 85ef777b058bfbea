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

/// What a file is that is often found under a checkpoint's name, and what to do; empty when it is none of them.
REPAINT_COLD std::string other_file(std::span<const std::byte> bytes) {
    const std::string_view text = as_text(bytes);
    const std::size_t begin = std::min(text.find_first_not_of(" \t\r\n\xef\xbb\xbf"), text.size());
    const std::string start = lower_case(std::string(text.substr(begin, 64)));
    if (start.starts_with("<!doctype html") || start.starts_with("<html") || start.starts_with("<head")) {
        return "is a web page, not a checkpoint: the download failed, fetch the file again";
    }
    if (start.starts_with("<?xml") || start.starts_with("<error")) {
        return "is an XML text (a server's error message?), not a checkpoint: the download failed, fetch the file "
               "again";
    }
    if (text.starts_with("version https://git-lfs")) {
        return "is a git-lfs pointer, not the checkpoint itself: run git lfs pull";
    }
    if (text.starts_with("\x89HDF\r\n")) {
        return "is an HDF5 file (Keras?), accepted are weights of PyTorch: .safetensors or what torch.save writes";
    }
    if (text.starts_with("GGUF")) {
        return "is a GGUF file, accepted are the weights it was made from: .safetensors or what torch.save writes";
    }
    if (text.starts_with("\x93NUMPY")) {
        return "is an array (.npy), accepted are the named tensors of a network: .safetensors or what torch.save "
               "writes";
    }
    if (text.starts_with("\x1f\x8b")) {
        return "is compressed by gzip: unpack it first";
    }
    if (text.starts_with("7z\xbc\xaf") || text.starts_with("Rar!")) {
        return "is an archive: unpack it first";
    }
    if (text.starts_with("\x89PNG") || text.starts_with("\xff\xd8\xff") || text.starts_with("GIF8")) {
        return "is a picture, not a checkpoint";
    }
    // A ModelProto: its version (field 1), then the name of who wrote it (field 2) or the graph (field 7).
    if (text.size() > 3 && text[0] == '\x08' && text[1] < '\x20' && (text[2] == '\x12' || text[2] == '\x3a')) {
        return "is an ONNX file, accepted are weights of PyTorch: .safetensors or what torch.save writes";
    }
    if (!text.empty() && text.find_first_not_of('\0') == std::string_view::npos) {
        return "holds zeros only: the download or the disk failed, fetch the file again";
    }
    return {};
}

/// One of the files of an index: safetensors, or what torch.save wrote (pytorch_model.bin.index.json).
inline checkpoint read_shard(const std::shared_ptr<const mapped_file>& file) {
    return kind_of(file->bytes()) == checkpoint_kind::torch ? read_torch_checkpoint(file) : read_safetensors(file);
}

} // namespace detail

REPAINT_COLD checkpoint read_checkpoint(const std::shared_ptr<const mapped_file>& file) {
    switch (detail::kind_of(file->bytes())) {
    case detail::checkpoint_kind::safetensors: return read_safetensors(file);
    case detail::checkpoint_kind::json: return read_safetensors_index(file->path(), detail::read_shard);
    case detail::checkpoint_kind::torch: return read_torch_checkpoint(file);
    default: break;
    }
    if (const std::string other = detail::other_file(file->bytes()); !other.empty()) {
        detail::refuse(file->path(), other);
    }
    if (file->path().ends_with(".safetensors") && !file->bytes().empty()) {
        return read_safetensors(file); // which says what is wrong with it
    }
    const auto first = file->bytes().first(std::min<std::size_t>(8, file->bytes().size()));
    detail::refuse(file->path(),
                   joined_text({first.empty() ? "is empty" : "starts with the bytes ", detail::hexadecimal(first),
                                ", accepted are .safetensors, .safetensors.index.json and what torch.save writes"}));
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
