#pragma once

#include <cmath>
#include <cstddef>
#include <cstring>
#include <limits>
#include <vector>

#include <repaint/backend/cuda/element.cuh>
#include <repaint/core/host_tensor.hpp>

#include "compare.hpp"

/// Memory for kernels that run on the host (cuda_on_host.hpp comes first): NaN until written, and NaN before and behind.
template <class T> class device_values {
public:
    /// offset: elements by which it misses an address of sixteen bytes.
    explicit device_values(std::size_t size, std::size_t offset = 0)
        : size_(size), begin_(guard + offset),
          values_(begin_ + size + guard,
                  repaint::detail::cuda::from_float<T>(std::numeric_limits<float>::quiet_NaN())) {}

    /// Rounded to T.
    explicit device_values(const std::vector<float>& from, std::size_t offset = 0)
        : device_values(from.size(), offset) {
        for (std::size_t i = 0; i < size_; ++i) {
            data()[i] = repaint::detail::cuda::from_float<T>(from[i]);
        }
    }

    [[nodiscard]] T* data() { return values_.data() + begin_; }
    [[nodiscard]] const T* data() const { return values_.data() + begin_; }
    [[nodiscard]] std::size_t size() const { return size_; }

    [[nodiscard]] float operator[](std::size_t i) const { return repaint::detail::cuda::to_float(data()[i]); }

    [[nodiscard]] std::vector<float> floats() const {
        std::vector<float> result(size_);
        for (std::size_t i = 0; i < size_; ++i) {
            result[i] = (*this)[i];
        }
        return result;
    }

    /// False when something was written before or behind.
    [[nodiscard]] bool guards_hold() const {
        bool hold = true;
        for (std::size_t i = 0; i < values_.size(); ++i) {
            const bool own = i >= begin_ && i < begin_ + size_;
            hold = hold && (own || std::isnan(repaint::detail::cuda::to_float(values_[i])));
        }
        return hold;
    }

    /// The same bits, `count` elements from `first` and from `other_first` on.
    [[nodiscard]] bool same_bits(std::size_t first, const device_values& other, std::size_t other_first,
                                 std::size_t count) const {
        return std::memcmp(data() + first, other.data() + other_first, count * sizeof(T)) == 0;
    }

private:
    static constexpr std::size_t guard = 32;

    std::size_t size_;
    std::size_t begin_;
    std::vector<T> values_;
};

/// N(0, 1) values, the same on every machine.
inline std::vector<float> random_values(std::size_t size, std::uint64_t seed) {
    std::vector<float> values(size);
    repaint::philox_normal(seed, 0, values);
    return values;
}
