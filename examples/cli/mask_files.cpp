#include "mask_files.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <stdexcept>
#include <utility>

#include <repaint/core/text.hpp>
#include <repaint/diffusion/sampling_run.hpp>
#include <repaint/image/codecs.hpp>
#include <repaint/image/mask_reading.hpp>
#include <repaint/image/mask_shaping.hpp>
#include <repaint/io/npy.hpp>

#include "batch_run.hpp"

namespace cli {

namespace {

using repaint::host_tensor;
using repaint::mask_polarity;

/// What a word after --keep or --paint means.
struct mask_word {
    enum class kind { file, alpha, colour };
    kind what = kind::file;
    std::array<std::uint8_t, 3> colour{};
    std::string file; ///< empty: the picture itself
};

mask_word parse(const std::string& word) {
    mask_word result;
    const std::string_view alpha = "alpha";
    if (word == alpha || word.starts_with("alpha:")) {
        result.what = mask_word::kind::alpha;
        result.file = word == alpha ? "" : word.substr(alpha.size() + 1);
        return result;
    }
    const bool colour = word.size() >= 7 && word[0] == '#' &&
                        word.find_first_not_of("0123456789abcdefABCDEF", 1) >= 7 &&
                        (word.size() == 7 || word[7] == ':');
    if (colour) {
        result.what = mask_word::kind::colour;
        for (std::size_t i = 0; i < 3; ++i) {
            result.colour[i] = static_cast<std::uint8_t>(std::stoi(word.substr(1 + 2 * i, 2), nullptr, 16));
        }
        result.file = word.size() == 7 ? "" : word.substr(8);
        return result;
    }
    if (word.starts_with('#') && !std::filesystem::exists(word)) {
        throw std::invalid_argument(word + " is neither a file nor a colour, which is written #rrggbb");
    }
    result.file = word;
    return result;
}

/// Calls f, and puts the name before what it throws.
template <class F> auto named(const std::string& name, F&& f) {
    try {
        return f();
    } catch (const repaint::shape_error& wrong) {
        throw repaint::shape_error(name + ": " + wrong.what());
    } catch (const repaint::format_error& wrong) {
        const std::string what = wrong.what();
        throw repaint::format_error(what.starts_with(name) ? what : name + ": " + what);
    } catch (const std::invalid_argument& wrong) {
        throw std::invalid_argument(name + ": " + wrong.what());
    }
}

class mask_reader {
public:
    mask_reader(const mask_options& options, const std::vector<source_image>& images, bool hard, bool quiet)
        : options_(options), images_(images), hard_(hard), quiet_(quiet),
          polarity_(options.keep.empty() ? mask_polarity::paint : mask_polarity::keep) {}

    std::vector<source_mask> read() {
        for (const auto& word : options_.given()) {
            read(word);
        }
        const bool holes = std::any_of(images_.begin(), images_.end(), [](const auto& i) { return i.has_nan; });
        if (masks_.empty() && !holes) {
            throw std::invalid_argument(
                images_.front().file.string() +
                " has no NaN, so it takes a mask: --keep (white = known) or --paint (white = fill)");
        }
        if (holes) {
            add_holes();
        }
        for (auto& mask : masks_) {
            shape(mask);
        }
        return std::move(masks_);
    }

private:
    void read(const std::string& word) {
        const mask_word meant = parse(word);
        if (meant.what != mask_word::kind::file && meant.file.empty()) {
            for (const auto& image : images_) {
                if (!image.pixels) {
                    throw std::invalid_argument(
                        image.file.string() +
                        " is an array, which has neither alpha nor colours: " + "give a file as the mask");
                }
                add(image.file.string(), meant, *image.pixels);
            }
            return;
        }
        const std::filesystem::path file = meant.file;
        if (meant.what == mask_word::kind::file && lower_extension(file) == ".npy") {
            add_array(file);
            return;
        }
        add(file.string(), meant, read_picture(file));
    }

    void add(const std::string& name, const mask_word& meant, const repaint::picture& p) {
        switch (meant.what) {
        case mask_word::kind::alpha:
            // Transparent is what --paint fills, opaque what --keep... does not: alpha shows what is there.
            masks_.push_back({name, named(name, [&] {
                                  return repaint::alpha_mask(p, options_.keep.empty() ? mask_polarity::keep
                                                                                      : mask_polarity::paint);
                              })});
            return;
        case mask_word::kind::colour: {
            host_tensor keep = named(name, [&] { return repaint::colour_mask(p, meant.colour, options_.tolerance); });
            if (!options_.keep.empty()) {
                for (float& value : keep.values()) {
                    value = 1.0F - value;
                }
            }
            masks_.push_back({name, std::move(keep)});
            return;
        }
        default: break;
        }
        for (const auto& image : images_) {
            if (image.pixels && *image.pixels == p) {
                throw std::invalid_argument(name + ": is the picture itself, not a mask of it");
            }
        }
        auto understood = named(name, [&] {
            if (options_.threshold) {
                return repaint::understood_mask{brightness(p), {}};
            }
            return repaint::understand_mask(p, polarity_);
        });
        tell(name, understood.notes);
        if (hard_) {
            understood.keep = repaint::thresholded(std::move(understood.keep), 0.5F);
        }
        masks_.push_back({name, std::move(understood.keep)});
    }

    /// The bytes as they are, for a threshold: the brightest channel.
    [[nodiscard]] host_tensor brightness(const repaint::picture& p) const {
        host_tensor keep = repaint::keep_mask(p, polarity_);
        const auto s = keep.shape();
        if (s.c == 1) {
            return keep;
        }
        host_tensor one({1, 1, s.h, s.w});
        const std::size_t plane = s.plane();
        for (std::size_t i = 0; i < plane; ++i) {
            const auto values = {keep.values()[i], keep.values()[plane + i], keep.values()[2 * plane + i]};
            one.values()[i] = polarity_ == mask_polarity::keep ? std::max(values) : std::min(values);
        }
        return one;
    }

    void add_array(const std::filesystem::path& file) {
        const std::string name = file.string();
        const host_tensor all = read_array(file);
        auto understood = named(name, [&] {
            if (options_.threshold) {
                host_tensor values = all;
                if (polarity_ == mask_polarity::paint) {
                    for (float& value : values.values()) {
                        value = 1.0F - value;
                    }
                }
                return repaint::understood_mask{std::move(values), {}};
            }
            return repaint::understand_mask(all, polarity_);
        });
        tell(name, understood.notes);
        for (int i = 0; i < all.shape().n; ++i) {
            masks_.push_back({name, repaint::image_copy(understood.keep, i)});
        }
    }

    void add_holes() {
        std::vector<source_mask> each;
        for (std::size_t i = 0; i < images_.size(); ++i) {
            const auto& image = images_[i];
            host_tensor keep =
                image.has_nan ? repaint::nan_mask(image.values) : host_tensor({1, 1, image.height(), image.width()});
            if (!image.has_nan) {
                std::fill(keep.values().begin(), keep.values().end(), 1.0F);
            }
            std::string name = image.file.string();
            if (!masks_.empty()) {
                const auto& given = masks_[masks_.size() == 1 ? 0 : i];
                check_mask_fits(given, image);
                name = given.name;
                host_tensor both = given.keep;
                const std::size_t plane = keep.size();
                for (std::size_t at = 0; at < both.size(); ++at) {
                    both.values()[at] = std::min(both.values()[at], keep.values()[at % plane]);
                }
                keep = std::move(both);
                if (image.has_nan) {
                    tell(image.file.string(), {"its NaN are filled as well"});
                }
            }
            each.push_back({std::move(name), std::move(keep)});
        }
        masks_ = std::move(each);
    }

    void shape(source_mask& mask) const {
        if (options_.threshold) {
            mask.keep = repaint::thresholded(std::move(mask.keep), *options_.threshold);
        }
        mask.keep = repaint::feathered(repaint::grown(std::move(mask.keep), options_.grow), options_.feather);
        const auto values = std::as_const(mask.keep).values();
        if (std::all_of(values.begin(), values.end(), [](float v) { return v == 1.0F; })) {
            throw std::invalid_argument(mask.name + ": leaves nothing to fill" +
                                        (options_.any() ? std::string(": are --keep and --paint mixed up?") : ""));
        }
    }

    void tell(const std::string& name, const std::vector<std::string>& notes) const {
        for (const auto& note : notes) {
            if (!quiet_) {
                std::fprintf(stderr, "note: %s: %s\n", name.c_str(), note.c_str());
            }
        }
    }

    const mask_options& options_;
    const std::vector<source_image>& images_;
    bool hard_;
    bool quiet_;
    mask_polarity polarity_;
    std::vector<source_mask> masks_;
};

} // namespace

std::vector<source_mask> read_masks(const mask_options& options, const std::vector<source_image>& images, bool hard,
                                    bool quiet) {
    return mask_reader(options, images, hard, quiet).read();
}

host_tensor read_keep_mask(const std::filesystem::path& file, bool weights) {
    const std::string name = file.string();
    auto understood =
        named(name, [&] { return repaint::understand_mask(read_picture(file), mask_polarity::keep, weights); });
    for (const auto& note : understood.notes) {
        std::fprintf(stderr, "note: %s: %s\n", name.c_str(), note.c_str());
    }
    return std::move(understood.keep);
}

void check_mask_fits(const source_mask& mask, const source_image& image) {
    const auto k = mask.keep.shape();
    if (k.w == image.width() && k.h == image.height()) {
        return;
    }
    const auto size = [](int w, int h) { return std::to_string(w) + "x" + std::to_string(h); };
    const bool turned = k.w == image.height() && k.h == image.width();
    throw std::invalid_argument(mask.name + ": the mask is " + size(k.w, k.h) + ", the picture " + image.file.string() +
                                " is " + size(image.width(), image.height()) +
                                (turned ? ": they must have the same size; pictures are shown upright, as their EXIF "
                                          "orientation says, and so must be the mask"
                                        : ": they must have the same size"));
}

} // namespace cli
