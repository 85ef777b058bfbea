#pragma once

#include <limits>
#include <string>
#include <vector>

namespace cli {

/// What an axis has to show.
class plot_range {
public:
    /// Values that are not finite are passed over.
    void include(double value);

    [[nodiscard]] bool empty() const { return !(low_ <= high_); }
    /// Of an empty range: 0.
    [[nodiscard]] double low() const { return empty() ? 0.0 : low_; }
    [[nodiscard]] double high() const { return empty() ? 0.0 : high_; }

private:
    double low_ = std::numeric_limits<double>::infinity();
    double high_ = -std::numeric_limits<double>::infinity();
};

/// The part of an axis that is shown, and its ticks.
struct plot_axis {
    double first = 0.0;
    double last = 1.0;
    std::vector<double> ticks;
    int decimals = 0; ///< of the ticks' labels

    /// 0 at the first value that is shown, 1 at the last.
    [[nodiscard]] double place(double value) const { return (value - first) / (last - first); }

    [[nodiscard]] std::string label(double tick) const;
};

/// An axis that shows the range with `room` (a part of it) on both sides, and about `count` ticks at 1, 2 or 5 times a
/// power of ten. It does not go below 0 for values that do not. An empty range: 0 to 1 without ticks.
[[nodiscard]] plot_axis round_axis(const plot_range& shown, int count, double room);

} // namespace cli
