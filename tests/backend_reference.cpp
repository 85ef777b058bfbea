#include <tuple>

#include <repaint/backend/reference.hpp>

using backends_under_test = std::tuple<repaint::reference_backend>;

#include "backend_suite.hpp"
