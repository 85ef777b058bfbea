#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <fstream>
#include <functional>
#include <istream>
#include <limits>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#if defined(__unix__) || defined(__APPLE__)
#include <pthread.h>
#include <signal.h>
#endif
#if defined(__linux__)
#include <sched.h>
#endif

namespace repaint::detail::cpu {

/// Cores that control groups grant, as a fraction: the smallest quota on the way from each group that the file
/// `membership` names (/proc/self/cgroup) to the top of the hierarchy mounted at `root`, of version 2 (cpu.max) and of
/// version 1 (cpu.cfs_quota_us). Infinity where there is none.
[[nodiscard]] inline double cpu_quota(const std::string& membership, const std::string& root) {
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
                std::ifstream max(root + group + "/cpu.max");
                read(max, max);
            } else if (controllers.find(",cpu,") != std::string::npos) {
                std::ifstream granted(root + "/cpu" + group + "/cpu.cfs_quota_us");
                std::ifstream per(root + "/cpu" + group + "/cpu.cfs_period_us");
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

/// How many cores this process may use, at least 1: those that it may be scheduled on, and no more than its control
/// group's quota, rounded up.
[[nodiscard]] inline int available_cores() {
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

/// Threads that share the tasks of one region at a time; the thread that calls run() is one of them.
///
/// Nobody waits for a thread that has taken no task: one that the system does not schedule costs nothing but its help.
/// A region's counter of tasks left is all that a thread touches before it owns a task, and while it owns one the
/// region cannot end; so whoever comes late finds nothing and looks at nothing of a region that is over.
class thread_pool {
public:
    /// `threads` at work in run(), the caller's included; 0 for available_cores(). There are fewer where the system
    /// refuses to start as many. Throws std::invalid_argument if `threads` is negative.
    explicit thread_pool(int threads) {
        if (threads < 0) {
            throw std::invalid_argument("threads is " + std::to_string(threads) +
                                        "; accepted are 1 and more, and 0 for as many as there are cores");
        }
        const int cores = available_cores();
        const int wanted = threads == 0 ? cores : threads;
        patience_ = std::chrono::microseconds(wanted <= cores ? 50 : 0);
        const blocked_signals blocked;
        try {
            while (this->threads() < wanted) {
                const int worker = this->threads();
                workers_.emplace_back([this, worker] { serve(worker); });
            }
        } catch (const std::exception&) { // no more threads or no more memory: those that there are do the work
        }
    }

    thread_pool(const thread_pool&) = delete;
    thread_pool& operator=(const thread_pool&) = delete;

    ~thread_pool() {
        stopping_.store(true, std::memory_order_relaxed);
        begun_.fetch_add(1, std::memory_order_release);
        begun_.notify_all();
        for (std::thread& worker : workers_) {
            worker.join();
        }
    }

    [[nodiscard]] int threads() const { return static_cast<int>(workers_.size()) + 1; }

    /// Calls f(task, worker) once for every task in [0, tasks), std::size_t, with worker in [0, threads()), int, and
    /// returns when all calls have; what they wrote is visible to the caller. No two calls at the same time have the
    /// same worker. The first exception that a call throws is thrown again here after the calls that had begun have
    /// ended; the others are left out. Called from inside a task of this pool, it runs all tasks on that task's worker;
    /// called from several threads, one region comes after the other.
    template <class F> void run(std::size_t tasks, F&& f) {
        if (tasks == 0) {
            return;
        }
        if (const place* here = place::in(*this)) {
            for (std::size_t task = 0; task < tasks; ++task) {
                std::invoke(f, task, here->worker);
            }
            return;
        }
        const std::lock_guard<std::mutex> one_region(region_);
        const place here(*this, 0);
        if (tasks == 1 || workers_.empty()) {
            for (std::size_t task = 0; task < tasks; ++task) {
                std::invoke(f, task, 0);
            }
            return;
        }
        auto body = [&f](std::size_t task, int worker) { std::invoke(f, task, worker); };
        call_ = [](void* with, std::size_t task, int worker) { (*static_cast<decltype(body)*>(with))(task, worker); };
        with_ = &body;
        share(tasks);
    }

private:
    using call = void (*)(void* with, std::size_t task, int worker);

    /// Which pools' tasks this thread is inside of, and as which worker.
    struct place {
        place(const thread_pool& of, int as) : pool(&of), worker(as), outer(innermost()) { innermost() = this; }
        ~place() { innermost() = outer; }
        place(const place&) = delete;
        place& operator=(const place&) = delete;

        [[nodiscard]] static const place*& innermost() {
            thread_local const place* at = nullptr;
            return at;
        }

        [[nodiscard]] static const place* in(const thread_pool& pool) {
            const place* at = innermost();
            while (at != nullptr && at->pool != &pool) {
                at = at->outer;
            }
            return at;
        }

        const thread_pool* pool;
        int worker;
        const place* outer;
    };

    /// Threads started meanwhile leave signals to the threads of the program, but for those that a thread's own fault
    /// raises and the one that profilers sample with.
    struct blocked_signals {
#if defined(__unix__) || defined(__APPLE__)
        blocked_signals() {
            sigset_t blocked;
            sigfillset(&blocked);
            for (const int own : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS, SIGPROF}) {
                sigdelset(&blocked, own);
            }
            pthread_sigmask(SIG_BLOCK, &blocked, &before);
        }
        ~blocked_signals() { pthread_sigmask(SIG_SETMASK, &before, nullptr); }
        sigset_t before;
#else
        blocked_signals() = default;
        ~blocked_signals() {}
#endif
        blocked_signals(const blocked_signals&) = delete;
        blocked_signals& operator=(const blocked_signals&) = delete;
    };

    void share(std::size_t tasks) {
        const int ended = ended_.load(std::memory_order_relaxed);
        tasks_ = tasks;
        unfinished_.store(tasks, std::memory_order_relaxed);
        left_.store(static_cast<std::int64_t>(tasks), std::memory_order_release);
        begun_.fetch_add(1, std::memory_order_seq_cst);
        if (tasks > workers_.size()) {
            begun_.notify_all();
        } else {
            for (std::size_t task = 1; task < tasks; ++task) {
                begun_.notify_one();
            }
        }
        if (!take_tasks(0)) {
            await_change(ended_, ended);
        }
        if (failed_.load(std::memory_order_relaxed)) {
            failed_.store(false, std::memory_order_relaxed);
            std::rethrow_exception(std::exchange(error_, nullptr));
        }
    }

    void serve(int worker) {
        const place here(*this, worker);
        for (;;) {
            // Read before the tasks left, so that a region that begins after they were found missing is no surprise.
            const int begun = begun_.load(std::memory_order_acquire);
            if (stopping_.load(std::memory_order_relaxed)) {
                return;
            }
            if (left_.load(std::memory_order_relaxed) <= 0) {
                await_change(begun_, begun);
            } else if (take_tasks(worker)) {
                ended_.fetch_add(1, std::memory_order_seq_cst);
                ended_.notify_one();
            }
        }
    }

    /// Takes tasks until there are none; true if that ended the region.
    bool take_tasks(int worker) {
        std::size_t finished = 0;
        for (;;) {
            // Below zero it counts those who came too late, until the next region begins and sets it anew.
            const std::int64_t left = left_.fetch_sub(1, std::memory_order_acquire);
            if (left <= 0) {
                break;
            }
            try {
                call_(with_, tasks_ - static_cast<std::size_t>(left), worker);
            } catch (...) {
                if (!failed_.exchange(true, std::memory_order_relaxed)) {
                    error_ = std::current_exception();
                }
                const std::int64_t skipped = left_.exchange(0, std::memory_order_relaxed);
                finished += static_cast<std::size_t>(std::max<std::int64_t>(skipped, 0));
            }
            ++finished;
        }
        return finished > 0 && unfinished_.fetch_sub(finished, std::memory_order_acq_rel) == finished;
    }

    /// Returns once `counter` is no longer `value`: looks for a short time, since the next region or the last task's
    /// end is mostly near and falling asleep and waking cost more, then sleeps. With more threads than cores it only
    /// sleeps: looking would keep a core from who has work. No yielding between looks: to another busy process that
    /// gives the rest of a time slice, milliseconds.
    void await_change(const std::atomic<int>& counter, int value) const {
        if (patience_.count() > 0) {
            const auto until = std::chrono::steady_clock::now() + patience_;
            do {
                for (int look = 0; look < 32; ++look) {
                    if (counter.load(std::memory_order_acquire) != value) {
                        return;
                    }
                    pause();
                }
            } while (std::chrono::steady_clock::now() < until);
        }
        counter.wait(value, std::memory_order_acquire);
    }

    static void pause() {
#if defined(__GNUC__) && (defined(__x86_64__) || defined(__i386__))
        __builtin_ia32_pause();
#elif defined(__GNUC__) && defined(__aarch64__)
        __asm__ __volatile__("yield");
#endif
    }

    std::mutex region_; // held by the thread whose region it is
    std::chrono::steady_clock::duration patience_{0};

    // The region: written before left_ says that there are tasks, read by who took one.
    call call_ = nullptr;
    void* with_ = nullptr;
    std::size_t tasks_ = 0;
    std::exception_ptr error_; // written by who sets failed_
    std::atomic<bool> failed_{false};
    std::atomic<bool> stopping_{false};

    // On cache lines of their own: each is looked at in a loop while others are written. Those slept on are int, which
    // standard libraries hand to the system as it is.
    alignas(64) std::atomic<std::int64_t> left_{0};      // tasks that nobody has taken
    alignas(64) std::atomic<std::size_t> unfinished_{0}; // tasks that have not ended
    alignas(64) std::atomic<int> begun_{0};              // counts regions (and the end of the pool)
    alignas(64) std::atomic<int> ended_{0};              // counts regions that a worker other than the caller ended

    std::vector<std::thread> workers_;
};

} // namespace repaint::detail::cpu
