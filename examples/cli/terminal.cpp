#include "terminal.hpp"

#include <algorithm>
#include <array>
#include <csignal>
#include <cstdio>

#include <unistd.h>

namespace cli {

namespace {

volatile std::sig_atomic_t interrupted = 0;

void on_interrupt(int signal) {
    interrupted = 1;
    std::signal(signal, SIG_DFL);
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
    return bytes >= 1e9 ? formatted("%.2f GB", bytes / 1e9) : formatted("%.1f MB", bytes / 1e6);
}

std::string counted(std::size_t count, const std::string& what) {
    return thousands(count) + " " + what + (count == 1 ? "" : "s");
}

progress_bar::progress_bar(std::size_t total, bool quiet)
    : total_(total), visible_(!quiet && ::isatty(STDERR_FILENO) != 0), start_(std::chrono::steady_clock::now()),
      shown_(start_ - std::chrono::seconds(1)) {}

progress_bar::~progress_bar() { end(); }

void progress_bar::end() {
    if (drawn_) {
        std::fputs("\n", stderr);
        drawn_ = false;
    }
}

void progress_bar::show(std::size_t done) {
    const auto now = std::chrono::steady_clock::now();
    if (!visible_ || (done < total_ && now - shown_ < std::chrono::milliseconds(100))) {
        return;
    }
    if (!drawn_) {
        // A resumed run starts in the middle: what was done before says nothing about the rate.
        first_ = done > 0 ? done - 1 : 0;
    }
    drawn_ = true;
    shown_ = now;
    const double elapsed = std::chrono::duration<double>(now - start_).count();
    const double rate = elapsed > 0.0 ? static_cast<double>(done - first_) / elapsed : 0.0;
    const double left = rate > 0.0 ? static_cast<double>(total_ - done) / rate : 0.0;
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
    std::signal(SIGINT, on_interrupt);
    std::signal(SIGTERM, on_interrupt);
}

interruption::~interruption() {
    std::signal(SIGINT, SIG_DFL);
    std::signal(SIGTERM, SIG_DFL);
}

bool interruption::requested() const { return interrupted != 0; }

} // namespace cli
