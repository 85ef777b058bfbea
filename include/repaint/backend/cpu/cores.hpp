#pragma once

#include <string>

#include <repaint/config.hpp>

/// How many threads are worth starting on this machine.
namespace repaint::detail::cpu {

/// Cores that control groups grant, as a fraction: the smallest quota on the way from each group that the file
/// `membership` names (/proc/self/cgroup) to the top of the hierarchy mounted at `root`, of version 2 (cpu.max) and of
/// version 1 (cpu.cfs_quota_us). Infinity where no group has a quota.
[[nodiscard]] double cpu_quota(const std::string& membership, const std::string& root);

/// How many cores this process may use, at least 1: the cores that the process may be scheduled on, and no more than
/// the quota of its control group, rounded up.
[[nodiscard]] int available_cores();

} // namespace repaint::detail::cpu

#ifndef REPAINT_COMPILED
#include <repaint/backend/cpu/cores.ipp>
#endif
