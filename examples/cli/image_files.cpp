#include "image_files.hpp"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <limits>
#include <set>
#include <stdexcept>
#include <utility>

#include <repaint/core/text.hpp>
#include <repaint/image/codecs.hpp>
#include <repaint/io/npy.hpp>

#include "outputs.hpp"

namespace cli {

namespace {

namespace fs = std::filesystem;
using repaint::host_tensor;
using repaint::shape4;
using repaint::value_range;

bool to_stdout(const fs::path& out) { return out == "-" || out == "/dev/stdout"; }

/// stem.png, or stem-2.png, stem-3.png and so on from `number` up, whichever is not taken.
fs::path unused(std::set<fs::path>& used, const fs::path& folder, const std::string& stem, int number) {
    for (;; ++number) {
        std::string name = stem;
        if (number > 1) {
            name += '-';
            name += std::to_string(number);
        }
        const fs::path file = folder / (name + ".png");
        if (used.insert(file).second) {
            return file;
        }
    }
}

} // namespace

repaint::picture read_picture(const fs::path& file) {
    if (lower_extension(file) == ".npz") {
        throw repaint::format_error(repaint::shown(file) +
                                    ": is an archive of arrays, expected is one of them: numpy.save "
                                    "writes an .npy");
    }
    return repaint::read_picture(file == "-" ? "/dev/stdin" : file);
}

std::string lower_extension(const fs::path& path) { return repaint::lower_case(path.extension()); }

bool is_picture_name(const fs::path& path) {
    const std::string extension = lower_extension(path);
    return extension == ".png" || extension == ".jpg" || extension == ".jpeg";
}

namespace {

void check_array(const fs::path& file, const host_tensor& array) {
    const shape4& s = array.shape();
    if (array.empty()) {
        throw repaint::format_error(repaint::shown(file) + ": there is no image in an array of shape " + to_string(s));
    }
    if ((s.w == 1 || s.w == 3 || s.w == 4) && s.c > 8 && s.h > 8) {
        throw repaint::format_error(repaint::shown(file) + ": its shape " + to_string(s) +
                                    " looks like rows, columns and channels, expected are channels, rows and columns: "
                                    "transpose it, array.transpose(2, 0, 1)");
    }
}

} // namespace

host_tensor read_array(const fs::path& file) {
    host_tensor array = repaint::read_npy(file);
    check_array(file, array);
    return array;
}

host_tensor stacked(const std::vector<const host_tensor*>& parts) {
    if (std::all_of(parts.begin(), parts.end(), [&](const host_tensor* p) { return p == parts.front(); })) {
        return *parts.front();
    }
    shape4 s = parts.front()->shape();
    for (const auto* part : parts) {
        s.c = std::max(s.c, part->shape().c);
    }
    host_tensor result({static_cast<int>(parts.size()), s.c, s.h, s.w});
    for (std::size_t i = 0; i < parts.size(); ++i) {
        auto to = result.image(static_cast<int>(i));
        const auto from = parts[i]->values();
        for (std::size_t at = 0; at < to.size(); ++at) {
            to[at] = from[at % from.size()];
        }
    }
    return result;
}

host_tensor source_image::tensor(int channels, const value_range& range) const {
    if (pixels) {
        return repaint::rescaled(repaint::to_tensor(*pixels, channels), {}, range);
    }
    const value_range own = units.range.value_or(range);
    host_tensor filled = values;
    for (float& value : filled.values()) {
        if (std::isnan(value)) {
            value = 0.5F * (own.low + own.high); // a hole
        }
    }
    return repaint::rescaled(std::move(filled), own, range);
}

void source_image::check(const value_range& range) const {
    const value_range own = units.range.value_or(range);
    float least = std::numeric_limits<float>::infinity();
    float most = -least;
    for (const float value : values.values()) {
        if (!std::isnan(value)) {
            least = std::min(least, value);
            most = std::max(most, value);
        }
    }
    const float rounding = 1e-3F * (own.high - own.low);
    if (least < own.low - rounding || most > own.high + rounding) {
        const auto text = [](float v) { return repaint::shortest_text(static_cast<double>(v)); };
        throw std::invalid_argument(file.string() + ": holds values from " + text(least) + " to " + text(most) +
                                    ", expected " + text(own.low) + " to " + text(own.high) +
                                    ": give what black and white are, as --range " + text(least) + " " + text(most));
    }
}

namespace {

/// What the values of an array mean. Integers of one or two bytes are those of pictures.
array_units units_of(const repaint::npy_array& array, const std::optional<value_range>& range) {
    switch (array.type) {
    case repaint::dtype::u8: return {range.value_or(value_range{0.0F, 255.0F}), array.type};
    case repaint::dtype::u16: return {range.value_or(value_range{0.0F, 65535.0F}), array.type};
    default: return {range, repaint::dtype::f32};
    }
}

} // namespace

std::vector<source_image> read_images(const std::vector<fs::path>& files, const std::optional<value_range>& range) {
    std::vector<source_image> images;
    for (const auto& file : files) {
        if (lower_extension(file) == ".npy") {
            const repaint::npy_array all = repaint::read_npy_array(repaint::mapped_file(file));
            check_array(file, all.values);
            for (int i = 0; i < all.values.shape().n; ++i) {
                host_tensor values = repaint::image_copy(all.values, i);
                const auto some = std::as_const(values).values();
                if (std::any_of(some.begin(), some.end(), [](float v) { return std::isinf(v); })) {
                    throw repaint::format_error(repaint::shown(file) + ": holds infinity");
                }
                const bool holes = std::any_of(some.begin(), some.end(), [](float v) { return std::isnan(v); });
                images.push_back({file, std::nullopt, std::move(values), units_of(all, range), holes});
            }
        } else {
            images.push_back({file, read_picture(file), {}});
        }
    }
    return images;
}

output::output(const fs::path& out, const std::vector<std::string>& stems, int samples,
               const std::vector<fs::path>& inputs) {
    const std::size_t count = stems.size() * static_cast<std::size_t>(samples);
    const std::string extension = lower_extension(out);
    if (extension == ".npy") {
        array_ = out;
    } else if (fs::is_directory(out) || (count > 1 && !is_picture_name(out)) ||
               (count == 1 && extension.empty() && !out.has_filename())) {
        std::error_code refused;
        fs::create_directories(out, refused);
        if (refused) {
            throw repaint::error(out.string() + ": the folder cannot be made: " + refused.message());
        }
        std::set<fs::path> used;
        for (const auto& stem : stems) {
            for (int sample = 1; sample <= samples; ++sample) {
                files_.push_back(unused(used, out, stem, sample));
                fs::create_directories(files_.back().parent_path(), refused);
            }
        }
        check_no_input(files_, inputs);
    } else if (count > 1) {
        throw std::invalid_argument("-o " + out.string() + " is one file, but " + std::to_string(count) +
                                    " pictures are made: give a folder, or an .npy for all of them");
    } else if (is_picture_name(out) || to_stdout(out)) {
        files_.push_back(out);
    } else {
        throw std::invalid_argument("-o " + out.string() + " must end in .png, .jpg or .npy, or be a folder");
    }
    if (is_array()) {
        check_writable(array_);
        return;
    }
    std::set<fs::path> folders;
    for (const auto& file : files_) {
        std::error_code none;
        if (!to_stdout(file) && (folders.insert(file.parent_path()).second || fs::is_directory(file, none))) {
            check_writable(file);
        }
    }
}

void output::check_masks(const std::vector<fs::path>& masks) const {
    check_no_input(is_array() ? std::vector<fs::path>{array_} : files_, masks);
}

void output::check_room(double values) const {
    // A PNG of a photograph takes more than half of its bytes, one of a drawing much less.
    if (is_array() || !to_stdout(files_.front())) {
        check_writable(is_array() ? array_ : files_.front(), is_array() ? 4.0 * values : 0.2 * values);
    }
}

void output::add(std::size_t p, const host_tensor& values, const value_range& range) {
    if (is_array()) {
        finished_.push_back(values);
    } else {
        write(p, repaint::to_picture(repaint::rescaled(values, range, {})));
    }
}

void output::add(std::size_t p, const host_tensor& values, const value_range& range, const source_image& original,
                 const host_tensor& keep) {
    if (is_array()) {
        const array_units units = original.pixels ? array_units{} : original.units;
        if (!units_) {
            units_ = units;
        } else if (*units_ != units) {
            throw std::invalid_argument("-o " + array_.string() +
                                        " holds one kind of values, but the images have several: give a folder");
        }
        host_tensor own = repaint::rescaled(values, range, units.range.value_or(range));
        if (!original.pixels) { // what is known stays what it is, to the bit
            const std::size_t masked = keep.size();
            for (std::size_t i = 0; i < own.size(); ++i) {
                if (keep.values()[i % masked] == 1.0F) {
                    own.values()[i] = original.values.values()[i];
                }
            }
        }
        finished_.push_back(std::move(own));
    } else if (original.pixels) {
        write(p,
              repaint::compose_picture(*original.pixels, repaint::rescaled(values, range, {}), 0, keep, keep_alpha_));
    } else {
        add(p, values, range);
    }
}

void output::finish() const {
    if (!is_array()) {
        return;
    }
    const host_tensor all = repaint::joined(finished_);
    write_or_keep(array_, [&](const fs::path& file) {
        repaint::write_npy(file, all, units_ ? units_->type : repaint::dtype::f32);
    });
}

void output::write(std::size_t p, const repaint::picture& filled) const {
    if (to_stdout(files_[p])) {
        const bool jpeg = filled.metadata != nullptr && filled.metadata->format == repaint::file_format::jpeg;
        const auto bytes = jpeg ? repaint::encode_jpeg(filled, quality_) : repaint::encode_png(filled);
        if (std::fwrite(bytes.data(), 1, bytes.size(), stdout) != bytes.size() || std::fflush(stdout) != 0) {
            throw repaint::error("standard output cannot be written");
        }
        return;
    }
    write_or_keep(files_[p], [&](const fs::path& file) { repaint::write_picture(file, filled, quality_); });
}

} // namespace cli
