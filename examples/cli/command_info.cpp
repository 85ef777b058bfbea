#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <string>
#include <system_error>
#include <vector>

#include <repaint/backend/dry.hpp>
#include <repaint/diffusion/class_guidance.hpp>
#include <repaint/io/checkpoint.hpp>
#include <repaint/model/network_location.hpp>

#include "commands.hpp"
#include "enums.hpp"
#include "sizes.hpp"
#include "terminal.hpp"

namespace cli {

namespace {

void line(const char* name, const std::string& value) { std::printf("%-22s %s\n", name, value.c_str()); }

/// "1119.83 G"
std::string billions(std::uint64_t count) {
    const std::uint64_t hundredths = (count + 5'000'000) / 10'000'000;
    return std::to_string(hundredths / 100) + (hundredths % 100 < 10 ? ".0" : ".") + std::to_string(hundredths % 100) +
           " G";
}

std::string yes(bool b) { return b ? "true" : "false"; }

/// The lines that U-Nets and classifiers have in common.
void print_file(const repaint::model_description& about) {
    line("family", about.family);
    line("file", about.format);
    line("tensors", thousands(about.tensors));
    line("parameters", thousands(about.parameters));
    if (about.image_size > 0) {
        line("image_size", std::to_string(about.image_size));
    }
}

/// The texts with commas between them, one alone when all are the same.
std::string joined(const std::vector<std::string>& texts) {
    if (std::all_of(texts.begin(), texts.end(), [&](const auto& text) { return text == texts.front(); })) {
        return texts.front();
    }
    std::string all;
    for (const auto& text : texts) {
        all += all.empty() ? "" : ", ";
        all += text;
    }
    return all;
}

/// What there is to say of every level.
template <class F> std::string by_level(const repaint::unet_config& network, F&& text_of_level) {
    std::vector<std::string> texts;
    for (std::size_t level = 0; level < network.levels.size(); ++level) {
        texts.push_back(text_of_level(level));
    }
    return joined(texts);
}

std::string channels_by_level(const repaint::unet_config& network) {
    std::string text;
    for (const auto& level : network.levels) {
        text += text.empty() ? "" : ",";
        text += std::to_string(level.channels);
    }
    return text;
}

/// "1/2, 1/4 of the size, and the middle"
std::string attention_at(const repaint::unet_config& network) {
    std::string text;
    for (std::size_t i = 0; i < network.levels.size(); ++i) {
        const auto& level = network.levels[i];
        if (level.attention || level.attention_up) {
            text += text.empty() ? "1/" : ", 1/";
            text += std::to_string(1 << i);
            if (level.attention != level.attention_up) {
                text += level.attention ? " (on the way down)" : " (on the way up)";
            }
        }
    }
    const bool middle = network.middle && network.middle_attention;
    if (text.empty()) {
        return middle ? "the middle only" : "none";
    }
    text += " of the size";
    return middle ? text + ", and the middle" : text;
}

/// "4", or "of 8 channels"; a width for each level with attention where they differ.
std::string heads_of(const repaint::unet_config& network) {
    std::vector<std::string> widths;
    for (std::size_t i = 0; i < network.levels.size(); ++i) {
        const auto& level = network.levels[i];
        const bool middle = network.middle && network.middle_attention && i + 1 == network.levels.size();
        if (level.heads && (level.attention || level.attention_up || middle)) {
            widths.push_back(std::to_string(level.heads->channels));
        }
    }
    if (!widths.empty()) {
        return "of " + joined(widths) + " channels";
    }
    return network.head_channels > 0 ? "of " + std::to_string(network.head_channels) + " channels"
                                     : std::to_string(network.heads);
}

void print_cost(const repaint::shape4& size, const repaint::dry_backend& dry, std::uint64_t multiply_adds,
                const std::string& per) {
    line(("at " + std::to_string(size.w) + "x" + std::to_string(size.h)).c_str(),
         bytes_text(static_cast<double>(dry.peak_bytes())) + " of activations at the peak, " + billions(multiply_adds) +
             " multiply-adds per " + per);
}

void print_notes(const repaint::model_description& about) {
    for (const auto& remark : about.remarks) {
        line("note", remark);
    }
}

void print_classifier(const repaint::opened_classifier& opened, const std::string& text) {
    const auto& about = opened.description;
    const auto& body = opened.network.body;
    repaint::dry_backend dry;
    const auto classifier = repaint::load_classifier(dry, opened);
    const auto size = model_size(text, body, about);
    repaint::check_image_shape(opened.network, size);
    const repaint::diffusion_process process{repaint::noise_schedule::linear()};
    const repaint::class_guidance<repaint::dry_backend> guide(classifier, process, {0}, 1.0F);
    const auto x = dry.allocate(size);
    const auto embedding = classifier.embed(dry, 0.0F);
    const auto before = dry.multiply_adds();
    const auto gradient = guide.gradient(dry, x, embedding);
    print_file(about);
    line("image channels", std::to_string(body.in_channels));
    line("classifier_width", std::to_string(body.model_channels));
    line("channels by level", channels_by_level(body));
    line("classifier_depth", std::to_string(body.res_blocks));
    line("attention at", attention_at(body));
    line("heads", "of " + std::to_string(body.head_channels) + " channels");
    line("scale-shift norm", yes(body.scale_shift_norm));
    line("resblock_updown", yes(body.resblock_updown));
    line("classes", std::to_string(opened.network.classes));
    const std::string side = std::to_string(opened.network.image_size);
    line("image sizes",
         opened.network.image_size > 0 ? side + "x" + side : "multiples of " + std::to_string(body.size_multiple()));
    line("weights", bytes_text(static_cast<double>(about.parameters) * 4.0) + " as float32");
    print_cost(size, dry, dry.multiply_adds() - before, "gradient");
    print_notes(about);
    line("use", "guides another model: repaint inpaint MODEL --classifier FILE --label CLASS ...");
}

void print_unet(const repaint::opened_model& opened, const std::string& text) {
    const auto& about = opened.description;
    const auto& network = opened.network;
    repaint::dry_backend dry;
    const auto model = repaint::load_model(dry, opened);
    const auto size = model_size(text, network, about);
    repaint::check_image_shape(network, size);
    const auto x = dry.allocate(size);
    const std::vector<int> labels(network.classes > 0 ? 1 : 0, 0);
    const auto embedding = model.network.embed(dry, 0.0F, labels);
    const auto before = dry.multiply_adds();
    const auto prediction = model.network(dry, x, embedding);
    print_file(about);
    line("image channels",
         std::to_string(network.in_channels) + " in, " + std::to_string(network.out_channels) + " out");
    line("num_channels", std::to_string(network.model_channels));
    line("channels by level", channels_by_level(network));
    line("num_res_blocks",
         by_level(network, [&](std::size_t level) { return std::to_string(network.blocks_at(level)); }));
    line("attention at", attention_at(network));
    line("heads", heads_of(network));
    line("new attention order", yes(network.order == repaint::qkv_order::grouped));
    line("scale-shift norm", yes(network.scale_shift_norm));
    line("resblock_updown", by_level(network, [&](std::size_t level) {
             const std::size_t last = network.levels.size() - 1; // which nothing halves
             return yes(network.residual_down_at(last == 0 ? 0 : std::min(level, last - 1)));
         }));
    line("classes", network.classes > 0 ? std::to_string(network.classes) : "none");
    line("prediction", to_string(opened.diffusion.reading.prediction));
    line("variance", to_string(opened.diffusion.reading.variance));
    line("noise schedule", about.schedule);
    line("image sizes", "multiples of " + std::to_string(network.size_multiple()));
    line("weights", bytes_text(static_cast<double>(about.parameters) * 4.0) + " as float32");
    print_cost(size, dry, dry.multiply_adds() - before, "evaluation");
    print_notes(about);
}

} // namespace

void print_info(const info_command& command) {
    const auto files = command.model.files();
    std::error_code none;
    if (std::filesystem::is_regular_file(files.weights, none) &&
        repaint::is_guided_classifier(repaint::locate_network(repaint::read_checkpoint(files.weights), files.entry))) {
        print_classifier(repaint::open_classifier(files), command.size);
    } else {
        print_unet(open(files), command.size);
    }
}

} // namespace cli
