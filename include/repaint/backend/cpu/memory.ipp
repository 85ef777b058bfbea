#pragma once

#include <algorithm>
#include <limits>
#include <new>
#include <string>
#include <utility>

#if defined(__unix__) || defined(__APPLE__)
#include <sys/mman.h>
#include <unistd.h>
#endif

#include <repaint/backend/cpu/memory.hpp>
#include <repaint/core/text.hpp>
#include <repaint/error.hpp>

namespace repaint::detail::cpu {

/// The memory of this machine. The system grants addresses beyond that, but kills a process that then writes there.
inline std::size_t physical_bytes() {
#if defined(_SC_PHYS_PAGES)
    const auto pages = ::sysconf(_SC_PHYS_PAGES);
    const auto page = ::sysconf(_SC_PAGESIZE);
    if (pages > 0 && page > 0) {
        return static_cast<std::size_t>(pages) * static_cast<std::size_t>(page);
    }
#endif
    return std::numeric_limits<std::size_t>::max();
}

REPAINT_INLINE memory_pool::memory_pool() : limit_(physical_bytes()) {
#if defined(__unix__) || defined(__APPLE__)
    // Addresses only. Where a limit forbids so many, fewer do: what does not fit comes from the heap.
    // Twice the memory leaves room for what lies between blocks.
    constexpr std::size_t least = std::size_t{1} << 28U;
    for (std::size_t bytes = 2 * std::min(limit_, std::size_t{1} << 39U); bytes >= least; bytes /= 4) {
        int flags = MAP_PRIVATE | MAP_ANONYMOUS;
#if defined(MAP_NORESERVE)
        flags |= MAP_NORESERVE;
#endif
        void* address = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, flags, -1, 0);
        if (address != MAP_FAILED) {
            begin_ = static_cast<std::byte*>(address);
            size_ = bytes;
#if defined(MADV_HUGEPAGE)
            madvise(address, bytes, MADV_HUGEPAGE);
#endif
            break;
        }
    }
#endif
}

REPAINT_INLINE memory_pool::~memory_pool() {
#if defined(__unix__) || defined(__APPLE__)
    if (begin_ != nullptr) {
        munmap(begin_, size_);
    }
#endif
}

REPAINT_INLINE std::size_t memory_pool::take(std::size_t bytes) {
    if (bytes > limit_ - std::min(limit_, blocks_.used())) {
        throw device_error(
            joined_text({"the activations need ", (blocks_.used() + bytes) >> 20U, " MB and more, this machine has ",
                         limit_ >> 20U, " MB of memory: use smaller pictures or a smaller batch"}));
    }
    return blocks_.allocate(bytes);
}

REPAINT_INLINE memory_block::memory_block(std::shared_ptr<memory_pool> pool, std::size_t floats)
    : pool_(std::move(pool)), bytes_(floats * sizeof(float)) {
    offset_ = pool_->take(bytes_);
    if (offset_ + bytes_ <= pool_->size_) {
        data_ = reinterpret_cast<float*>(pool_->begin_ + offset_);
        return;
    }
    pool_->blocks_.release(offset_, bytes_);
    data_ = static_cast<float*>(::operator new (bytes_, std::align_val_t{64}));
    on_heap_ = true;
}

REPAINT_INLINE memory_block& memory_block::operator=(memory_block&& other) noexcept {
    memory_block taken(std::move(other));
    swap(taken);
    return *this;
}

REPAINT_INLINE memory_block::~memory_block() {
    if (on_heap_) {
        ::operator delete (data_, std::align_val_t{64});
    } else if (pool_) {
        pool_->blocks_.release(offset_, bytes_);
    }
}

REPAINT_INLINE void memory_block::swap(memory_block& other) noexcept {
    std::swap(pool_, other.pool_);
    std::swap(data_, other.data_);
    std::swap(offset_, other.offset_);
    std::swap(bytes_, other.bytes_);
    std::swap(on_heap_, other.on_heap_);
}

} // namespace repaint::detail::cpu
