#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <repaint/config.hpp>
#include <repaint/core/text.hpp>
#include <repaint/model/attention_block.hpp>
#include <repaint/model/encoder.hpp>
#include <repaint/model/residual_block.hpp>
#include <repaint/model/timestep_embedding.hpp>
#include <repaint/model/unet_config.hpp>
#include <repaint/model/weight_map.hpp>
#include <repaint/ops.hpp>

namespace repaint {

/// The U-Net of diffusion models (Ho et al. 2020, Dhariwal and Nichol 2021), written once over the network primitives.
/// It asks for its weights by guided-diffusion's names; a name_map translates them for other families. Immutable after
/// construction: it may serve several backend objects of one kind, and every backend that executes its weights.
template <network_backend B> class unet {
public:
    using embedding = network_embedding<B>;

    /// Takes its weights from `weights` and packs them; weights.finish() tells what was missing, mis-shaped or left
    /// over.
    REPAINT_SETUP unet(B& b, const unet_config& config, weight_map& weights);

    [[nodiscard]] const unet_config& config() const { return config_; }

    /// The embedding of one timestep, on the scale that the network was trained with, and of one label per image when
    /// the network is class-conditional. Callers compute it once per timestep. Throws std::invalid_argument as
    /// check_labels.
    template <executes<B> E>
    [[nodiscard]] network_embedding<E> embed(E& b, float timestep, std::span<const int> labels = {}) const;

    /// x: (n, in_channels, h, w) -> (n, out_channels, h, w). Throws shape_error as check_image_shape.
    template <executes<B> E>
    [[nodiscard]] tensor_of<E> operator()(E& b, const tensor_of<E>& x, const network_embedding<E>& e) const;

private:
    struct up_step {
        std::optional<residual_block<B>> residual;
        std::optional<attention_block<B>> attention;
        std::optional<residual_block<B>> residual_up;
        std::optional<conv2d_weights_of<B>> conv_up;
    };

    template <class F> void for_each_residual(F&& visit) const;

    unet_config config_;
    embedding_mlp<B> mlp_;
    encoder<B> down_;
    std::vector<up_step> up_;
    std::optional<norm_weights_of<B>> last_norm_;
    std::optional<conv2d_weights_of<B>> last_;
};

template <network_backend B>
unet<B>::unet(B& b, const unet_config& config, weight_map& weights)
    : config_(config), mlp_(b, config, weights), down_(b, config, weights) {
    std::vector<int> skips = down_.step_channels();
    int channels = skips.back();
    for (std::size_t level = config.levels.size(); level-- > 0;) {
        const int last_block = config.blocks_at(level);
        for (int i = 0; i <= last_block; ++i) {
            const std::string name = config.output_block(level, i);
            auto& step = up_.emplace_back();
            step.residual.emplace(b, config, weights, joined_text({name, ".0"}), channels + skips.back(),
                                  config.levels[level].channels);
            skips.pop_back();
            channels = config.levels[level].channels;
            int position = 1;
            if (config.levels[level].attention_up) {
                step.attention.emplace(b, config, weights, joined_text({name, ".1"}), channels,
                                       config.attention_at(level, name, true), config.norm_groups);
                ++position;
            }
            if (level > 0 && i == last_block) {
                const std::string last = joined_text({name, ".", position});
                if (config.residual_up_at(level)) {
                    step.residual_up.emplace(b, config, weights, last, channels, channels, resampling::nearest_up);
                } else {
                    step.conv_up =
                        b.pack_conv2d(weights.take(joined_text({last, ".conv.weight"}), {channels, channels, 3, 3}),
                                      weights.take(joined_text({last, ".conv.bias"}), {channels, 1, 1, 1}));
                }
            }
        }
    }

    last_norm_ =
        b.pack_norm(weights.take("out.0.weight", {channels, 1, 1, 1}), weights.take("out.0.bias", {channels, 1, 1, 1}));
    last_ = b.pack_conv2d(weights.take("out.2.weight", {config.out_channels, channels, 3, 3}),
                          weights.take("out.2.bias", {config.out_channels, 1, 1, 1}));
}

template <network_backend B>
template <executes<B> E>
network_embedding<E> unet<B>::embed(E& b, float timestep, std::span<const int> labels) const {
    check_labels(config_, labels);
    const auto shared = mlp_(b, timestep, labels);
    network_embedding<E> result;
    for_each_residual([&](const residual_block<B>& block) { result.projections.push_back(block.project(b, shared)); });
    return result;
}

template <network_backend B>
template <executes<B> E>
tensor_of<E> unet<B>::operator()(E& b, const tensor_of<E>& x, const network_embedding<E>& e) const {
    check_image_shape(config_, x.shape());
    std::size_t next = 0;
    std::vector<tensor_of<E>> skips;
    auto h = down_(b, x, e, next, [&](tensor_of<E> step) -> const tensor_of<E>& {
        skips.push_back(std::move(step));
        return skips.back();
    });

    for (const auto& step : up_) {
        h = ops::concat(b, std::move(h), std::move(skips.back()));
        skips.pop_back();
        h = (*step.residual)(b, h, e.projections[next++]);
        if (step.attention) {
            h = (*step.attention)(b, h);
        }
        if (step.residual_up) {
            h = (*step.residual_up)(b, h, e.projections[next++]);
        } else if (step.conv_up) {
            h = ops::conv2d(b, ops::resize(b, h, resampling::nearest_up), *step.conv_up, {.padding = 1});
        }
    }

    h = ops::group_norm(b, h, *last_norm_, {config_.norm_groups, config_.norm_epsilon, activation::silu});
    return ops::conv2d(b, h, *last_, {.padding = 1});
}

template <network_backend B> template <class F> void unet<B>::for_each_residual(F&& visit) const {
    down_.for_each_residual(visit);
    for (const auto& step : up_) {
        visit(*step.residual);
        if (step.residual_up) {
            visit(*step.residual_up);
        }
    }
}

} // namespace repaint
