#pragma once

#include <cerrno>
#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <system_error>
#include <vector>

namespace repaint {

/// The bytes of a file, mapped read-only: nothing is read before it is touched, and nothing is copied to the heap.
/// The file must keep its length while it is mapped. Replacing it (write beside it, rename) is harmless.
class mapped_file {
public:
    /// Maps a regular file. Throws format_error with the system's reason when it cannot be opened, and when it is a
    /// directory, a pipe or a device.
    explicit mapped_file(std::string path);

    /// Bytes that are in memory already stand in for a file; path is what messages call them.
    mapped_file(std::vector<std::byte> bytes, std::string path);

    mapped_file(const mapped_file&) = delete;
    mapped_file& operator=(const mapped_file&) = delete;

    ~mapped_file();

    [[nodiscard]] std::span<const std::byte> bytes() const { return bytes_; }

    /// Takes a part of the mapping out of this process's memory again, whole pages only; touching it reads it anew.
    void forget(std::span<const std::byte> part) const;
    [[nodiscard]] const std::string& path() const { return path_; }

private:
    struct closer {
        int file;
        ~closer() { ::close(file); }
    };

    static std::string reason() { return std::generic_category().message(errno); }

    std::string path_;
    std::vector<std::byte> owned_;
    std::span<const std::byte> bytes_;
    void* mapping_ = nullptr;
};

/// mapped_file::forget for a file whose type is forgotten itself (stored_tensor::done_with).
void forget_mapped(const void* file, std::span<const std::byte> part);

/// Maps a file so that everything read out of it can share its ownership. Throws format_error.
std::shared_ptr<const mapped_file> map_file(const std::string& path);

} // namespace repaint

#ifndef REPAINT_COMPILED
#include <repaint/io/mapped_file.ipp>
#endif
