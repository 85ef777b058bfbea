#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <initializer_list>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <repaint/config.hpp>
#include <repaint/core/text.hpp>
#include <repaint/diffusion/process.hpp>
#include <repaint/model/common_settings.hpp>
#include <repaint/model/settings.hpp>
#include <repaint/model/unet_config.hpp>

namespace repaint {

namespace detail {

REPAINT_COLD value_range read_data_range(settings_reader& settings, value_range usual) {
    const auto given = settings.numbers("data_range");
    if (!given) {
        return usual;
    }
    const bool two = given->size() == 2 && std::fabs((*given)[0]) <= 1e6 && std::fabs((*given)[1]) <= 1e6;
    if (!two || (*given)[1] - (*given)[0] < 1e-6) {
        settings.refuse("data_range", "[low, high] with low below high, as [-1, 1] or [0, 1]");
    }
    return {static_cast<float>((*given)[0]), static_cast<float>((*given)[1])};
}

REPAINT_COLD void set_betas(diffusion_settings& diffusion, beta_schedule betas, const settings_reader& settings,
                            std::string_view key) {
    diffusion.training = tabulated(settings, key, [&betas] { return noise_schedule(betas); });
    diffusion.betas = std::move(betas);
}

REPAINT_COLD void read_beta_ends(settings_reader& settings, beta_schedule& betas) {
    const auto read = [&settings](const char* key, double usual) {
        const double value = settings.number(key).value_or(usual);
        if (!(value >= 1e-12 && value < 1.0)) {
            settings.refuse(key, "a number above 0 and below 1");
        }
        return value;
    };
    betas.start = read("beta_start", betas.start);
    betas.end = read("beta_end", betas.end);
}

REPAINT_COLD prediction_type read_prediction(settings_reader& settings) {
    return settings
        .choice<prediction_type>("prediction_type", {{"epsilon", prediction_type::epsilon},
                                                     {"sample", prediction_type::x_0},
                                                     {"v_prediction", prediction_type::velocity}})
        .value_or(prediction_type::epsilon);
}

REPAINT_COLD variance_type checked_variance(const settings_reader& settings, std::optional<variance_type> asked,
                                            variance_type learned, const unet_config& network,
                                            std::vector<std::string>& remarks) {
    const bool twice = network.out_channels == 2 * network.in_channels;
    if (!asked) {
        if (twice) {
            remarks.emplace_back("the network has channels for a variance: variance_type learned_range is assumed");
        }
        return twice ? learned : variance_type::fixed_small;
    }
    if (is_learned(*asked) && !twice) {
        settings.refuse("variance_type",
                        joined_text({"fixed_small or fixed_large, as the network has ", network.out_channels,
                                     " output channels for images of ", network.in_channels}));
    }
    return *asked;
}

REPAINT_COLD void remark_channels(const unet_config& network, std::vector<std::string>& remarks) {
    if (network.out_channels != network.in_channels && network.out_channels != 2 * network.in_channels) {
        remarks.push_back(joined_text({"the network returns ", network.out_channels, " channels for images of ",
                                       network.in_channels, ": it can be evaluated, but not sampled from"}));
    }
}

/// True when `groups` divides the channels of every level from first_level on.
inline bool groups_fit(int groups, const unet_config& network, std::size_t first_level = 0) {
    return groups >= 1 &&
           std::all_of(network.levels.begin() + static_cast<std::ptrdiff_t>(first_level), network.levels.end(),
                       [groups](const unet_level& level) { return level.channels % groups == 0; });
}

REPAINT_COLD void check_groups(const settings_reader& settings, const char* key, int groups, const unet_config& network,
                               std::size_t first_level) {
    if (groups_fit(groups, network, first_level)) {
        return;
    }
    std::string channels;
    for (std::size_t i = first_level; i < network.levels.size(); ++i) {
        channels += channels.empty() ? "" : ", ";
        channels += std::to_string(network.levels[i].channels);
    }
    settings.refuse(key, settings.has(key) ? std::to_string(groups) : joined_text({"not given, which means ", groups}),
                    joined_text({"a number of groups that divides ", channels, " channels"}));
}

REPAINT_COLD float read_epsilon(settings_reader& settings, const char* key, double usual) {
    const double value = settings.number(key).value_or(usual);
    if (!(value >= 1e-30 && value <= 1.0)) {
        settings.refuse(key, "a number above 0, at most 1");
    }
    return static_cast<float>(value);
}

REPAINT_COLD void remark_unknown(std::initializer_list<const settings_reader*> readers,
                                 std::vector<std::string>& remarks) {
    std::set<std::string> unknown;
    for (const auto* reader : readers) {
        const auto keys = reader->unknown();
        unknown.insert(keys.begin(), keys.end());
    }
    for (const auto& key : unknown) {
        const bool elsewhere = std::any_of(readers.begin(), readers.end(),
                                           [&key](const settings_reader* reader) { return reader->asked_for(key); });
        if (!elsewhere) {
            remarks.push_back(joined_text({"the setting ", printable(key), " is not known here and was ignored"}));
        }
    }
}

} // namespace detail

} // namespace repaint
