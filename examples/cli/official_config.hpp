#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include <repaint/diffusion/jump_schedule.hpp>
#include <repaint/io/json.hpp>

/// The YAML configurations of the official RePaint program.
namespace cli {

/// A path as a configuration gives it.
struct configured_path {
    std::filesystem::path path;
    std::string key;   ///< "model_path", "data.eval.faces.gt_path"
    std::string place; ///< "file, line 3: "

    /// The path itself when there is such a file or folder, as for the official program; else, with a note, the path
    /// from the folder of the configuration. Throws repaint::error, naming the key, when there is neither.
    [[nodiscard]] std::filesystem::path found(const std::filesystem::path& configuration,
                                              std::vector<std::string>& notes) const;
};

/// Where the pictures of a data set go; folders that the configuration does not name are not written.
struct official_folders {
    std::optional<std::filesystem::path> srs;           ///< the samples
    std::optional<std::filesystem::path> lrs;           ///< what was known, the rest black
    std::optional<std::filesystem::path> gts;           ///< the pictures as they were prepared
    std::optional<std::filesystem::path> gt_keep_masks; ///< the masks, white = known
};

/// An entry under data.eval.
struct official_data {
    std::string name;
    configured_path gt_path;
    configured_path mask_path;
    int image_size = 0;
    int batch_size = 1;
    int offset = 0;
    std::optional<int> max_len;
    bool drop_last = false;
    official_folders paths;
};

/// A whole configuration, checked as far as it can be without the files it names.
struct official_config {
    configured_path model_path;
    repaint::json_value model; ///< the network's and the diffusion's keys, as read_guided_diffusion takes them
    std::optional<configured_path> classifier_path; ///< only when the scale is above 0: guidance takes both
    double classifier_scale = 0.0;
    repaint::json_value classifier; ///< classifier_width, classifier_depth, ..., image_size
    int image_size = 0;
    std::string timestep_respacing;
    repaint::jump_options jumps;
    std::optional<int> cond_y;
    std::string cond_y_place;
    std::optional<std::uint64_t> seed; ///< no key of the official program, which has none
    bool show_progress = true;
    std::vector<official_data> data;
    std::vector<std::string> notes; ///< what the user should know, one sentence each
};

/// Reads a configuration. Throws repaint::format_error with the file and the line, naming key, value and what is
/// accepted, when a setting is of the wrong type or range, when a switch is on that the official program itself lacks
/// or that is not done here, and when the file is no YAML (read_yaml).
[[nodiscard]] official_config read_official_config(const std::filesystem::path& file);

} // namespace cli
