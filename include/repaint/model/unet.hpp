#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <repaint/model/attention_block.hpp>
#include <repaint/model/residual_block.hpp>
#include <repaint/model/timestep_embedding.hpp>
#include <repaint/model/unet_config.hpp>
#include <repaint/model/weight_map.hpp>
#include <repaint/ops.hpp>

namespace repaint {

/// The U-Net of the guided-diffusion family (Dhariwal and Nichol 2021), written once over the network primitives.
/// Immutable after construction; may serve several backend objects of one kind.
template <network_backend B> class unet {
public:
    /// Everything that depends on timestep and label only: one projection per residual block, in forward order.
    struct embedding {
        std::vector<tensor_of<B>> projections;
    };

    /// Packs the weights it takes from `weights`, which keeps the account of missing, mis-shaped and unused names.
    unet(B& b, const unet_config& config, weight_map& weights) : config_(config), mlp_(b, config, weights) {
        const auto channels_at = [&](std::size_t level) { return config.levels[level].channels; };
        int channels = channels_at(0);
        first_ = b.pack_conv2d(weights.take("input_blocks.0.0.weight", {channels, config.in_channels, 3, 3}),
                               weights.take("input_blocks.0.0.bias", {channels, 1, 1, 1}));

        // Down: what each step leaves behind is a skip connection, the first convolution's result included.
        std::vector<int> skips{channels};
        const auto next_input = [&] { return "input_blocks." + std::to_string(down_.size() + 1); };
        for (std::size_t level = 0; level < config.levels.size(); ++level) {
            for (int i = 0; i < config.res_blocks; ++i) {
                const std::string name = next_input();
                auto& step = down_.emplace_back();
                step.residual.emplace(b, config, weights, name + ".0", channels, channels_at(level));
                channels = channels_at(level);
                if (config.levels[level].attention) {
                    step.attention.emplace(b, config, weights, name + ".1", channels, config.heads_for(channels, name));
                }
                skips.push_back(channels);
            }
            if (level + 1 < config.levels.size()) {
                const std::string name = next_input();
                auto& step = down_.emplace_back();
                if (config.resblock_updown) {
                    step.residual.emplace(b, config, weights, name + ".0", channels, channels,
                                          resampling::average_down);
                } else {
                    step.strided = b.pack_conv2d(weights.take(name + ".0.op.weight", {channels, channels, 3, 3}),
                                                 weights.take(name + ".0.op.bias", {channels, 1, 1, 1}));
                }
                skips.push_back(channels);
            }
        }

        middle_first_.emplace(b, config, weights, "middle_block.0", channels, channels);
        middle_attention_.emplace(b, config, weights, "middle_block.1", channels,
                                  config.heads_for(channels, "middle_block.1"));
        middle_second_.emplace(b, config, weights, "middle_block.2", channels, channels);

        for (std::size_t level = config.levels.size(); level-- > 0;) {
            for (int i = 0; i <= config.res_blocks; ++i) {
                const std::string name = "output_blocks." + std::to_string(up_.size());
                auto& step = up_.emplace_back();
                step.residual.emplace(b, config, weights, name + ".0", channels + skips.back(), channels_at(level));
                skips.pop_back();
                channels = channels_at(level);
                int position = 1;
                if (config.levels[level].attention) {
                    step.attention.emplace(b, config, weights, name + ".1", channels,
                                           config.heads_for(channels, name, true));
                    ++position;
                }
                if (level > 0 && i == config.res_blocks) {
                    const std::string last = name + "." + std::to_string(position);
                    if (config.resblock_updown) {
                        step.residual_up.emplace(b, config, weights, last, channels, channels, resampling::nearest_up);
                    } else {
                        step.conv_up = b.pack_conv2d(weights.take(last + ".conv.weight", {channels, channels, 3, 3}),
                                                     weights.take(last + ".conv.bias", {channels, 1, 1, 1}));
                    }
                }
            }
        }

        last_norm_ = b.pack_norm(weights.take("out.0.weight", {channels, 1, 1, 1}),
                                 weights.take("out.0.bias", {channels, 1, 1, 1}));
        last_ = b.pack_conv2d(weights.take("out.2.weight", {config.out_channels, channels, 3, 3}),
                              weights.take("out.2.bias", {config.out_channels, 1, 1, 1}));
    }

    [[nodiscard]] const unet_config& config() const { return config_; }

    /// The embedding of one timestep (as the network was trained to read it), and of one label per image when the
    /// network is class-conditional. Compute it once per distinct timestep. Throws std::invalid_argument on missing or
    /// wrong labels.
    [[nodiscard]] embedding embed(B& b, float timestep, std::span<const int> labels = {}) const {
        check_labels(config_, labels);
        const auto shared = mlp_(b, timestep, labels);
        embedding result;
        for_each_residual(
            [&](const residual_block<B>& block) { result.projections.push_back(block.project(b, shared)); });
        return result;
    }

    /// x: (n, in_channels, h, w) -> (n, out_channels, h, w). Throws shape_error as check_image_shape.
    [[nodiscard]] tensor_of<B> operator()(B& b, const tensor_of<B>& x, const embedding& e) const {
        check_image_shape(config_, x.shape());
        std::size_t next = 0;
        const auto run = [&](const std::optional<residual_block<B>>& block, const tensor_of<B>& in) {
            return (*block)(b, in, e.projections[next++]);
        };

        std::vector<tensor_of<B>> skips;
        skips.push_back(ops::conv2d(b, x, *first_, {.padding = 1})); // (n, c_0, h, w)
        for (const auto& step : down_) {
            if (step.strided) {
                skips.push_back(ops::conv2d(b, skips.back(), *step.strided, {.stride = 2, .padding = 1}));
                continue;
            }
            auto h = run(step.residual, skips.back());
            if (step.attention) {
                h = (*step.attention)(b, h);
            }
            skips.push_back(std::move(h));
        }

        auto h = run(middle_first_, skips.back());
        h = (*middle_attention_)(b, h);
        h = run(middle_second_, h);

        for (const auto& step : up_) {
            h = ops::concat(b, std::move(h), std::move(skips.back()));
            skips.pop_back();
            h = run(step.residual, h);
            if (step.attention) {
                h = (*step.attention)(b, h);
            }
            if (step.residual_up) {
                h = run(step.residual_up, h);
            } else if (step.conv_up) {
                h = ops::conv2d(b, ops::resize(b, h, resampling::nearest_up), *step.conv_up, {.padding = 1});
            }
        }

        h = ops::group_norm(b, h, *last_norm_, {config_.norm_groups, config_.norm_epsilon, activation::silu});
        return ops::conv2d(b, h, *last_, {.padding = 1});
    }

private:
    struct down_step {
        std::optional<residual_block<B>> residual;
        std::optional<attention_block<B>> attention;
        std::optional<conv2d_weights_of<B>> strided; // instead of the two above
    };
    struct up_step {
        std::optional<residual_block<B>> residual;
        std::optional<attention_block<B>> attention;
        std::optional<residual_block<B>> residual_up;
        std::optional<conv2d_weights_of<B>> conv_up;
    };

    template <class F> void for_each_residual(F&& visit) const {
        const auto visit_if = [&visit](const std::optional<residual_block<B>>& block) {
            if (block) {
                visit(*block);
            }
        };
        for (const auto& step : down_) {
            visit_if(step.residual);
        }
        visit_if(middle_first_);
        visit_if(middle_second_);
        for (const auto& step : up_) {
            visit_if(step.residual);
            visit_if(step.residual_up);
        }
    }

    unet_config config_;
    embedding_mlp<B> mlp_;
    std::optional<conv2d_weights_of<B>> first_;
    std::vector<down_step> down_;
    std::optional<residual_block<B>> middle_first_;
    std::optional<attention_block<B>> middle_attention_;
    std::optional<residual_block<B>> middle_second_;
    std::vector<up_step> up_;
    std::optional<norm_weights_of<B>> last_norm_;
    std::optional<conv2d_weights_of<B>> last_;
};

} // namespace repaint
