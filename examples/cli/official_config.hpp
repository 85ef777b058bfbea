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

/// A path that a configuration gives.
struct configured_path {
    std::filesystem::path path;
    std::string key;   ///< "model_path", "data.eval.faces.gt_path"
    std::string place; ///< "file, line 3: "

    /// The file or folder that is meant. As for the official program it is the path itself; when that does not exist,
    /// it is the path from the folder of the configuration, and a note says so. Throws repaint::error, naming the key,
    /// when neither exists.
    [[nodiscard]] std::filesystem::path found(const std::filesystem::path& configuration,
                                              std::vector<std::string>& notes) const;
};

/// The folders that the pictures of a data set are written to. A folder that the configuration does not name is not
/// written.
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

/// A configuration, checked as far as that is possible without the files that it names.
struct official_config {
    configured_path model_path;
    repaint::json_value model; ///< the network's and the diffusion's keys, as read_guided_diffusion takes them
    std::optional<configured_path> classifier_path; ///< only when classifier_scale is above 0, as guidance needs both
    double classifier_scale = 0.0;
    repaint::json_value classifier; ///< classifier_width, classifier_depth, ..., image_size
    int image_size = 0;
    std::string timestep_respacing;
    repaint::jump_options jumps;
    std::optional<int> cond_y;
    std::string cond_y_place;
    std::optional<std::uint64_t> seed; ///< the official program has no such key
    bool show_progress = true;
    std::vector<official_data> data;
    std::vector<std::string> notes; ///< what the user should know, one sentence each
};

/// Reads a configuration. Throws repaint::format_error, naming file, line, key, value and what is accepted, when a
/// setting has the wrong type or range, when a switch is on that does not work in the official program or is not
/// supported here, and when the file is no YAML (read_yaml).
[[nodiscard]] official_config read_official_config(const std::filesystem::path& file);

} // namespace cli
