#pragma once

/// Where the channels of an activation lie.
namespace repaint::detail::cuda {

/// NHWC: channel c of pixel p of the whole batch, p = (image * h + row) * w + column, is data[p * stride + c]. An
/// activation that was joined of two is two of these, and never copied.
template <class T> struct part {
    const T* data;
    int channels;
    int stride;
};

} // namespace repaint::detail::cuda
