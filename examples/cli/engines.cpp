#include <array>
#include <stdexcept>

#include "engine.hpp"
#include "engine_cpu.hpp"
#include "engine_reference.hpp"

namespace cli {

std::span<const engine_entry> engines() {
    static constexpr std::array entries{engine_entry{"cpu", make_cpu_engine},
                                        engine_entry{"reference", make_reference_engine}};
    return entries;
}

repaint::opened_model open(const repaint::model_files& files) { return repaint::open_model(files); }

std::unique_ptr<engine> make_engine(const model_source& source, const engine_options& options) {
    std::string available;
    for (const auto& entry : engines()) {
        if (options.backend.empty() || options.backend == entry.name) {
            const auto* files = std::get_if<repaint::model_files>(&source);
            return entry.make(files != nullptr ? opened_source(open(*files))
                                               : opened_source(std::get<repaint::model_preset>(source)),
                              options);
        }
        available += (available.empty() ? "" : ", ") + std::string(entry.name);
    }
    throw std::invalid_argument("the backend " + options.backend + " is not in this build, which has: " + available);
}

} // namespace cli
