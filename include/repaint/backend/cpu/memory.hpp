#pragma once

#include <cstddef>
#include <memory>

#include <repaint/config.hpp>
#include <repaint/core/arena.hpp>

namespace repaint::detail::cpu {

/// Memory for tensors and scratch: one reserved stretch of addresses behind an arena. Pages become real when they are
/// first written, so the process holds what the arena ever reached into and no more.
class memory_pool {
public:
    memory_pool();
    memory_pool(const memory_pool&) = delete;
    memory_pool& operator=(const memory_pool&) = delete;
    ~memory_pool();

    /// Bytes that tensors and scratch ever reached into.
    [[nodiscard]] std::size_t extent() const { return blocks_.extent(); }

private:
    friend class memory_block;

    [[nodiscard]] std::size_t take(std::size_t bytes);

    arena blocks_;
    std::size_t limit_;
    std::byte* begin_ = nullptr;
    std::size_t size_ = 0;
};

/// Floats of a pool, given back on destruction; the content is unspecified at first. Aligned to 64 bytes.
class memory_block {
public:
    memory_block() = default;

    /// Throws device_error when the machine does not have as much memory, std::bad_alloc when the system refuses it.
    memory_block(std::shared_ptr<memory_pool> pool, std::size_t floats);
    memory_block(memory_block&& other) noexcept { swap(other); }
    memory_block& operator=(memory_block&& other) noexcept;
    ~memory_block();

    [[nodiscard]] float* data() const { return data_; }

private:
    void swap(memory_block& other) noexcept;

    std::shared_ptr<memory_pool> pool_;
    float* data_ = nullptr;
    std::size_t offset_ = 0;
    std::size_t bytes_ = 0;
    bool on_heap_ = false;
};

} // namespace repaint::detail::cpu

#ifndef REPAINT_COMPILED
#include <repaint/backend/cpu/memory.ipp>
#endif
