#pragma once

// Debian 12 ships Catch2 2.13, Debian 13 and Ubuntu 24.04 ship 3.x. The tests include this header and run under both.
#if __has_include(<catch2/catch_all.hpp>)
#include <catch2/catch_all.hpp>

inline auto approx(double value) { return Catch::Approx(value); }
inline auto contains(const std::string& part) { return Catch::Matchers::ContainsSubstring(part); }
#else
#include <catch2/catch.hpp>

inline auto approx(double value) { return Approx(value); }
inline auto contains(const std::string& part) { return Catch::Matchers::Contains(part); }
#endif
