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

#include <repaint/config.hpp>
#include <repaint/core/text.hpp>
#include <repaint/io/bytes.hpp>
#include <repaint/io/mapped_file.hpp>

namespace repaint {

namespace detail {

/// Closes a file descriptor when its scope ends.
struct file_closer {
    int file;
    ~file_closer() { ::close(file); }
};

inline std::string system_reason() { return std::generic_category().message(errno); }

/// All that comes out of a pipe until its writers have closed it.
inline std::vector<std::byte> read_pipe(int file, const std::string& path) {
    constexpr std::size_t most = std::size_t{1} << 32U;
    constexpr std::size_t step = std::size_t{1} << 20U;
    ::fcntl(file, F_SETFL, ::fcntl(file, F_GETFL) & ~O_NONBLOCK);
    std::vector<std::byte> bytes;
    for (;;) {
        const std::size_t had = bytes.size();
        bytes.resize(had + step);
        const ::ssize_t more = ::read(file, bytes.data() + had, step);
        if (more < 0 && errno != EINTR) {
            refuse(path, joined_text({"cannot be read: ", system_reason()}));
        }
        bytes.resize(had + static_cast<std::size_t>(more > 0 ? more : 0));
        if (more == 0) {
            bytes.shrink_to_fit();
            return bytes;
        }
        if (bytes.size() > most) {
            refuse(path, joined_text({"is a pipe with more than ", most, " bytes"}));
        }
    }
}

} // namespace detail

REPAINT_COLD mapped_file::mapped_file(std::string path) : path_(std::move(path)) {
    // O_NONBLOCK: opening a pipe must report it, not wait for a writer.
    const int file = ::open(path_.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (file < 0) {
        detail::refuse(path_, joined_text({"cannot be opened: ", detail::system_reason()}));
    }
    const detail::file_closer closes{file};
    struct stat about {};
    if (::fstat(file, &about) != 0) {
        detail::refuse(path_, joined_text({"cannot be examined: ", detail::system_reason()}));
    }
    if (S_ISDIR(about.st_mode)) {
        detail::refuse(path_, "is a directory, expected a file");
    }
    if (S_ISFIFO(about.st_mode) || S_ISSOCK(about.st_mode)) {
        owned_ = detail::read_pipe(file, path_);
        bytes_ = owned_;
        return;
    }
    if (!S_ISREG(about.st_mode)) {
        detail::refuse(path_, "is a device, expected a file or a pipe");
    }
    const auto size = static_cast<std::size_t>(about.st_size);
    if (size == 0) {
        return;
    }
    void* const at = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, file, 0);
    if (at == MAP_FAILED) {
        detail::refuse(path_, joined_text({"cannot be mapped into memory: ", detail::system_reason()}));
    }
    mapping_ = at;
    bytes_ = {static_cast<const std::byte*>(at), size};
}

REPAINT_COLD mapped_file::mapped_file(std::vector<std::byte> bytes, std::string path)
    : path_(std::move(path)), owned_(std::move(bytes)), bytes_(owned_) {}

REPAINT_COLD mapped_file::~mapped_file() {
    if (mapping_ != nullptr) {
        ::munmap(mapping_, bytes_.size());
    }
}

REPAINT_COLD void mapped_file::forget(std::span<const std::byte> part) const {
    const auto page = static_cast<std::uintptr_t>(::sysconf(_SC_PAGESIZE));
    const auto first = (reinterpret_cast<std::uintptr_t>(part.data()) + page - 1) / page * page;
    const auto last = (reinterpret_cast<std::uintptr_t>(part.data()) + part.size()) / page * page;
    if (mapping_ != nullptr && first < last) {
        ::madvise(reinterpret_cast<void*>(first), last - first, MADV_DONTNEED); // advice: nothing depends on it
    }
}

namespace detail {

REPAINT_COLD void forget_mapped(const void* file, std::span<const std::byte> part) {
    static_cast<const mapped_file*>(file)->forget(part);
}

} // namespace detail

REPAINT_COLD std::shared_ptr<const mapped_file> map_file(const std::string& path) {
    return std::make_shared<const mapped_file>(path);
}

} // namespace repaint
