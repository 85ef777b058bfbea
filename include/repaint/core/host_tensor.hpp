#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include <repaint/core/shape.hpp>

namespace repaint {

/// A contiguous NCHW float32 tensor on the host: the currency of files, tests and backends.
/// Images hold values in [-1, 1] unless a range is given (value_range); keep masks hold 1 where a pixel is known and 0 where it is to be filled.
class host_tensor {
public:
    host_tensor() = default;

    /// Zeros of the given shape. Throws shape_error when an extent is negative.
    explicit host_tensor(shape4 shape) : shape_(checked(shape)), values_(shape.size()) {}

    /// Takes the values over. Throws shape_error when their number is not shape.size().
    host_tensor(shape4 shape, std::vector<float> values);

    [[nodiscard]] const shape4& shape() const { return shape_; }
    [[nodiscard]] std::size_t size() const { return values_.size(); }
    [[nodiscard]] bool empty() const { return values_.empty(); }

    /// The values in NCHW order. Not of a temporary: the view would outlive it.
    [[nodiscard]] float* data() & { return values_.data(); }
    [[nodiscard]] const float* data() const& { return values_.data(); }
    [[nodiscard]] std::span<float> values() & { return values_; }
    [[nodiscard]] std::span<const float> values() const& { return values_; }
    void data() && = delete;
    void data() const&& = delete;
    void values() && = delete;
    void values() const&& = delete;

    /// Unchecked element access.
    [[nodiscard]] float& operator()(int n, int c, int h, int w) { return values_[offset(n, c, h, w)]; }
    [[nodiscard]] float operator()(int n, int c, int h, int w) const { return values_[offset(n, c, h, w)]; }

    /// All values of image i as one span. Unchecked.
    [[nodiscard]] std::span<float> image(int i) & { return values().subspan(offset(i, 0, 0, 0), image_size()); }
    [[nodiscard]] std::span<const float> image(int i) const&;
    void image(int i) && = delete;
    void image(int i) const&& = delete;

private:
    static const shape4& checked(const shape4& s);

    [[nodiscard]] std::size_t image_size() const { return static_cast<std::size_t>(shape_.c) * shape_.plane(); }

    [[nodiscard]] std::size_t offset(int n, int c, int h, int w) const;

    shape4 shape_;
    std::vector<float> values_;
};

/// Image i of a batch as a batch of one, (1, c, h, w). Throws shape_error when there is no image i.
[[nodiscard]] host_tensor image_copy(const host_tensor& images, int i);

/// Batches of one size, one behind the other. Throws shape_error when their images differ in shape, or there are none.
[[nodiscard]] host_tensor joined(std::span<const host_tensor> batches);

/// Counts the values that are NaN or infinite.
[[nodiscard]] std::size_t not_finite(std::span<const float> values);

} // namespace repaint

#ifndef REPAINT_COMPILED
#include <repaint/core/host_tensor.ipp>
#endif
