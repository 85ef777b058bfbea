#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace repaint {

/// The bytes of a file, mapped read-only: a page is read when it is touched, and nothing is copied to the heap. The
/// file must keep its length while it is mapped. Replacing the file (write another, rename) is harmless.
class mapped_file {
public:
    /// Maps a regular file, and reads a pipe to its end into memory. Throws format_error with the system's reason when it
    /// cannot be opened, and when it is a directory or a device.
    explicit mapped_file(std::string path);

    /// A file whose bytes are in memory already. path is what messages call them.
    mapped_file(std::vector<std::byte> bytes, std::string path);

    mapped_file(const mapped_file&) = delete;
    mapped_file& operator=(const mapped_file&) = delete;

    ~mapped_file();

    [[nodiscard]] std::span<const std::byte> bytes() const { return bytes_; }

    /// Takes the whole pages of a part of the mapping out of this process's memory. Touching them reads them again.
    void forget(std::span<const std::byte> part) const;

    [[nodiscard]] const std::string& path() const { return path_; }

private:
    std::string path_;
    std::vector<std::byte> owned_;
    std::span<const std::byte> bytes_;
    void* mapping_ = nullptr;
};

namespace detail {

/// Calls forget(part) of the mapped_file that `file` points to; made for stored_tensor::done_with.
void forget_mapped(const void* file, std::span<const std::byte> part);

} // namespace detail

/// Maps a file; whatever is read from it can share the ownership of the mapping. Throws format_error.
std::shared_ptr<const mapped_file> map_file(const std::string& path);

} // namespace repaint

#ifndef REPAINT_COMPILED
#include <repaint/io/mapped_file.ipp>
#endif
