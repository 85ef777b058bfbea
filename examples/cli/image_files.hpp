#pragma once

#include <cstddef>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include <repaint/core/host_tensor.hpp>
#include <repaint/core/value_range.hpp>
#include <repaint/image/picture.hpp>
#include <repaint/io/stored_tensor.hpp>
#include <repaint/model/diffusion_model.hpp>

/// What goes into a run and what comes out of it: pictures, or .npy.
namespace cli {

/// ".png" of "face.PNG"
[[nodiscard]] std::string lower_extension(const std::filesystem::path& path);

/// Whether it ends in .png, .jpg or .jpeg, in upper case, too.
[[nodiscard]] bool is_picture_name(const std::filesystem::path& path);

/// The array in an .npy. Throws repaint::format_error when it holds no image.
[[nodiscard]] repaint::host_tensor read_array(const std::filesystem::path& file);

/// What the values of an .npy mean.
struct array_units {
    std::optional<repaint::value_range> range; ///< what black and white are; none: as in the network's images
    repaint::dtype type = repaint::dtype::f32; ///< of the file that is written from it

    friend bool operator==(const array_units&, const array_units&) = default;
};

/// A mask for each of n images in one tensor; every mask gets as many channels as the one with the most.
[[nodiscard]] repaint::host_tensor stacked(const std::vector<const repaint::host_tensor*>& parts);

/// A picture from a file, or for "-" from standard input.
[[nodiscard]] repaint::picture read_picture(const std::filesystem::path& file);

/// One image as it came: a picture, or a tensor from an .npy.
struct source_image {
    std::filesystem::path file;
    std::optional<repaint::picture> pixels;
    repaint::host_tensor values; ///< (1, c, h, w), as they are in the file; empty while there are pixels
    array_units units = {};      ///< of the values
    bool has_nan = false;        ///< among the values: a hole

    [[nodiscard]] int width() const { return pixels ? pixels->width : values.shape().w; }
    [[nodiscard]] int height() const { return pixels ? pixels->height : values.shape().h; }

    /// As the network takes it, brought to the range it was trained on.
    [[nodiscard]] repaint::host_tensor tensor(int channels, const repaint::value_range& range) const;

    /// Throws std::invalid_argument when values of an .npy lie outside of their range by more than rounding. range: of the
    /// network's images.
    void check(const repaint::value_range& range) const;
};

/// Pictures, and every image of .npy files, whose values have the given range, if any.
[[nodiscard]] std::vector<source_image> read_images(const std::vector<std::filesystem::path>& files,
                                                    const std::optional<repaint::value_range>& range = std::nullopt);

/// Where the pictures of a run go.
class output {
public:
    /// out: a picture for one (- : to standard output, in the format of the input), a folder for any number, whose files are called after `stems`, STEM.png and then
    /// STEM-2.png and so on for further `samples` of it, or an .npy for all. `inputs` may not be overwritten, but for the
    /// one file that `out` names itself. Makes the folders; throws std::invalid_argument when the pictures do not fit
    /// there, repaint::error when nothing can be written there.
    output(const std::filesystem::path& out, const std::vector<std::string>& stems, int samples,
           const std::vector<std::filesystem::path>& inputs = {});

    /// Throws std::invalid_argument when a mask would be written over, even by its own name.
    void check_masks(const std::vector<std::filesystem::path>& masks) const;

    /// quality: of JPEGs, 0 as in the input. keep_alpha: also of what was filled.
    void set_options(int quality, bool keep_alpha) {
        quality_ = quality;
        keep_alpha_ = keep_alpha;
    }

    /// Throws repaint::error when the disk has no room for pictures of so many values in all.
    void check_room(double values) const;

    [[nodiscard]] bool is_array() const { return !array_.empty(); }

    /// Takes picture p; writes it unless all go into one .npy. What cannot be written is kept elsewhere (write_or_keep).
    /// values: (1, c, h, w) in the range of the network's images, which an .npy keeps.
    void add(std::size_t p, const repaint::host_tensor& values, const repaint::value_range& range);

    /// The same for one that was made from another: what is known (keep = 1) and alpha come from there, and an .npy is
    /// in the units of the one it was made from.
    void add(std::size_t p, const repaint::host_tensor& values, const repaint::value_range& range,
             const source_image& original, const repaint::host_tensor& keep);

    /// Writes what waits.
    void finish() const;

    /// What waits for the rest of its .npy.
    [[nodiscard]] std::vector<repaint::host_tensor>& finished() { return finished_; }

private:
    void write(std::size_t p, const repaint::picture& filled) const;

    std::filesystem::path array_;
    std::vector<std::filesystem::path> files_;
    std::vector<repaint::host_tensor> finished_;
    std::optional<array_units> units_; ///< of the first
    int quality_ = 0;
    bool keep_alpha_ = false;
};

} // namespace cli
