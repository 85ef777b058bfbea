// The whole of cuda_backend on a machine without a GPU: its own kernels through the substitute for CUDA, no libraries.
#include "support/cuda_on_host.hpp"

#include <tuple>

#include <repaint/backend/cuda.hpp>

#include "support/tolerances.hpp"

using backends_under_test = std::tuple<repaint::basic_cuda_backend<float>>;

#include "backend_suite.hpp"
#include "gradient_suite.hpp"

static_assert(repaint::tensor_backend<repaint::basic_cuda_backend<float>>);
static_assert(repaint::differentiable_backend<repaint::basic_cuda_backend<float>>);
static_assert(repaint::differentiable_backend<repaint::basic_cuda_backend<__half>>);
