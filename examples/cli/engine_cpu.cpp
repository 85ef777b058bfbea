#include <repaint/backend/cpu.hpp>
#include <repaint/backend/cpu/profile.hpp>

#include "basic_engine.hpp"
#include "engine_cpu.hpp"

namespace cli {

namespace {

repaint::cpu_options backend_options(const engine_options& options) {
    repaint::cpu_options o;
    o.threads = options.threads;
    o.strict = options.strict;
    o.probe = options.profile.get();
    if (!options.instructions.empty()) {
        o.instructions = repaint::instruction_set_from(options.instructions);
    }
    return o;
}

} // namespace

std::unique_ptr<engine> make_cpu_engine(const source_opener& open, const engine_options& options) {
    return std::make_unique<basic_engine<repaint::cpu_backend>>("cpu", options, open, backend_options(options));
}

perceptual_features make_cpu_lpips(const std::vector<std::filesystem::path>& weights, const engine_options& options) {
    const std::vector<std::string> files(weights.begin(), weights.end());
    const auto backend = std::make_shared<repaint::cpu_backend>(backend_options(options));
    const auto network =
        std::make_shared<const repaint::lpips<repaint::cpu_backend>>(*backend, repaint::read_lpips_weights(files));
    return [backend, network](const repaint::host_tensor& images) { return network->features(*backend, images); };
}

} // namespace cli
