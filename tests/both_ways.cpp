// One program built in both ways: this file finds the definitions of the library compiled, both_ways_header_only.cpp has
// them from the headers. They give the same results, and exchange objects and exceptions.
#include <repaint/repaint.hpp>

#include "both_ways.hpp"
#include "both_ways_values.hpp"
#include "support/catch.hpp"

#if !defined(REPAINT_COMPILED)
#error "this file is the compiled half"
#endif

TEST_CASE("types, functions and runs are the same compiled and header-only", "[both_ways]") {
    const both_ways::values compiled = both_ways::values_of_this_way();
    const both_ways::values header_only = both_ways::header_only();
    CHECK(compiled.sizes == header_only.sizes);
    CHECK(compiled.numbers == header_only.numbers);
    CHECK(compiled.texts == header_only.texts);
    CHECK(compiled.texts.size() == 2);
}

TEST_CASE("what one half makes or throws the other half takes", "[both_ways]") {
    repaint::cpu_backend backend({.threads = 1});
    const repaint::host_tensor drawn = both_ways::drawn_header_only({1, 3, 8, 8}, 7);
    const repaint::host_tensor again = backend.download(repaint::philox_noise(7)(backend, {1, 3, 8, 8}));
    CHECK(std::vector<float>(drawn.values().begin(), drawn.values().end()) ==
          std::vector<float>(again.values().begin(), again.values().end()));
    const repaint::host_tensor keep = repaint::make_mask(repaint::mask_kind::half, 8, 8);
    CHECK_NOTHROW(both_ways::check_header_only(drawn.shape(), keep));
    CHECK_THROWS_AS(both_ways::check_header_only({1, 3, 9, 9}, keep), repaint::shape_error);
}
