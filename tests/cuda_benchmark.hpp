#pragma once

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdio>
#include <string>
#include <utility>
#include <vector>

#include <repaint/error.hpp>
#include <repaint/io/json.hpp>

/// What both halves of cuda_benchmark share: the clock, and where results go.
namespace benchmark {

/// Median, lowest and highest of some times.
struct spread {
    double median = 0.0;
    double lowest = 0.0;
    double highest = 0.0;
};

inline spread spread_of(std::vector<double> times) {
    if (times.empty()) {
        return {};
    }
    std::sort(times.begin(), times.end());
    const std::size_t half = times.size() / 2;
    const double median = times.size() % 2 == 1 ? times[half] : (times[half - 1] + times[half]) / 2.0;
    return {median, times.front(), times.back()};
}

inline spread scaled(const spread& s, double factor) {
    return {s.median * factor, s.lowest * factor, s.highest * factor};
}

/// Seconds since it was made.
class clock {
public:
    [[nodiscard]] double seconds() const {
        return std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
    }

private:
    std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

inline std::string number(double value) {
    if (!std::isfinite(value)) {
        return "null";
    }
    char digits[32];
    return {digits, std::to_chars(digits, digits + sizeof digits, value, std::chars_format::general, 6).ptr};
}

/// One line of JSON, made key by key.
class record {
public:
    record& text(const std::string& key, const std::string& value) {
        return raw(key, repaint::json_string(value));
    }
    record& value(const std::string& key, double v) { return raw(key, number(v)); }
    record& times(const std::string& unit, const spread& s) {
        return value(unit, s.median).value(unit + "_low", s.lowest).value(unit + "_high", s.highest);
    }
    [[nodiscard]] std::string line() const { return "{" + fields_ + "}"; }

private:
    record& raw(const std::string& key, const std::string& value) {
        fields_ += fields_.empty() ? "" : ", ";
        fields_ += repaint::json_string(key);
        fields_ += ": ";
        fields_ += value;
        return *this;
    }

    std::string fields_;
};

/// What was measured: a line for people each, and JSON appended to a file.
class results {
public:
    /// file: empty for none.
    explicit results(const std::string& file) : file_(file.empty() ? nullptr : std::fopen(file.c_str(), "a")) {
        if (!file.empty() && file_ == nullptr) {
            throw repaint::error(file + ": cannot be opened for appending");
        }
    }
    results(const results&) = delete;
    results& operator=(const results&) = delete;
    ~results() {
        if (file_ != nullptr) {
            std::fclose(file_);
        }
    }

    void add(const record& r) {
        if (file_ != nullptr) {
            std::fprintf(file_, "%s\n", r.line().c_str());
            std::fflush(file_);
        }
    }

    /// A measurement in microseconds of something that moves `bytes` and computes `flops`; 0: does not count.
    void add(const std::string& kind, const std::string& name, const spread& microseconds, double bytes, double flops,
             record more = {}) {
        const double gigabytes = bytes / microseconds.median * 1e-3;
        const double teraflops = flops / microseconds.median * 1e-6;
        std::printf("%-11s %-58s %10.1f us (%.1f-%.1f)", kind.c_str(), name.c_str(), microseconds.median,
                    microseconds.lowest, microseconds.highest);
        more.text("kind", kind).text("name", name).times("us", microseconds);
        if (bytes > 0.0) {
            std::printf("  %6.0f GB/s", gigabytes);
            more.value("bytes", bytes).value("gb_per_s", gigabytes);
            if (copy_rate > 0.0) {
                std::printf(" %3.0f %%", 100.0 * gigabytes / copy_rate);
                more.value("of_copy", gigabytes / copy_rate);
            }
        }
        if (flops > 0.0) {
            std::printf("  %6.1f TFLOP/s", teraflops);
            more.value("flops", flops).value("tflop_per_s", teraflops);
            if (matmul_rate > 0.0) {
                std::printf(" %3.0f %%", 100.0 * teraflops / matmul_rate);
                more.value("of_matmul", teraflops / matmul_rate);
            }
        }
        std::printf("\n");
        std::fflush(stdout);
        add(more);
    }

    /// Something that was not measured, and why.
    void skip(const std::string& kind, const std::string& name, const std::string& why) {
        std::printf("%-11s %-58s skipped: %s\n", kind.c_str(), name.c_str(), why.c_str());
        std::fflush(stdout);
        add(record().text("kind", kind).text("name", name).text("skipped", why));
    }

    double copy_rate = 0.0;   ///< GB/s, measured; 0: not yet
    double matmul_rate = 0.0; ///< TFLOP/s in half, measured; 0: not yet

private:
    std::FILE* file_;
};

/// The three networks: milliseconds per evaluation in every precision and batch, memory, and what a run takes besides.
/// Nothing new is begun after `until` seconds of the clock.
void networks(results& to, const clock& time, double until);

/// One network that is timed on demand: a line with a number of seconds on standard input is answered by one with the
/// times of that long. Returns the exit status.
int serve(const std::vector<std::string>& arguments);

} // namespace benchmark
