#pragma once

#include <cstddef>
#include <memory>

#include <repaint/config.hpp>

namespace repaint::detail::cpu {

/// Gives back what long_lived_floats::allocate took.
struct aligned_delete {
    std::size_t alignment = 64;
    void operator()(float* p) const;
};

/// Floats that stay, such as weights: in memory of their own, in large pages where there are enough floats for some.
class long_lived_floats {
public:
    /// Room for `count` floats, content unspecified, in place of what was there. Throws std::bad_alloc.
    float* allocate(std::size_t count);

    [[nodiscard]] const float* data() const { return data_.get(); }

private:
    std::unique_ptr<float, aligned_delete> data_;
};

} // namespace repaint::detail::cpu

#ifndef REPAINT_COMPILED
#include <repaint/backend/cpu/long_lived_floats.ipp>
#endif
