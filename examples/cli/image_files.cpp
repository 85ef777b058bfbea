#include "image_files.hpp"

#include <algorithm>
#include <set>
#include <stdexcept>
#include <utility>

#include <repaint/core/text.hpp>
#include <repaint/image/codecs.hpp>
#include <repaint/io/npy.hpp>

namespace cli {

namespace {

namespace fs = std::filesystem;
using repaint::host_tensor;
using repaint::shape4;
using repaint::value_range;

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

std::string lower_extension(const fs::path& path) { return repaint::lower_case(path.extension()); }

bool is_picture_name(const fs::path& path) {
    const std::string extension = lower_extension(path);
    return extension == ".png" || extension == ".jpg" || extension == ".jpeg";
}

host_tensor read_array(const fs::path& file) {
    host_tensor array = repaint::read_npy(file);
    if (array.empty()) {
        throw repaint::format_error(repaint::shown(file) + ": there is no image in an array of shape " +
                                    to_string(array.shape()));
    }
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
    return pixels ? repaint::rescaled(repaint::to_tensor(*pixels, channels), {}, range) : values;
}

std::vector<source_image> read_images(const std::vector<fs::path>& files) {
    std::vector<source_image> images;
    for (const auto& file : files) {
        if (lower_extension(file) == ".npy") {
            const host_tensor all = read_array(file);
            for (int i = 0; i < all.shape().n; ++i) {
                images.push_back({file, std::nullopt, repaint::image_copy(all, i)});
            }
        } else {
            images.push_back({file, repaint::read_picture(file), {}});
        }
    }
    return images;
}

output::output(const fs::path& out, const std::vector<std::string>& stems, int samples) {
    const std::size_t count = stems.size() * static_cast<std::size_t>(samples);
    const std::string extension = lower_extension(out);
    if (extension == ".npy") {
        array_ = out;
    } else if (fs::is_directory(out) || (count > 1 && !is_picture_name(out)) ||
               (count == 1 && extension.empty() && !out.has_filename())) {
        fs::create_directories(out);
        std::set<fs::path> used;
        for (const auto& stem : stems) {
            for (int sample = 1; sample <= samples; ++sample) {
                files_.push_back(unused(used, out, stem, sample));
            }
        }
    } else if (count > 1) {
        throw std::invalid_argument("-o " + out.string() + " is one file, but " + std::to_string(count) +
                                    " pictures are made: give a folder, or an .npy for all of them");
    } else if (is_picture_name(out)) {
        files_.push_back(out);
    } else {
        throw std::invalid_argument("-o " + out.string() + " must end in .png, .jpg or .npy, or be a folder");
    }
    const fs::path folder = fs::absolute(out).parent_path();
    if (!fs::is_directory(folder)) {
        throw std::invalid_argument("-o " + out.string() + ": there is no folder " + folder.string());
    }
}

void output::add(std::size_t p, const host_tensor& values, const value_range& range) {
    if (is_array()) {
        finished_.push_back(values);
    } else {
        repaint::write_picture(files_[p], repaint::to_picture(repaint::rescaled(values, range, {})));
    }
}

void output::add(std::size_t p, const host_tensor& values, const value_range& range, const repaint::picture& original,
                 const host_tensor& keep) {
    if (is_array()) {
        finished_.push_back(values);
    } else {
        repaint::write_picture(files_[p],
                               repaint::compose_picture(original, repaint::rescaled(values, range, {}), 0, keep));
    }
}

void output::finish() const {
    if (!is_array()) {
        return;
    }
    repaint::write_npy(array_, repaint::joined(finished_));
}

} // namespace cli
