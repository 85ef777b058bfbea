#include <tuple>

#include <repaint/backend/reference.hpp>

using backends_under_test = std::tuple<repaint::reference_backend, repaint::basic_reference_backend<double>>;

#include "backend_suite.hpp"
#include "gradient_suite.hpp"
