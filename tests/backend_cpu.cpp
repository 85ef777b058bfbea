#include <tuple>

#include <repaint/backend/cpu.hpp>

namespace {

/// The backend as one of the many it can be. Where the CPU lacks the instructions, the best it has take their place.
template <repaint::instruction_set Instructions, int Threads, bool Strict = false>
class cpu_variant : public repaint::cpu_backend {
public:
    cpu_variant()
        : repaint::cpu_backend(
              {.threads = Threads,
               .strict = Strict,
               .instructions = repaint::is_supported(Instructions) ? Instructions : repaint::best_instruction_set()}) {}
};

using repaint::instruction_set;

} // namespace

using backends_under_test =
    std::tuple<cpu_variant<instruction_set::portable, 1>, cpu_variant<instruction_set::portable, 2>,
               cpu_variant<instruction_set::avx2, 1>, cpu_variant<instruction_set::avx2, 2>,
               cpu_variant<instruction_set::avx512, 1>, cpu_variant<instruction_set::avx512, 2>,
               cpu_variant<instruction_set::avx512, 2, true>>;

#include "backend_suite.hpp"
