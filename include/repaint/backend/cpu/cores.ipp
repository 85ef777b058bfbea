#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <fstream>
#include <istream>
#include <limits>
#include <string>
#include <thread>
#include <vector>

#if defined(__linux__)
#include <sched.h>
#endif

#include <repaint/backend/cpu/cores.hpp>
#include <repaint/core/text.hpp>

namespace repaint::detail::cpu {

REPAINT_COLD double cpu_quota(const std::string& membership, const std::string& root) {
    double quota = std::numeric_limits<double>::infinity();
    const auto read = [&quota](std::istream& granted, std::istream& per) {
        // An unlimited group says "max" in version 2, which is no number, and -1 in version 1.
        double microseconds = 0;
        double period = 0;
        if (granted >> microseconds && per >> period && microseconds > 0 && period > 0) {
            quota = std::min(quota, microseconds / period);
        }
    };
    std::ifstream lines(membership);
    for (std::string line; std::getline(lines, line);) { // "0::/path" or "4:cpu,cpuacct:/path"
        const std::size_t first = line.find(':');
        const std::size_t second = first == std::string::npos ? first : line.find(':', first + 1);
        if (second == std::string::npos) {
            continue;
        }
        std::string controllers(1, ','); // appended, not "," + ...: GCC 12 warns of an overlap there (its bug 105329)
        controllers.append(line, first + 1, second - first - 1).append(1, ',');
        std::string group = line.substr(second + 1);
        // Inside a container the upper part of the path may not be mounted: what cannot be opened grants all.
        for (;;) {
            if (controllers == ",,") {
                std::ifstream max(joined_text({root, group, "/cpu.max"}));
                read(max, max);
            } else if (controllers.find(",cpu,") != std::string::npos) {
                std::ifstream granted(joined_text({root, "/cpu", group, "/cpu.cfs_quota_us"}));
                std::ifstream per(joined_text({root, "/cpu", group, "/cpu.cfs_period_us"}));
                read(granted, per);
            }
            const std::size_t parent = group.rfind('/');
            if (parent == std::string::npos) {
                break;
            }
            group.resize(parent);
        }
    }
    return quota;
}

REPAINT_COLD int available_cores() {
    int cores = static_cast<int>(std::thread::hardware_concurrency());
#if defined(__linux__) && defined(CPU_COUNT_S)
    // The kernel refuses a set that is shorter than its own, which may be longer than cpu_set_t's 1024.
    for (std::size_t length = 1; length <= 64; length *= 2) {
        std::vector<cpu_set_t> allowed(length);
        if (sched_getaffinity(0, length * sizeof(cpu_set_t), allowed.data()) == 0) {
            cores = CPU_COUNT_S(length * sizeof(cpu_set_t), allowed.data());
            break;
        }
    }
    const double quota = std::ceil(cpu_quota("/proc/self/cgroup", "/sys/fs/cgroup"));
    if (quota < cores) {
        cores = static_cast<int>(quota);
    }
#endif
    return std::max(cores, 1);
}

} // namespace repaint::detail::cpu
