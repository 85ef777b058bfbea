#pragma once

#include <cstddef>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <repaint/io/stored_tensor.hpp>
#include <repaint/model/diffusion_model.hpp>
#include <repaint/model/settings.hpp>
#include <repaint/model/unet_config.hpp>
#include <repaint/model/weight_map.hpp>

/// What families of checkpoints have in common. A family is a reader of configurations and a name_map, in a file of its
/// own; its network is the one `unet`.
namespace repaint {

/// What a checkpoint and its configuration say about a model.
struct family_model {
    unet_config network;
    diffusion_settings diffusion;
    model_description description;
    name_map names; ///< what the file calls the network's tensors; none: as the network
};

namespace detail {

/// The shape of a tensor that must be there. Throws format_error when it is not, or not of that rank.
std::vector<int> required_shape(const checkpoint& file, const std::string& name, std::size_t rank,
                                std::string_view family = "guided-diffusion U-Net");

bool has_tensor(const checkpoint& file, const std::string& name);

/// True when the names of some tensors start like that.
bool has_prefix(const checkpoint& file, const std::string& start);

/// Number of blocks called prefix.0, prefix.1, ...
int count_blocks(const checkpoint& file, const std::string& prefix);

/// "a.pt: its 12 tensors (the first is x)", the start of a sentence about what they are not.
std::string tensors_of(const checkpoint& file);

/// The setting data_range, [low, high]; not given: what the family's programs use.
value_range read_data_range(settings_reader& settings, value_range usual = {});

/// Tabulates the betas that the settings describe. Throws format_error when they cannot be, naming `key`.
void set_betas(diffusion_settings& diffusion, beta_schedule betas, const settings_reader& settings,
               std::string_view key);

/// beta_start and beta_end, above 0 and below 1.
void read_beta_ends(settings_reader& settings, beta_schedule& betas);

/// prediction_type, in the words that diffusers and MONAI share.
prediction_type read_prediction(settings_reader& settings);

/// The variance that the settings ask for (nullopt: nothing), against the channels that the network has for it.
variance_type checked_variance(const settings_reader& settings, std::optional<variance_type> asked,
                               variance_type learned, const unet_config& network, std::vector<std::string>& remarks);

/// What a user has to know about networks that do not return images, or images and their variance.
void remark_channels(const unet_config& network, std::vector<std::string>& remarks);

/// norm_num_groups, which has to divide the channels of every level from first_level on. Throws format_error.
void check_groups(const settings_reader& settings, const char* key, int groups, const unet_config& network,
                  std::size_t first_level = 0);

/// norm_eps, above 0 and at most 1.
float read_epsilon(settings_reader& settings, const char* key, double usual);

/// Names the settings that none of the readers was asked for.
void remark_unknown(std::initializer_list<const settings_reader*> readers, std::vector<std::string>& remarks);

} // namespace detail

} // namespace repaint

#ifndef REPAINT_COMPILED
#include <repaint/model/family.ipp>
#endif
