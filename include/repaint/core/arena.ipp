#pragma once

#include <algorithm>
#include <cstddef>
#include <iterator>

#include <repaint/config.hpp>
#include <repaint/core/arena.hpp>

namespace repaint {

REPAINT_INLINE std::size_t arena::allocate(std::size_t bytes) {
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

REPAINT_INLINE void arena::release(std::size_t offset, std::size_t bytes) {
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

REPAINT_INLINE std::size_t arena::rounded(std::size_t bytes) const {
    return std::max(alignment_, (bytes + alignment_ - 1) / alignment_ * alignment_);
}

} // namespace repaint
