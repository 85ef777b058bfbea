#pragma once

#include <algorithm>
#include <stdexcept>
#include <string>
#include <utility>

#if defined(__unix__) || defined(__APPLE__)
#include <pthread.h>
#include <signal.h>
#endif

#include <repaint/backend/cpu/cores.hpp>
#include <repaint/backend/cpu/thread_pool.hpp>
#include <repaint/core/text.hpp>

namespace repaint::detail::cpu {

/// Threads that start during the lifetime of a blocked_signals leave signals to the threads of the program, except the
/// signals that a thread's own fault raises and the signal that profilers sample with.
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

/// Tells the processor that this thread waits in a loop.
inline void rest_between_looks() {
#if defined(__GNUC__) && (defined(__x86_64__) || defined(__i386__))
    __builtin_ia32_pause();
#elif defined(__GNUC__) && defined(__aarch64__)
    __asm__ __volatile__("yield");
#endif
}

REPAINT_INLINE thread_pool::thread_pool(int threads) {
    if (threads < 0) {
        throw std::invalid_argument(
            joined_text({"threads is ", threads, "; accepted are 1 and more, and 0 for as many as there are cores"}));
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

REPAINT_INLINE thread_pool::~thread_pool() {
    stopping_.store(true, std::memory_order_relaxed);
    begun_.fetch_add(1, std::memory_order_release);
    begun_.notify_all();
    for (std::thread& worker : workers_) {
        worker.join();
    }
}

REPAINT_INLINE const thread_pool::place*& thread_pool::place::innermost() {
    thread_local const place* at = nullptr;
    return at;
}

REPAINT_INLINE const thread_pool::place* thread_pool::place::in(const thread_pool& pool) {
    const place* at = innermost();
    while (at != nullptr && at->pool != &pool) {
        at = at->outer;
    }
    return at;
}

REPAINT_INLINE void thread_pool::share(std::size_t tasks) {
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

REPAINT_INLINE void thread_pool::serve(int worker) {
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

REPAINT_INLINE bool thread_pool::take_tasks(int worker) {
    std::size_t finished = 0;
    for (;;) {
        // Below zero the counter counts threads that came too late, until the next region begins and sets it anew.
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

REPAINT_INLINE void thread_pool::await_change(const std::atomic<int>& counter, int value) const {
    if (patience_.count() > 0) {
        const auto until = std::chrono::steady_clock::now() + patience_;
        do {
            for (int look = 0; look < 32; ++look) {
                if (counter.load(std::memory_order_acquire) != value) {
                    return;
                }
                rest_between_looks();
            }
        } while (std::chrono::steady_clock::now() < until);
    }
    counter.wait(value, std::memory_order_acquire);
}

} // namespace repaint::detail::cpu
