#include <array>
#include <cstdio>
#include <filesystem>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

#include "engine.hpp"
#include "engine_cpu.hpp"
#if defined(REPAINT_HAS_CUDA)
#include "engine_cuda.hpp"
#endif
#include "engine_reference.hpp"
#include "terminal.hpp"

namespace cli {

namespace {

bool always() { return true; }

/// Throws std::invalid_argument when an option was given that the backend does not have.
void check_options(std::string_view backend, const engine_options& options) {
    if (options.profile && backend != "cpu") {
        throw std::invalid_argument("the backend " + std::string(backend) + " has no --profile, only cpu has it");
    }
    if (backend == "cuda") {
        return;
    }
    for (const auto& [name, given] :
         {std::pair{"--precision", !options.precision.empty()}, std::pair{"--device", options.device.has_value()},
          std::pair{"--plans", !options.plans.empty()}, std::pair{"--tune", options.tune}}) {
        if (given) {
            throw std::invalid_argument("the backend " + std::string(backend) + " has no " + name +
                                        ", only cuda has it");
        }
    }
}

/// Adds the classifier to a model that it can guide, and what there is to know about it to the model's remarks.
void open_guidance(opened_source& opened, const guidance_source& from) {
    auto& model = std::get<repaint::opened_model>(opened.model);
    const auto& classifier =
        opened.classifier.emplace(repaint::open_classifier(from.files, model.description.image_size));
    repaint::check_guides(classifier.network, model.network);
    auto& remarks = model.description.remarks;
    std::array<char, 32> scale{};
    std::snprintf(scale.data(), scale.size(), "%g", static_cast<double>(from.scale));
    remarks.push_back("guided by " + std::filesystem::path(from.files.weights).filename().string() + " (" +
                      classifier.description.family + ", " + thousands(classifier.description.parameters) +
                      " parameters) times " + scale.data());
    for (const auto& remark : classifier.description.remarks) {
        if (!remark.starts_with("settings from")) {
            remarks.push_back(remark);
        }
    }
}

} // namespace

std::span<const engine_entry> engines() {
    constexpr engine_entry cpu{"cpu", always, make_cpu_engine};
    constexpr engine_entry reference{"reference", always, make_reference_engine};
#if defined(REPAINT_HAS_CUDA)
    static constexpr std::array entries{engine_entry{"cuda", cuda_available, make_cuda_engine}, cpu, reference};
#else
    static constexpr std::array entries{cpu, reference};
#endif
    return entries;
}

repaint::opened_model open(const repaint::model_files& files) { return repaint::open_model(files); }

std::unique_ptr<engine> make_engine(const model_source& source, const engine_options& options) {
    std::string names;
    for (const auto& entry : engines()) {
        if (options.backend.empty() ? entry.available() : options.backend == entry.name) {
            check_options(entry.name, options);
            const auto open_source = [&] {
                if (const auto* preset = std::get_if<repaint::model_preset>(&source)) {
                    return opened_source{*preset};
                }
                opened_source opened{open(std::get<repaint::model_files>(source))};
                if (options.guidance) {
                    open_guidance(opened, *options.guidance);
                }
                return opened;
            };
            return entry.make(open_source, options);
        }
        names += (names.empty() ? "" : ", ") + std::string(entry.name);
    }
    throw std::invalid_argument(
        "the backend " + options.backend + " is not in this build" +
        (options.backend == "cuda" ? " (configure with -D REPAINT_CUDA=ON, which needs nvcc and cuDNN 9)" : "") +
        "; it has: " + names);
}

void check_image_shape(const engine& with, const repaint::shape4& images) {
    repaint::check_image_shape(with.network(), images);
    if (with.classifier() != nullptr) {
        repaint::check_image_shape(*with.classifier(), images);
    }
}

void check_labels(const engine& with, const std::vector<int>& labels, bool drawn) {
    const std::vector<int> any{0}; // what is drawn is in range
    if (with.network().classes == 0 && with.classifier() != nullptr) {
        repaint::check_labels(*with.classifier(), drawn ? any : labels);
    } else {
        repaint::check_labels(with.network(), drawn ? any : labels);
    }
}

} // namespace cli
