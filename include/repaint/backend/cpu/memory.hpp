#pragma once

#include <algorithm>
#include <cstddef>
#include <limits>
#include <memory>
#include <new>
#include <string>
#include <utility>

#include <repaint/core/arena.hpp>
#include <repaint/error.hpp>

#if defined(__unix__) || defined(__APPLE__)
#include <sys/mman.h>
#include <unistd.h>
#endif

namespace repaint::detail::cpu {

/// Memory for tensors and scratch: one reserved stretch of addresses behind an arena. Pages become real when they are
/// first written, so the process holds what the arena ever reached into and no more.
class memory_pool {
public:
    memory_pool() : limit_(physical_bytes()) {
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
    memory_pool(const memory_pool&) = delete;
    memory_pool& operator=(const memory_pool&) = delete;
    ~memory_pool() {
#if defined(__unix__) || defined(__APPLE__)
        if (begin_ != nullptr) {
            munmap(begin_, size_);
        }
#endif
    }

    /// Bytes that tensors and scratch ever reached into.
    [[nodiscard]] std::size_t extent() const { return blocks_.extent(); }

private:
    friend class memory_block;

    /// The memory of this machine. Addresses alone are granted beyond it, and whoever then writes there is killed.
    static std::size_t physical_bytes() {
#if defined(_SC_PHYS_PAGES)
        const auto pages = ::sysconf(_SC_PHYS_PAGES);
        const auto page = ::sysconf(_SC_PAGESIZE);
        if (pages > 0 && page > 0) {
            return static_cast<std::size_t>(pages) * static_cast<std::size_t>(page);
        }
#endif
        return std::numeric_limits<std::size_t>::max();
    }

    [[nodiscard]] std::size_t take(std::size_t bytes) {
        if (bytes > limit_ - std::min(limit_, blocks_.used())) {
            throw device_error("the activations need " + std::to_string((blocks_.used() + bytes) >> 20U) +
                               " MB and more, this machine has " + std::to_string(limit_ >> 20U) +
                               " MB of memory: use smaller pictures or a smaller batch");
        }
        return blocks_.allocate(bytes);
    }

    arena blocks_;
    std::size_t limit_;
    std::byte* begin_ = nullptr;
    std::size_t size_ = 0;
};

/// Floats of a pool, given back on destruction; the content is unspecified at first. Aligned to 64 bytes.
class memory_block {
public:
    memory_block() = default;

    /// Throws device_error when the machine does not have as much memory, std::bad_alloc when it is not given.
    memory_block(std::shared_ptr<memory_pool> pool, std::size_t floats)
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
    memory_block(memory_block&& other) noexcept { swap(other); }
    memory_block& operator=(memory_block&& other) noexcept {
        memory_block taken(std::move(other));
        swap(taken);
        return *this;
    }
    ~memory_block() {
        if (on_heap_) {
            ::operator delete (data_, std::align_val_t{64});
        } else if (pool_) {
            pool_->blocks_.release(offset_, bytes_);
        }
    }

    [[nodiscard]] float* data() const { return data_; }

private:
    void swap(memory_block& other) noexcept {
        std::swap(pool_, other.pool_);
        std::swap(data_, other.data_);
        std::swap(offset_, other.offset_);
        std::swap(bytes_, other.bytes_);
        std::swap(on_heap_, other.on_heap_);
    }

    std::shared_ptr<memory_pool> pool_;
    float* data_ = nullptr;
    std::size_t offset_ = 0;
    std::size_t bytes_ = 0;
    bool on_heap_ = false;
};

struct aligned_delete {
    std::align_val_t alignment{64};
    void operator()(float* p) const { ::operator delete(p, alignment); }
};

/// Floats that stay, such as weights: of their own, in large pages where there are enough of them.
class long_lived_floats {
public:
    /// Room for `count` floats, content unspecified, in place of what was there. Throws std::bad_alloc.
    float* allocate(std::size_t count) {
        const std::size_t bytes = count * sizeof(float);
        const auto alignment = std::align_val_t{bytes >= 2 * large_page ? large_page : 64};
        data_ = {static_cast<float*>(::operator new(bytes, alignment)), aligned_delete{alignment}};
#if defined(MADV_HUGEPAGE)
        if (bytes >= 2 * large_page) {
            // Fewer faults while they are packed, fewer misses of the page tables' cache while they stream by.
            ::madvise(data_.get(), bytes, MADV_HUGEPAGE);
        }
#endif
        return data_.get();
    }

    [[nodiscard]] const float* data() const { return data_.get(); }

private:
    static constexpr std::size_t large_page = std::size_t{2} << 20U;

    std::unique_ptr<float, aligned_delete> data_;
};

} // namespace repaint::detail::cpu
