#include <cstdint>
#include <cstdio>
#include <string>

#include <repaint/backend/dry.hpp>

#include "commands.hpp"
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

const char* text(repaint::prediction_type p) {
    switch (p) {
    case repaint::prediction_type::epsilon: return "epsilon";
    case repaint::prediction_type::x_0: return "x_0";
    case repaint::prediction_type::previous_x: return "previous_x";
    }
    return "";
}

const char* text(repaint::variance_type v) {
    switch (v) {
    case repaint::variance_type::learned_range: return "learned_range";
    case repaint::variance_type::learned: return "learned";
    case repaint::variance_type::fixed_small: return "fixed_small";
    case repaint::variance_type::fixed_large: return "fixed_large";
    }
    return "";
}

} // namespace

void print_info(const info_command& command) {
    const auto opened = open(command.model.files());
    const auto& about = opened.description;
    const auto& network = opened.network;

    repaint::dry_backend dry;
    const auto model = repaint::load_model(dry, opened);
    const auto size = model_size(command.size, network, about);
    repaint::check_image_shape(network, size);
    {
        const auto x = dry.allocate(size);
        const std::vector<int> labels(network.classes > 0 ? 1 : 0, 0);
        const auto embedding = model.network.embed(dry, 0.0F, labels);
        const auto before = dry.multiply_adds();
        const auto prediction = model.network(dry, x, embedding);
        line("family", about.family);
        line("file", about.format);
        line("tensors", thousands(about.tensors));
        line("parameters", thousands(about.parameters));
        std::string channels;
        std::string attention;
        for (std::size_t level = 0; level < network.levels.size(); ++level) {
            channels += (level == 0 ? "" : ",") + std::to_string(network.levels[level].channels);
            if (network.levels[level].attention) {
                attention += (attention.empty() ? "1/" : ", 1/") + std::to_string(1 << level);
            }
        }
        if (about.image_size > 0) {
            line("image_size", std::to_string(about.image_size));
        }
        line("image channels",
             std::to_string(network.in_channels) + " in, " + std::to_string(network.out_channels) + " out");
        line("num_channels", std::to_string(network.model_channels));
        line("channels by level", channels);
        line("num_res_blocks", std::to_string(network.res_blocks));
        line("attention at", attention.empty() ? "the middle only" : attention + " of the size, and the middle");
        line("heads", network.head_channels > 0 ? "of " + std::to_string(network.head_channels) + " channels"
                                                : std::to_string(network.heads));
        line("new attention order", yes(network.order == repaint::qkv_order::grouped));
        line("scale-shift norm", yes(network.scale_shift_norm));
        line("resblock_updown", yes(network.resblock_updown));
        line("classes", network.classes > 0 ? std::to_string(network.classes) : "none");
        line("prediction", text(opened.diffusion.prediction));
        line("variance", text(opened.diffusion.variance));
        line("noise schedule", about.schedule);
        line("image sizes", "multiples of " + std::to_string(network.size_multiple()));
        line("weights", bytes_text(static_cast<double>(about.parameters) * 4.0) + " as float32");
        line(("at " + std::to_string(size.w) + "x" + std::to_string(size.h)).c_str(),
             bytes_text(static_cast<double>(dry.peak_bytes())) + " of activations at the peak, " +
                 billions(dry.multiply_adds() - before) + " multiply-adds per evaluation");
    }
    for (const auto& remark : about.remarks) {
        line("note", remark);
    }
}

} // namespace cli
