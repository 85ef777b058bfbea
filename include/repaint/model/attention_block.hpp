#pragma once

#include <algorithm>
#include <cstddef>
#include <memory>
#include <optional>
#include <string>

#include <repaint/model/folded_weights.hpp>
#include <repaint/model/unet_config.hpp>
#include <repaint/model/weight_map.hpp>
#include <repaint/ops.hpp>

namespace repaint {

/// Rows of a qkv weight or bias, reordered from [q k v of head 0 | q k v of head 1 | ...] to [Q | K | V].
inline host_weights grouped_by_role(const host_weights& per_head, int heads) {
    if (!per_head.values) {
        return per_head;
    }
    const std::size_t row = static_cast<std::size_t>(per_head.shape.c) * per_head.shape.plane();
    const std::size_t rows = static_cast<std::size_t>(per_head.shape.n);
    const std::size_t width = rows / 3 / static_cast<std::size_t>(heads);
    const std::shared_ptr<float[]> values(new float[rows * row]);
    for (std::size_t head = 0; head < static_cast<std::size_t>(heads); ++head) {
        for (std::size_t role = 0; role < 3; ++role) {
            const float* from = per_head.values.get() + (head * 3 + role) * width * row;
            std::copy_n(from, width * row, values.get() + (role * (rows / 3) + head * width) * row);
        }
    }
    return {per_head.shape, std::shared_ptr<const float>(values, values.get())};
}

/// x + projection(attention(qkv(norm(x)))) over all pixels of an image.
template <network_backend B> class attention_block {
public:
    /// Takes its weights under `name`, e.g. "middle_block.1". groups: of the norm; 0: there is none. The sum with x is
    /// divided by the divisor.
    attention_block(B& b, const unet_config& config, weight_map& weights, const std::string& name, int channels,
                    attention_heads heads, int groups, double divisor = 1.0)
        : norm_(group_norm_options{groups, config.norm_epsilon, activation::none}), heads_(heads.count) {
        if (groups > 0) {
            norm_weights_ = b.pack_norm(weights.take(name + ".norm.weight", {channels, 1, 1, 1}),
                                        weights.take(name + ".norm.bias", {channels, 1, 1, 1}));
        }
        const int width = heads.count * heads.channels;
        qkv_ = b.pack_conv2d(ordered(weights.take(name + ".qkv.weight", {3 * width, channels, 1, 1}), config),
                             ordered(weights.take(name + ".qkv.bias", {3 * width, 1, 1, 1}), config));
        const auto scaled = [&] {
            return b.pack_conv2d(scaling(channels, 1.0 / divisor, weights.gives_values()),
                                 {{channels, 1, 1, 1}, nullptr});
        };
        if (config.attention_projection) {
            projection_ =
                b.pack_conv2d(divided(weights.take(name + ".proj_out.weight", {channels, width, 1, 1}), divisor),
                              divided(weights.take(name + ".proj_out.bias", {channels, 1, 1, 1}), divisor));
        } else {
            projection_ = scaled();
        }
        if (divisor != 1.0) {
            shortcut_ = scaled();
        }
    }

    /// (n, c, h, w) -> (n, c, h, w)
    template <executes<B> E> tensor_of<E> operator()(E& b, const tensor_of<E>& x) const {
        auto h = norm_weights_ ? ops::conv2d(b, ops::group_norm(b, x, *norm_weights_, norm_), *qkv_)
                               : ops::conv2d(b, x, *qkv_); // (n, 3 width, h, w)
        h = ops::attention(b, h, heads_);                  // (n, width, h, w)
        if (shortcut_) {
            const auto shortcut = ops::conv2d(b, x, *shortcut_);
            return ops::conv2d(b, h, *projection_, {}, &shortcut);
        }
        return ops::conv2d(b, h, *projection_, {}, &x);
    }

private:
    [[nodiscard]] host_weights ordered(const host_weights& qkv, const unet_config& config) const {
        return config.order == qkv_order::per_head ? grouped_by_role(qkv, heads_) : qkv;
    }

    group_norm_options norm_;
    int heads_;
    std::optional<norm_weights_of<B>> norm_weights_;
    std::optional<conv2d_weights_of<B>> qkv_;
    std::optional<conv2d_weights_of<B>> projection_;
    std::optional<conv2d_weights_of<B>> shortcut_;
};

} // namespace repaint
