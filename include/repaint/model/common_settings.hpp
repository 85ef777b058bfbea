#pragma once

#include <cstddef>
#include <initializer_list>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include <repaint/core/text.hpp>
#include <repaint/diffusion/process.hpp>
#include <repaint/error.hpp>
#include <repaint/model/settings.hpp>
#include <repaint/model/unet_config.hpp>

/// The settings that several families of checkpoints share: how each is read, checked against the network, and refused.
/// Every function that reads throws format_error, naming file, line, key, value and what is accepted.
namespace repaint {

namespace detail {

/// The setting data_range, [low, high]. `usual` is returned when it is not given: what the family's programs use.
value_range read_data_range(settings_reader& settings, value_range usual = {});

/// The schedule that make() returns. What make() throws as std::invalid_argument becomes a format_error that names the
/// file, the line and `key`.
template <class F> noise_schedule tabulated(const settings_reader& settings, std::string_view key, F make) {
    try {
        return make();
    } catch (const std::invalid_argument& impossible) {
        throw format_error(joined_text({settings.place(key), settings.name_of(key), ": ", impossible.what()}));
    }
}

/// Sets diffusion.betas, and diffusion.training to their table. Throws format_error, naming `key`, when the betas are
/// impossible.
void set_betas(diffusion_settings& diffusion, beta_schedule betas, const settings_reader& settings,
               std::string_view key);

/// Replaces betas.start and betas.end by the settings beta_start and beta_end where they are given. Both have to be
/// above 0 and below 1.
void read_beta_ends(settings_reader& settings, beta_schedule& betas);

/// The setting prediction_type in the words that diffusers and MONAI share; epsilon when it is not given.
prediction_type read_prediction(settings_reader& settings);

/// The variance that the settings ask for, checked against the network's channels. asked: nullopt when the settings say
/// nothing; then it is `learned` for a network that has channels for a variance, which a remark tells, and fixed_small
/// for any other.
variance_type checked_variance(const settings_reader& settings, std::optional<variance_type> asked,
                               variance_type learned, const unet_config& network, std::vector<std::string>& remarks);

/// Adds a remark when the network returns neither images nor images and their variance: it cannot be sampled from.
void remark_channels(const unet_config& network, std::vector<std::string>& remarks);

/// Throws format_error, naming `key`, unless `groups` divides the channels of every level from first_level on.
void check_groups(const settings_reader& settings, const char* key, int groups, const unet_config& network,
                  std::size_t first_level = 0);

/// The epsilon of a norm under `key`, above 0 and at most 1; `usual` when it is not given.
float read_epsilon(settings_reader& settings, const char* key, double usual);

/// Adds a remark for every setting that none of the readers was asked for.
void remark_unknown(std::initializer_list<const settings_reader*> readers, std::vector<std::string>& remarks);

} // namespace detail

} // namespace repaint

#ifndef REPAINT_COMPILED
#include <repaint/model/common_settings.ipp>
#endif
