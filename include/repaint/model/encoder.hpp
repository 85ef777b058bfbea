#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <repaint/config.hpp>
#include <repaint/core/text.hpp>
#include <repaint/model/attention_block.hpp>
#include <repaint/model/folded_weights.hpp>
#include <repaint/model/residual_block.hpp>
#include <repaint/model/unet_config.hpp>
#include <repaint/model/weight_map.hpp>
#include <repaint/ops.hpp>

namespace repaint {

/// The part of a network that depends on timestep and label only: one projection per residual block, in forward order.
template <network_backend B> struct network_embedding { std::vector<tensor_of<B>> projections; };

/// The way down of a U-Net and the middle block: the first half of a `unet`, and all of a classifier but its head.
template <network_backend B> class encoder {
public:
    /// Takes its weights under "input_blocks" and "middle_block".
    REPAINT_SETUP encoder(B& b, const unet_config& config, weight_map& weights);

    /// The channels after the first convolution and after each step down. The middle block keeps the last number.
    [[nodiscard]] const std::vector<int>& step_channels() const { return step_channels_; }

    /// Calls visit with every residual block in forward order.
    template <class F> void for_each_residual(F&& visit) const;

    /// x: (n, in_channels, h, w) -> the output of the middle block. keep(tensor) takes the result of every step down
    /// over and returns a reference to it, which has to be valid until the next call of keep. Uses the projections of e
    /// from `next` on, and sets `next` to the first unused one.
    template <executes<B> E, class K>
    [[nodiscard]] tensor_of<E> operator()(E& b, const tensor_of<E>& x, const network_embedding<E>& e, std::size_t& next,
                                          K&& keep) const;

private:
    struct step_down {
        std::optional<residual_block<B>> residual;
        std::optional<attention_block<B>> attention;
        std::optional<conv2d_weights_of<B>> strided; // instead of the two above
    };

    std::optional<conv2d_weights_of<B>> centring_;
    std::optional<conv2d_weights_of<B>> first_;
    std::vector<step_down> steps_;
    std::vector<int> step_channels_;
    std::optional<conv2d_weights_of<B>> no_middle_; // a copy: the last step goes up twice
    std::optional<residual_block<B>> middle_first_;
    std::optional<attention_block<B>> middle_attention_;
    std::optional<residual_block<B>> middle_second_;
};

template <network_backend B> encoder<B>::encoder(B& b, const unet_config& config, weight_map& weights) {
    int channels = config.levels.front().channels;
    first_ = b.pack_conv2d(weights.take("input_blocks.0.0.weight", {channels, config.in_channels, 3, 3}),
                           weights.take("input_blocks.0.0.bias", {channels, 1, 1, 1}));
    step_channels_ = {channels};
    if (config.centre_input) {
        const bool values = weights.gives_values();
        centring_ = b.pack_conv2d(detail::scaling(config.in_channels, 2.0, values),
                                  detail::constant_bias(config.in_channels, -1.0, values));
    }
    for (std::size_t level = 0; level < config.levels.size(); ++level) {
        const int blocks = config.blocks_at(level);
        for (int i = 0; i < blocks; ++i) {
            const std::string name = config.input_block(level, i);
            auto& next = steps_.emplace_back();
            next.residual.emplace(b, config, weights, joined_text({name, ".0"}), channels,
                                  config.levels[level].channels);
            channels = config.levels[level].channels;
            if (config.levels[level].attention) {
                next.attention.emplace(b, config, weights, joined_text({name, ".1"}), channels,
                                       config.attention_at(level, name), config.norm_groups);
            }
            step_channels_.push_back(channels);
        }
        if (level + 1 < config.levels.size()) {
            const std::string name = config.input_block(level, blocks);
            auto& next = steps_.emplace_back();
            if (config.residual_down_at(level)) {
                next.residual.emplace(b, config, weights, joined_text({name, ".0"}), channels, channels,
                                      resampling::average_down);
            } else {
                const auto kernels = weights.take(joined_text({name, ".0.op.weight"}), {channels, channels, 3, 3});
                next.strided = b.pack_conv2d(config.pad_end_only ? detail::padded_in_front(kernels) : kernels,
                                             weights.take(joined_text({name, ".0.op.bias"}), {channels, 1, 1, 1}));
            }
            step_channels_.push_back(channels);
        }
    }
    if (!config.middle) {
        no_middle_ =
            b.pack_conv2d(detail::scaling(channels, 1.0, weights.gives_values()), {{channels, 1, 1, 1}, nullptr});
        return;
    }
    const double divisor = config.middle_divisor;
    middle_first_.emplace(b, config, weights, "middle_block.0", channels, channels, std::nullopt, divisor);
    if (config.middle_attention) {
        const std::string name = "middle_block.1";
        middle_attention_.emplace(b, config, weights, name, channels,
                                  config.attention_at(config.levels.size() - 1, name),
                                  config.middle_groups.value_or(config.norm_groups), divisor);
    }
    middle_second_.emplace(b, config, weights, "middle_block.2", channels, channels, std::nullopt, divisor);
}

template <network_backend B> template <class F> void encoder<B>::for_each_residual(F&& visit) const {
    for (const auto& step : steps_) {
        if (step.residual) {
            visit(*step.residual);
        }
    }
    if (middle_first_) {
        visit(*middle_first_);
        visit(*middle_second_);
    }
}

template <network_backend B>
template <executes<B> E, class K>
tensor_of<E> encoder<B>::operator()(E& b, const tensor_of<E>& x, const network_embedding<E>& e, std::size_t& next,
                                    K&& keep) const {
    const tensor_of<E>* last = &keep(centring_ ? ops::conv2d(b, ops::conv2d(b, x, *centring_), *first_, {.padding = 1})
                                               : ops::conv2d(b, x, *first_, {.padding = 1})); // (n, c_0, h, w)
    for (const auto& step : steps_) {
        if (step.strided) {
            last = &keep(ops::conv2d(b, *last, *step.strided, {.stride = 2, .padding = 1}));
            continue;
        }
        auto h = (*step.residual)(b, *last, e.projections[next++]);
        if (step.attention) {
            h = (*step.attention)(b, h);
        }
        last = &keep(std::move(h));
    }
    if (no_middle_) {
        return ops::conv2d(b, *last, *no_middle_);
    }
    auto h = (*middle_first_)(b, *last, e.projections[next++]);
    if (middle_attention_) {
        h = (*middle_attention_)(b, h);
    }
    return (*middle_second_)(b, h, e.projections[next++]);
}

} // namespace repaint
