#pragma once

#include <cstddef>
#include <span>
#include <string>

namespace repaint {

/// Writes a file piece by piece so that it appears complete or not at all: the bytes go to a temporary file in the
/// target's directory, which commit() renames. Destroyed before commit(), it removes the temporary file.
/// A symbolic link is followed, an existing file keeps its permissions, and a device or pipe is written directly.
/// Every member throws repaint::error naming the path and the system's reason.
class atomic_file {
public:
    explicit atomic_file(std::string target);

    atomic_file(const atomic_file&) = delete;
    atomic_file& operator=(const atomic_file&) = delete;

    ~atomic_file() { abandon(); }

    /// Appends bytes.
    void write(std::span<const std::byte> bytes);

    /// Makes the file appear under its name. Nothing may be written afterwards.
    void commit();

private:
    void abandon() noexcept;

    [[noreturn]] void fail(const char* what);

    std::string shown_;
    std::string target_;
    std::string temporary_;
    int file_ = -1;
};

/// Writes a whole file, or leaves what was there. Throws repaint::error naming the path and the system's reason.
void write_file_atomically(const std::string& path, std::span<const std::byte> bytes);

} // namespace repaint

#ifndef REPAINT_COMPILED
#include <repaint/io/atomic_file.ipp>
#endif
