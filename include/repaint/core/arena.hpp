#pragma once

#include <algorithm>
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
    [[nodiscard]] std::size_t allocate(std::size_t bytes) {
        const std::size_t size = rounded(bytes);
        used_ += size;
        peak_ = std::max(peak_, used_);
        for (auto hole = holes_.begin(); hole != holes_.end(); ++hole) {
            if (hole->second >= size) {
                const std::size_t offset = hole->first;
                const std::size_t rest = hole->second - size;
                holes_.erase(hole);
                if (rest > 0) {
                    holes_.emplace(offset + size, rest);
                }
                return offset;
            }
        }
        // A hole that touches the end grows instead of leaving the arena longer than it needs to be.
        if (!holes_.empty()) {
            const auto last = std::prev(holes_.end());
            if (last->first + last->second == extent_) {
                const std::size_t offset = last->first;
                holes_.erase(last);
                extent_ = offset + size;
                return offset;
            }
        }
        const std::size_t offset = extent_;
        extent_ += size;
        return offset;
    }

    /// Gives back a block of allocate(bytes).
    void release(std::size_t offset, std::size_t bytes) {
        const std::size_t size = rounded(bytes);
        used_ -= size;
        auto hole = holes_.emplace(offset, size).first;
        const auto next = std::next(hole);
        if (next != holes_.end() && hole->first + hole->second == next->first) {
            hole->second += next->second;
            holes_.erase(next);
        }
        if (hole != holes_.begin()) {
            const auto before = std::prev(hole);
            if (before->first + before->second == hole->first) {
                before->second += hole->second;
                holes_.erase(hole);
            }
        }
    }

    /// Bytes in use now, the most that ever were, and the length of memory that the offsets reach into.
    [[nodiscard]] std::size_t used() const { return used_; }
    [[nodiscard]] std::size_t peak() const { return peak_; }
    [[nodiscard]] std::size_t extent() const { return extent_; }

private:
    [[nodiscard]] std::size_t rounded(std::size_t bytes) const {
        return std::max(alignment_, (bytes + alignment_ - 1) / alignment_ * alignment_);
    }

    std::size_t alignment_;
    std::size_t used_ = 0;
    std::size_t peak_ = 0;
    std::size_t extent_ = 0;
    std::map<std::size_t, std::size_t> holes_; // offset -> size
};

} // namespace repaint
