// The whole of cuda_backend on a machine without a GPU: its own kernels through the substitute for CUDA, no libraries.
#include "support/cuda_on_host.hpp"

#include <stdexcept>
#include <tuple>
#include <vector>

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

TEST_CASE("memory of the device is taken as it is, and written to", "[backend]") {
    using backend = repaint::basic_cuda_backend<float>;
    backend b;
    std::vector<float> values{1.0F, 2.0F, 3.0F, 4.0F}; // in the substitute for CUDA, the device's memory is the host's
    auto x = b.adopt(values.data(), {1, 1, 2, 2});
    CHECK(b.download(x)(0, 0, 1, 0) == 3.0F);
    const auto ones = b.upload(repaint::host_tensor({1, 1, 2, 2}, {1.0F, 1.0F, 1.0F, 1.0F}));
    repaint::ops::forward_step(b, x, ones, {.signal = 2.0F, .noise = 0.5F});
    CHECK(b.download(x)(0, 0, 1, 1) == 8.5F);
    CHECK(values[3] == 8.5F);

    std::vector<float> out(4);
    b.copy_to(ones, out.data());
    CHECK(out == std::vector<float>{1.0F, 1.0F, 1.0F, 1.0F});

    CHECK(b.download(b.adopt(nullptr, {0, 1, 2, 2})).empty());
    REQUIRE_THROWS_AS(b.adopt(nullptr, {1, 1, 2, 2}), std::invalid_argument);
    REQUIRE_THROWS_AS(b.adopt(values.data(), {-1, 1, 2, 2}), repaint::shape_error);
}
