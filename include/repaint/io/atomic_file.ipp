#pragma once

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <filesystem>
#include <span>
#include <string>
#include <system_error>
#include <utility>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <repaint/config.hpp>
#include <repaint/core/text.hpp>
#include <repaint/error.hpp>
#include <repaint/io/atomic_file.hpp>
#include <repaint/io/bytes.hpp>

namespace repaint {

REPAINT_COLD atomic_file::atomic_file(std::string target) : shown_(target), target_(std::move(target)) {
    struct stat about {};
    const bool exists = ::stat(target_.c_str(), &about) == 0;
    if (exists && S_ISDIR(about.st_mode)) {
        throw error(joined_text({shown(shown_), ": cannot be written: it is a directory"}));
    }
    if (exists && !S_ISREG(about.st_mode)) {
        file_ = ::open(target_.c_str(), O_WRONLY | O_CLOEXEC);
        if (file_ < 0) {
            fail("cannot be opened for writing");
        }
        return;
    }
    if (exists) {
        std::error_code failed;
        const auto followed = std::filesystem::canonical(target_, failed);
        target_ = failed ? target_ : followed.string();
    }
    // Short, whatever the target is called, so that it is never too long for a directory entry.
    const std::string stem = joined_text({".repaint-", ::getpid(), "-"});
    for (int attempt = 0; file_ < 0; ++attempt) {
        temporary_ = std::filesystem::path(target_).parent_path() / (joined_text({stem, attempt, ".tmp"}));
        file_ = ::open(temporary_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        if (file_ < 0 && (errno != EEXIST || attempt == 10000)) {
            temporary_.clear();
            fail("cannot be created");
        }
    }
    if (exists) {
        // A file system without permissions refuses this, and has none to lose.
        static_cast<void>(::fchmod(file_, about.st_mode & 0777U));
    }
}

REPAINT_COLD void atomic_file::write(std::span<const std::byte> bytes) {
    constexpr std::size_t largest = std::size_t{1} << 30U;
    while (!bytes.empty()) {
        const ssize_t written = ::write(file_, bytes.data(), std::min(bytes.size(), largest));
        if (written < 0 && errno == EINTR) {
            continue;
        }
        if (written < 0) {
            fail("cannot be written");
        }
        bytes = bytes.subspan(static_cast<std::size_t>(written));
    }
}

REPAINT_COLD void atomic_file::commit() {
    // Network file systems and quotas report a full disk only here.
    if (::close(std::exchange(file_, -1)) != 0 && errno != EINTR) {
        fail("cannot be written");
    }
    if (!temporary_.empty() && ::rename(temporary_.c_str(), target_.c_str()) != 0) {
        fail("cannot be replaced");
    }
    temporary_.clear();
}

REPAINT_COLD void atomic_file::abandon() noexcept {
    if (file_ >= 0) {
        ::close(std::exchange(file_, -1));
    }
    if (!temporary_.empty()) {
        ::unlink(temporary_.c_str());
    }
}

REPAINT_COLD void atomic_file::fail(const char* what) {
    const std::string reason = std::generic_category().message(errno);
    abandon();
    temporary_.clear();
    throw error(joined_text({shown(shown_), ": ", what, ": ", reason}));
}

REPAINT_COLD void write_file_atomically(const std::string& path, std::span<const std::byte> bytes) {
    atomic_file file(path);
    file.write(bytes);
    file.commit();
}

} // namespace repaint
