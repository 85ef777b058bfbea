#pragma once

#include <cstddef>
#include <map>

namespace repaint {

/// Plans blocks inside one growing stretch of memory: address-ordered first fit with coalescing. Works on offsets only,
/// so any kind of memory can stand behind it. Repeating the same sequence of calls gives the same offsets.
class arena {
public:
    /// Every offset and size is a multiple of `alignment` bytes.
    explicit arena(std::size_t alignment = 64) : alignment_(alignment) {}

    /// The offset of a block of at least `bytes`.
    [[nodiscard]] std::size_t allocate(std::size_t bytes);

    /// Gives back a block of allocate(bytes).
    void release(std::size_t offset, std::size_t bytes);

    /// Bytes in use now, the most that ever were, and the length of memory that the offsets reach into.
    [[nodiscard]] std::size_t used() const { return used_; }
    [[nodiscard]] std::size_t peak() const { return peak_; }
    [[nodiscard]] std::size_t extent() const { return extent_; }

private:
    [[nodiscard]] std::size_t rounded(std::size_t bytes) const;

    std::size_t alignment_;
    std::size_t used_ = 0;
    std::size_t peak_ = 0;
    std::size_t extent_ = 0;
    std::map<std::size_t, std::size_t> holes_; // offset -> size
};

} // namespace repaint

#ifndef REPAINT_COMPILED
#include <repaint/core/arena.ipp>
#endif
