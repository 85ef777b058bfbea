#include "terminal.hpp"

#include <algorithm>
#include <array>
#include <csignal>
#include <cstdio>
#include <string_view>

#include <unistd.h>

namespace cli {

namespace {

volatile std::sig_atomic_t interrupted = 0;

constexpr std::array stopping_signals{SIGINT, SIGTERM, SIGHUP};

void on_interrupt(int) {
    interrupted = 1;
    constexpr std::string_view answer = "\nstopping after this evaluation; again: at once\n";
    if (::write(STDERR_FILENO, answer.data(), answer.size()) < 0) {
        // there is nobody to tell
    }
    for (const int signal : stopping_signals) {
        std::signal(signal, SIG_DFL);
    }
}

std::string formatted(const char* format, double value) {
    std::array<char, 64> text{};
    std::snprintf(text.data(), text.size(), format, value);
    return text.data();
}

} // namespace

std::string duration_text(double seconds) {
    if (seconds < 9.95) {
        return formatted("%.1f s", seconds);
    }
    const auto whole = static_cast<long long>(seconds + 0.5);
    if (whole < 120) {
        return std::to_string(whole) + " s";
    }
    if (whole < 2 * 3600) {
        return std::to_string(whole / 60) + " min " + std::to_string(whole % 60) + " s";
    }
    return std::to_string(whole / 3600) + " h " + std::to_string(whole % 3600 / 60) + " min";
}

std::string thousands(unsigned long long number) {
    const std::string digits = std::to_string(number);
    std::string grouped;
    for (std::size_t i = 0; i < digits.size(); ++i) {
        if (i > 0 && (digits.size() - i) % 3 == 0) {
            grouped += ',';
        }
        grouped += digits[i];
    }
    return grouped;
}

std::string bytes_text(double bytes) {
    return bytes >= 1e9   ? formatted("%.2f GB", bytes / 1e9)
           : bytes >= 1e5 ? formatted("%.1f MB", bytes / 1e6)
                          : formatted("%.1f kB", bytes / 1e3);
}

std::string counted(std::size_t count, const std::string& what) {
    return thousands(count) + " " + what + (count == 1 ? "" : "s");
}

progress_bar::progress_bar(std::size_t total, double cost, bool quiet, bool resumed)
    : total_(total), cost_(cost), quiet_(quiet), resumed_(resumed), visible_(!quiet && ::isatty(STDERR_FILENO) != 0),
      start_(std::chrono::steady_clock::now()), shown_(start_ - std::chrono::seconds(1)) {}

progress_bar::~progress_bar() { end(); }

void progress_bar::end() {
    if (drawn_) {
        std::fputs("\n", stderr);
        drawn_ = false;
    }
}

void progress_bar::show(std::size_t done, double cost) {
    const auto now = std::chrono::steady_clock::now();
    if (resumed_) { // what was done before says nothing about the rate
        resumed_ = false;
        first_ = done;
        first_cost_ = cost;
        start_ = now;
    }
    if (!estimated_ && !quiet_ && done > first_) {
        estimated_ = true;
        const double seconds = std::chrono::duration<double>(now - start_).count();
        std::fprintf(stderr, "about %s\n",
                     duration_text(seconds / (cost - first_cost_) * (cost_ - first_cost_)).c_str());
    }
    if (!visible_ || (done < total_ && now - shown_ < std::chrono::milliseconds(100))) {
        return;
    }
    drawn_ = true;
    shown_ = now;
    const double elapsed = std::chrono::duration<double>(now - start_).count();
    const double rate = elapsed > 0.0 ? static_cast<double>(done - first_) / elapsed : 0.0;
    const double spent = cost - first_cost_;
    const double left = spent > 0.0 ? (cost_ - cost) * elapsed / spent : 0.0;
    constexpr std::size_t width = 30;
    const std::size_t filled = total_ == 0 ? width : width * done / total_;
    const std::string bar = std::string(filled, '#') + std::string(width - filled, '.');
    const std::string line = "[" + bar + "] " + std::to_string(done) + "/" + std::to_string(total_) + "  " +
                             formatted(rate < 10.0 ? "%.2f/s" : "%.0f/s", rate) + "  " + duration_text(left) + " left";
    std::fprintf(stderr, "\r%s\033[K", line.c_str());
    std::fflush(stderr);
}

interruption::interruption() {
    interrupted = 0;
    for (const int signal : stopping_signals) {
        // What nohup ignores stays ignored.
        if (std::signal(signal, on_interrupt) == SIG_IGN && signal == SIGHUP) {
            std::signal(signal, SIG_IGN);
        }
    }
}

interruption::~interruption() {
    for (const int signal : stopping_signals) {
        if (std::signal(signal, SIG_DFL) == SIG_IGN) {
            std::signal(signal, SIG_IGN);
        }
    }
}

bool interruption::requested() const { return interrupted != 0; }

} // namespace cli
