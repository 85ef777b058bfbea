#pragma once

#include <new>

#if defined(__unix__) || defined(__APPLE__)
#include <sys/mman.h>
#endif

#include <repaint/backend/cpu/long_lived_floats.hpp>

namespace repaint::detail::cpu {

REPAINT_INLINE void aligned_delete::operator()(float* p) const { ::operator delete (p, std::align_val_t{alignment}); }

REPAINT_INLINE float* long_lived_floats::allocate(std::size_t count) {
    constexpr std::size_t large_page = std::size_t{2} << 20U;
    const std::size_t bytes = count * sizeof(float);
    const std::size_t alignment = bytes >= 2 * large_page ? large_page : 64;
    data_ = {static_cast<float*>(::operator new (bytes, std::align_val_t{alignment})), aligned_delete{alignment}};
#if defined(MADV_HUGEPAGE)
    if (bytes >= 2 * large_page) {
        // Fewer faults while they are packed, fewer misses of the page tables' cache while they stream by.
        ::madvise(data_.get(), bytes, MADV_HUGEPAGE);
    }
#endif
    return data_.get();
}

} // namespace repaint::detail::cpu
