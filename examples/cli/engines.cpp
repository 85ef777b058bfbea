#include <array>
#include <stdexcept>

#include "engine.hpp"
#include "engine_reference.hpp"

namespace cli {

std::span<const engine_entry> engines() {
    static constexpr std::array entries{engine_entry{"reference", make_reference_engine}};
    return entries;
}

std::unique_ptr<engine> make_engine(std::string_view name, const repaint::model_files& files, int threads) {
    std::string available;
    for (const auto& entry : engines()) {
        if (name.empty() || name == entry.name) {
            return entry.make(files, threads);
        }
        available += (available.empty() ? "" : ", ") + std::string(entry.name);
    }
    throw std::invalid_argument("the backend " + std::string(name) + " is not in this build, which has: " + available);
}

} // namespace cli
