#pragma once

#include <cstddef>
#include <filesystem>
#include <string>
#include <vector>

#include <repaint/core/host_tensor.hpp>
#include <repaint/image/picture.hpp>

#include "ablate.hpp"
#include "image_files.hpp"
#include "tables.hpp"

namespace ablation {

/// A picture that is filled again and again.
struct source_picture {
    std::string name; ///< below the folder of the pictures
    std::filesystem::path
        fill_name; ///< what its fills are called: the name without its extension where no other has it
    cli::source_image image;

    [[nodiscard]] const repaint::picture& pixels() const { return *image.pixels; }
};

/// All of an ablation: every picture with every kind of mask in every setting.
struct ablation_plan {
    std::vector<source_picture> pictures;
    std::vector<std::string> kinds;
    std::string kinds_found;                     ///< in words, how the kinds of masks were found
    std::vector<std::vector<std::size_t>> masks; ///< of each kind: which of keeps each picture has
    std::vector<repaint::host_tensor> keeps;     ///< (1, 1 or 3, h, w)
    std::vector<sweep_point> points;
    std::vector<walk_setting> settings;   ///< of the points, each once
    std::vector<std::size_t> evaluations; ///< of a fill in each setting

    [[nodiscard]] const repaint::host_tensor& keep(std::size_t kind, std::size_t at) const {
        return keeps[masks[kind][at]];
    }
};

/// Fills that are made together: the pictures [first, last) with a kind of mask in a setting.
struct fill_batch {
    std::size_t first;
    std::size_t last;
    std::size_t kind;
    std::size_t setting;
};

[[nodiscard]] repaint::inpaint_options options_of(const walk_setting& setting);

/// Reads pictures and masks and checks that they fit each other and the network. Throws std::invalid_argument naming
/// what does not.
[[nodiscard]] ablation_plan plan_of(const ablate_command& command, cli::engine& model);

/// Sixteen digits that tell a picture and its mask from others.
[[nodiscard]] std::string fingerprint(const repaint::picture& p, const repaint::host_tensor& keep);

/// Says on stderr what will be filled. missing: fills that are still to be made.
void print_plan(const ablation_plan& plan, std::size_t missing);

} // namespace ablation
