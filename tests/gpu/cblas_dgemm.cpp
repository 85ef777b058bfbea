#include <cstddef>

/// The product of matrices as BLAS has it, for the gradients in double on machines without a BLAS: slow and exact enough.
/// The numbers of the enumerations are those of cblas.h.
extern "C" void cblas_dgemm(int order, int transpose_a, int transpose_b, int m, int n, int k, double alpha,
                            const double* a, int lda, const double* b, int ldb, double beta, double* c, int ldc) {
    constexpr int row_major = 101;
    constexpr int plain = 111;
    const auto element = [order](const double* matrix, int leading, bool transposed, int row, int column) {
        const bool by_rows = (order == row_major) != transposed;
        return matrix[by_rows ? static_cast<std::ptrdiff_t>(row) * leading + column
                              : static_cast<std::ptrdiff_t>(column) * leading + row];
    };
    for (int i = 0; i < m; ++i) {
        for (int j = 0; j < n; ++j) {
            double sum = 0.0;
            for (int l = 0; l < k; ++l) {
                sum += element(a, lda, transpose_a != plain, i, l) * element(b, ldb, transpose_b != plain, l, j);
            }
            double& result = c[order == row_major ? static_cast<std::ptrdiff_t>(i) * ldc + j
                                                  : static_cast<std::ptrdiff_t>(j) * ldc + i];
            result = alpha * sum + (beta == 0.0 ? 0.0 : beta * result);
        }
    }
}
