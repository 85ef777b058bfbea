// The whole of cuda_backend on a machine without a GPU: its own kernels through the substitute for CUDA, no libraries.
#include "support/cuda_on_host.hpp"

#include <tuple>

#include <repaint/backend/cuda.hpp>

#include "support/cuda_tolerances.hpp"

#if defined(REPAINT_FIBERS_UNDER_ASAN)
// Some ten times slower; what addresses are used depends on the size of a type, not on its bits.
using backends_under_test = std::tuple<repaint::cuda_backend>;
#else
using backends_under_test = std::tuple<repaint::basic_cuda_backend<float>, repaint::basic_cuda_backend<__half>,
                                       repaint::basic_cuda_backend<__nv_bfloat16>>;
#endif

#include "backend_suite.hpp"
#include "gradient_suite.hpp"

static_assert(repaint::tensor_backend<repaint::cuda_backend>);
static_assert(repaint::differentiable_backend<repaint::cuda_backend>);
static_assert(repaint::provides_replay<repaint::cuda_backend>);
