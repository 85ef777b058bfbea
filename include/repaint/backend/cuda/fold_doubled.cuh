#pragma once

#include <cstddef>

#include <repaint/backend/cuda/layout.cuh>

/// What a 3x3 convolution with padding 1 is after a nearest-neighbour doubling: for each parity of the result's row and
/// column a 2x2 convolution of the small tensor, whose taps are sums of the nine. Each of the nine is read four times,
/// from the caches but for the first, and each sum is written once.
namespace repaint::detail::cuda {

/// The first of the three rows (or columns) of a kernel that fall on row `tap` of the small one, for results of one
/// parity: 0 | 1 2 and 0 1 | 2. The last is before the first of the next.
REPAINT_HOST_DEVICE constexpr int first_folded(int parity, int tap) {
    return tap == 0 ? 0 : (tap == 2 ? 3 : 1 + parity);
}

template <class T> __global__ void fold_doubled_kernel(const T* weights, std::size_t out, std::size_t in, T* folded) {
    for_item(16 * out * in, [&](std::size_t i) {
        const std::size_t c = i % in;
        const int tap = static_cast<int>(i / in % 4);
        const std::size_t o = i / (4 * in) % out;
        const int phase = static_cast<int>(i / (4 * in) / out);
        float sum = 0.0F;
        for (int a = first_folded(phase / 2, tap / 2); a < first_folded(phase / 2, tap / 2 + 1); ++a) {
            for (int b = first_folded(phase % 2, tap % 2); b < first_folded(phase % 2, tap % 2 + 1); ++b) {
                sum += to_float(weights[(o * 9 + static_cast<std::size_t>(3 * a + b)) * in + c]);
            }
        }
        folded[i] = from_float<T>(sum);
    });
}

/// weights: [out][3][3][in]; folded: [2 * row parity + column parity][out][2][2][in]. Result pixel (2i + u, 2j + v) of
/// the convolution reads pixel (i + u - 1 + a, j + v - 1 + b) of the small tensor at tap (a, b). Sums beyond T's range
/// become infinite: four weights of a quarter of it.
template <class T> void fold_doubled(const T* weights, int out, int in, T* folded, cudaStream_t stream) {
    const std::size_t count = 16 * static_cast<std::size_t>(out) * static_cast<std::size_t>(in);
    launch("fold_doubled", fold_doubled_kernel<T>, item_grid(count), copy_threads, 0, stream, weights, out, in, folded);
}

} // namespace repaint::detail::cuda
