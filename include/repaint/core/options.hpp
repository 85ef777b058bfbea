#pragma once

namespace repaint {

/// What a primitive applies to its result before writing it.
enum class activation { none, silu, relu };

/// y = then(conv(x, w) + bias + residual). Zero padding, the same on all four sides.
struct conv2d_options {
    int stride = 1;
    int padding = 0;
    activation then = activation::none;
};

/// y = then(group_norm(x) * gamma + beta), with epsilon added to the variance (Wu and He, 2018).
struct group_norm_options {
    int groups = 32;
    float epsilon = 1e-5F;
    activation then = activation::none;
};

/// Nearest-neighbour doubling, or the mean of each 2x2 square.
enum class resampling { nearest_up, average_down };

} // namespace repaint
