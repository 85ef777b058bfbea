#include "support/gradients_in_double.hpp"

#include <optional>

#include <repaint/backend/reference.hpp>
#include <repaint/ops.hpp>

#include "support/oracle.hpp"

namespace in_double {

namespace ops = repaint::ops;
using backend = repaint::basic_reference_backend<double>;

host_tensor conv2d_vjp(const host_tensor& dy, const host_tensor& w, const repaint::conv2d_options& o, shape4 in) {
    backend b;
    return b.download(ops::conv2d_vjp(b, b.upload(dy), b.pack_conv2d(oracle::weights(w), {}), o, in));
}

host_tensor activation_vjp(const host_tensor& x, repaint::activation f, const host_tensor& dy) {
    backend b;
    return b.download(ops::activation_vjp(b, b.upload(x), f, b.upload(dy)));
}

host_tensor group_norm_vjp(const host_tensor& x, const host_tensor& gamma, const host_tensor& beta,
                           const host_tensor* scale_shift, const repaint::group_norm_options& o,
                           const host_tensor& dy) {
    backend b;
    std::optional<backend::tensor> s;
    if (scale_shift != nullptr) {
        s.emplace(b.upload(*scale_shift));
    }
    return b.download(ops::group_norm_vjp(b, b.upload(x), b.pack_norm(oracle::weights(gamma), oracle::weights(beta)),
                                          s ? &*s : nullptr, o, b.upload(dy)));
}

host_tensor attention_vjp(const host_tensor& qkv, int heads, const host_tensor& dy) {
    backend b;
    return b.download(ops::attention_vjp(b, b.upload(qkv), heads, b.upload(dy)));
}

host_tensor resize_vjp(const host_tensor& dy, repaint::resampling mode) {
    backend b;
    return b.download(ops::resize_vjp(b, b.upload(dy), mode));
}

host_tensor mean_vjp(const host_tensor& dy, shape4 in) {
    backend b;
    return b.download(ops::mean_vjp(b, b.upload(dy), in));
}

host_tensor prepend_mean_vjp(const host_tensor& dy, shape4 in) {
    backend b;
    return b.download(ops::prepend_mean_vjp(b, b.upload(dy), in));
}

} // namespace in_double
