#pragma once

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <repaint/io/bytes.hpp>

namespace repaint {

/// The bytes of a file, mapped read-only: nothing is read before it is touched, and nothing is copied to the heap.
/// The file must keep its length while it is mapped. Replacing it (write beside it, rename) is harmless.
class mapped_file {
public:
    /// Maps a regular file. Throws format_error with the system's reason when it cannot be opened, and when it is a
    /// directory, a pipe or a device.
    explicit mapped_file(std::filesystem::path path) : path_(std::move(path)) {
        // O_NONBLOCK: opening a pipe must report it, not wait for a writer.
        const int file = ::open(path_.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
        if (file < 0) {
            detail::refuse(path_, "cannot be opened: " + reason());
        }
        const closer closes{file};
        struct stat about {};
        if (::fstat(file, &about) != 0) {
            detail::refuse(path_, "cannot be examined: " + reason());
        }
        if (S_ISDIR(about.st_mode)) {
            detail::refuse(path_, "is a directory, expected a file");
        }
        if (!S_ISREG(about.st_mode)) {
            detail::refuse(path_, "is not a regular file");
        }
        const auto size = static_cast<std::size_t>(about.st_size);
        if (size == 0) {
            return;
        }
        void* const at = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, file, 0);
        if (at == MAP_FAILED) {
            detail::refuse(path_, "cannot be mapped into memory: " + reason());
        }
        mapping_ = at;
        bytes_ = {static_cast<const std::byte*>(at), size};
    }

    /// Bytes that are in memory already stand in for a file; path is what messages call them.
    mapped_file(std::vector<std::byte> bytes, std::filesystem::path path)
        : path_(std::move(path)), owned_(std::move(bytes)), bytes_(owned_) {}

    mapped_file(const mapped_file&) = delete;
    mapped_file& operator=(const mapped_file&) = delete;

    ~mapped_file() {
        if (mapping_ != nullptr) {
            ::munmap(mapping_, bytes_.size());
        }
    }

    [[nodiscard]] std::span<const std::byte> bytes() const { return bytes_; }

    /// Takes a part of the mapping out of this process's memory again, whole pages only; touching it reads it anew.
    void forget(std::span<const std::byte> part) const {
        const auto page = static_cast<std::uintptr_t>(::sysconf(_SC_PAGESIZE));
        const auto first = (reinterpret_cast<std::uintptr_t>(part.data()) + page - 1) / page * page;
        const auto last = (reinterpret_cast<std::uintptr_t>(part.data()) + part.size()) / page * page;
        if (mapping_ != nullptr && first < last) {
            ::madvise(reinterpret_cast<void*>(first), last - first, MADV_DONTNEED); // advice: nothing depends on it
        }
    }
    [[nodiscard]] const std::filesystem::path& path() const { return path_; }

private:
    struct closer {
        int file;
        ~closer() { ::close(file); }
    };

    static std::string reason() { return std::generic_category().message(errno); }

    std::filesystem::path path_;
    std::vector<std::byte> owned_;
    std::span<const std::byte> bytes_;
    void* mapping_ = nullptr;
};

/// mapped_file::forget for a file whose type is forgotten itself (stored_tensor::done_with).
inline void forget_mapped(const void* file, std::span<const std::byte> part) {
    static_cast<const mapped_file*>(file)->forget(part);
}

/// Maps a file so that everything read out of it can share its ownership. Throws format_error.
inline std::shared_ptr<const mapped_file> map_file(const std::filesystem::path& path) {
    return std::make_shared<const mapped_file>(path);
}

} // namespace repaint
