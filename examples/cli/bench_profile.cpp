#include "bench_profile.hpp"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdio>
#include <string_view>

namespace cli {

namespace {

using repaint::cpu_layer_time;
using repaint::cpu_primitive;
using repaint::shape4;

/// Multiply-adds of a convolution as a plain sum.
double direct_products(const repaint::cpu_call& call) {
    const shape4& w = call.weights;
    return static_cast<double>(call.output.size()) * w.c * w.h * w.w;
}

std::string_view group_of(const repaint::cpu_call& call) {
    switch (call.primitive) {
    case cpu_primitive::conv2d: break;
    case cpu_primitive::group_norm: return "norm";
    case cpu_primitive::attention: return "attention";
    case cpu_primitive::resize: return "resize";
    case cpu_primitive::gradient: return "gradients";
    default: return "other";
    }
    const shape4& w = call.weights;
    if (call.output.h != call.input.h || call.output.w != call.input.w) {
        return "strided";
    }
    if (w.h == 1 && w.w == 1) {
        return "1x1";
    }
    return std::min(w.n, w.c) < 16 ? "first, last" : "3x3";
}

struct group {
    std::string_view name;
    double seconds = 0.0;
    double products = 0.0; ///< as plain sums
    std::array<double, repaint::cpu_works> work{};
};

std::vector<group> groups_of(const std::vector<cpu_layer_time>& layers) {
    std::vector<group> groups;
    for (const auto& layer : layers) {
        const auto name = group_of(layer.call);
        auto found = std::find_if(groups.begin(), groups.end(), [&](const group& g) { return g.name == name; });
        if (found == groups.end()) {
            found = groups.insert(found, group{name});
        }
        found->seconds += layer.seconds;
        if (layer.call.primitive == cpu_primitive::conv2d) {
            found->products += direct_products(layer.call) * static_cast<double>(layer.calls);
        }
        for (std::size_t i = 0; i < repaint::cpu_works; ++i) {
            found->work[i] += layer.work[i];
        }
    }
    std::sort(groups.begin(), groups.end(), [](const group& a, const group& b) { return a.seconds > b.seconds; });
    return groups;
}

double total(const std::vector<cpu_layer_time>& layers) {
    double seconds = 0.0;
    for (const auto& layer : layers) {
        seconds += layer.seconds;
    }
    return seconds;
}

template <class... Values> std::string printed(const char* format, Values... values) {
    std::array<char, 256> text{};
    std::snprintf(text.data(), text.size(), format, values...);
    return text.data();
}

std::string shape_json(const shape4& s) { return printed("[%d, %d, %d, %d]", s.n, s.c, s.h, s.w); }

/// The kinds of work that there were, as parts of `all` seconds.
std::string work_json(const std::array<double, repaint::cpu_works>& work, double all) {
    std::string text;
    for (std::size_t i = 0; i < work.size(); ++i) {
        if (work[i] > 0.0) {
            text += text.empty() ? "" : ", ";
            text += printed("\"%s\": %.4f", std::string(to_string(static_cast<repaint::cpu_work>(i))).c_str(),
                            work[i] / all);
        }
    }
    return ", \"work\": {" + text + "}";
}

} // namespace

std::string profile_json(const std::vector<cpu_layer_time>& layers, int runs, int threads) {
    const double seconds = total(layers);
    std::string text = "{\"groups\": [";
    for (const auto& g : groups_of(layers)) {
        text += text.back() == '[' ? "" : ", ";
        text += "{\"layers\": \"" + std::string(g.name) + "\"" +
                printed(", \"ms\": %.3f, \"share\": %.4f", 1000.0 * g.seconds / runs, g.seconds / seconds);
        if (g.products > 0.0) {
            text += printed(", \"gflops\": %.1f", 2e-9 * g.products / g.seconds);
        }
        text += work_json(g.work, threads * seconds) + "}";
    }
    text += "], \"layers\": [";
    for (const auto& layer : layers) {
        text += text.back() == '[' ? "" : ", ";
        text += "{\"layers\": \"" + std::string(group_of(layer.call)) +
                "\", \"input\": " + shape_json(layer.call.input) + ", \"output\": " + shape_json(layer.call.output);
        if (layer.call.primitive == cpu_primitive::conv2d) {
            text += ", \"weights\": " + shape_json(layer.call.weights);
        }
        text += printed(", \"calls\": %.0f, \"ms\": %.3f", static_cast<double>(layer.calls) / runs,
                        1000.0 * layer.seconds / runs);
        if (layer.multiply_adds > 0.0) {
            text += printed(", \"multiply_adds\": %.0f", layer.multiply_adds / runs);
        }
        text += work_json(layer.work, threads * layer.seconds) + "}";
    }
    return text + "]}";
}

std::string profile_table(const std::vector<cpu_layer_time>& layers, int runs, int threads) {
    const double seconds = total(layers);
    std::string text =
        printed("%-12s %9s %6s %8s  %s\n", "layers", "ms", "share", "GFLOP/s", "of all threads' time: kinds of work");
    for (const auto& g : groups_of(layers)) {
        text += printed("%-12s %9.2f %5.1f%% ", std::string(g.name).c_str(), 1000.0 * g.seconds / runs,
                        100.0 * g.seconds / seconds);
        text += g.products > 0.0 ? printed("%8.0f ", 2e-9 * g.products / g.seconds) : printed("%8s ", "");
        double rest = threads * g.seconds;
        for (std::size_t i = 0; i < g.work.size(); ++i) {
            const double share = g.work[i] / (threads * seconds);
            rest -= g.work[i];
            if (share >= 0.0005) {
                text += printed(" %s %.1f%%", std::string(to_string(static_cast<repaint::cpu_work>(i))).c_str(),
                                100.0 * share);
            }
        }
        text += printed(" rest %.1f%%\n", 100.0 * std::max(0.0, rest) / (threads * seconds));
    }
    return text;
}

} // namespace cli
