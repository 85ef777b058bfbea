#pragma once

#include <optional>
#include <string>
#include <vector>

#include <repaint/core/host_tensor.hpp>

#include "image_files.hpp"

/// Where the holes of pictures come from.
namespace cli {

/// How a command names masks, and how it changes them.
struct mask_options {
    std::vector<std::string> keep;  ///< files, alpha[:FILE], #rrggbb[:FILE]
    std::vector<std::string> paint; ///< the same
    int tolerance = 0;              ///< of a colour, per channel of 0 to 255
    std::optional<float> threshold; ///< known from there on, 0 to 1
    double grow = 0.0;              ///< pixels
    double feather = 0.0;           ///< pixels

    [[nodiscard]] const std::vector<std::string>& given() const { return keep.empty() ? paint : keep; }
    [[nodiscard]] bool any() const { return !keep.empty() || !paint.empty(); }
};

/// A keep mask, and what messages call it.
struct source_mask {
    std::string name;
    repaint::host_tensor keep;
};

/// The masks that were asked for: one for all pictures, or one for each. Where pictures hold NaN, that is a hole as well;
/// without any mask it is the only one. hard: edges of picture files are not soft. Notes go to stderr unless quiet.
/// Throws with the name of the mask in the sentence.
[[nodiscard]] std::vector<source_mask> read_masks(const mask_options& options, const std::vector<source_image>& images,
                                                  bool hard, bool quiet);

/// A mask file as understand_mask reads it, with its notes on stderr. weights: what is between known and filled counts in
/// part, as a measure weighs pixels. Throws with the file's name in the sentence.
[[nodiscard]] repaint::host_tensor read_keep_mask(const std::filesystem::path& file, bool weights = false);

/// Throws std::invalid_argument, naming mask and picture, unless the mask fits.
void check_mask_fits(const source_mask& mask, const source_image& image);

} // namespace cli
