#pragma once

#include <chrono>
#include <cstddef>
#include <string>

namespace cli {

/// "41 s", "12 min 5 s", "3 h 20 min".
[[nodiscard]] std::string duration_text(double seconds);

/// "552,814,086"
[[nodiscard]] std::string thousands(unsigned long long number);

/// "2.2 GB"
[[nodiscard]] std::string bytes_text(double bytes);

/// "1 picture", "3 pictures"
[[nodiscard]] std::string counted(std::size_t count, const std::string& what);

/// Tells on stderr how long a run will take, once the first evaluation is done, and then, when stderr is a terminal, a
/// line with evaluations done, rate and time left. Evaluations of larger pictures cost more: time goes by cost, in
/// whatever unit.
class progress_bar {
public:
    progress_bar(std::size_t total, double cost, bool quiet, bool resumed);
    ~progress_bar();
    progress_bar(const progress_bar&) = delete;
    progress_bar& operator=(const progress_bar&) = delete;

    /// done, cost: of the evaluations that were made.
    void show(std::size_t done, double cost);

    /// Ends the line, so that something else can be printed.
    void end();

private:
    std::size_t total_;
    double cost_;
    bool quiet_;
    bool resumed_;
    bool visible_;
    bool estimated_ = false;
    double first_cost_ = 0.0;
    bool drawn_ = false;
    std::size_t first_ = 0;
    std::chrono::steady_clock::time_point start_;
    std::chrono::steady_clock::time_point shown_;
};

/// While it lives, Ctrl-C, SIGTERM and SIGHUP set a flag instead of ending the program, and say so; a second one ends it.
class interruption {
public:
    interruption();
    ~interruption();
    interruption(const interruption&) = delete;
    interruption& operator=(const interruption&) = delete;

    [[nodiscard]] bool requested() const;
};

} // namespace cli
