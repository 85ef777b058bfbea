#include <repaint/backend/cpu.hpp>

#include "basic_engine.hpp"
#include "engine_cpu.hpp"

namespace cli {

std::unique_ptr<engine> make_cpu_engine(const opened_source& source, const engine_options& options) {
    repaint::cpu_options o;
    o.threads = options.threads;
    o.strict = options.strict;
    if (!options.instructions.empty()) {
        o.instructions = repaint::instruction_set_from(options.instructions);
    }
    return std::make_unique<basic_engine<repaint::cpu_backend>>("cpu", options.threads, source, o);
}

} // namespace cli
