#pragma once

namespace repaint::detail::cpu {

/// Count, mean and sum of squared distances of some values. Joining two of these keeps all digits, whatever the means
/// are (Chan, Golub and LeVeque 1983).
struct running_moments {
    double count = 0.0;
    double mean = 0.0;
    double squares = 0.0;

    void join(double more, double its_mean, double its_squares) {
        const double total = count + more;
        const double distance = its_mean - mean;
        mean += distance * (more / total);
        squares += its_squares + distance * distance * (count * more / total);
        count = total;
    }
};

} // namespace repaint::detail::cpu
