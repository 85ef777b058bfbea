#pragma once

#include <repaint/core/host_tensor.hpp>
#include <repaint/core/options.hpp>

/// The vector-Jacobian products of basic_reference_backend<double>, which tests/gradients.cpp holds against finite
/// differences. Compiled apart, so that no other backend meets xtensor in its translation unit.
namespace in_double {

using repaint::host_tensor;
using repaint::shape4;

host_tensor conv2d_vjp(const host_tensor& dy, const host_tensor& w, const repaint::conv2d_options& o, shape4 in);
host_tensor activation_vjp(const host_tensor& x, repaint::activation f, const host_tensor& dy);
/// scale_shift: null for none.
host_tensor group_norm_vjp(const host_tensor& x, const host_tensor& gamma, const host_tensor& beta,
                           const host_tensor* scale_shift, const repaint::group_norm_options& o, const host_tensor& dy);
host_tensor attention_vjp(const host_tensor& qkv, int heads, const host_tensor& dy);
host_tensor resize_vjp(const host_tensor& dy, repaint::resampling mode);
host_tensor mean_vjp(const host_tensor& dy, shape4 in);
host_tensor prepend_mean_vjp(const host_tensor& dy, shape4 in);

} // namespace in_double
