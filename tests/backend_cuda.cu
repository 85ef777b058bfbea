// cuda_backend on a device, its libraries included.
#include <tuple>

#include <repaint/backend/cuda.hpp>

#include "support/cuda_tolerances.hpp"

using backends_under_test = std::tuple<repaint::basic_cuda_backend<float>, repaint::basic_cuda_backend<__half>,
                                       repaint::basic_cuda_backend<__nv_bfloat16>>;

#include "backend_suite.hpp"
#include "gradient_suite.hpp"
