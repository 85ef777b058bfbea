#if __has_include(<catch2/catch_session.hpp>)
#include <catch2/catch_session.hpp>
#else
#define CATCH_CONFIG_RUNNER
#include <catch2/catch.hpp>
#endif

#include <cstdio>
#include <string>

#include <repaint/backend/cuda/problem.hpp>

/// Skipped where no backend can be made, with the reason.
int main(int argc, char** argv) {
    if (const std::string reason = repaint::cuda_problem(); !reason.empty()) {
        std::printf("skipped: %s\n", reason.c_str());
        return 77; // what ctest is told to expect
    }
    return Catch::Session().run(argc, argv);
}
