#pragma once

// What nearly every test includes, parsed once for all of them. Tests include what they need all the same: a test that
// defines what headers mean, or builds them header-only, goes without (repaint_test in CMakeLists.txt).
#include <repaint/repaint.hpp>

#include "support/catch.hpp"
#include "support/compare.hpp"
