#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

#include <repaint/config.hpp>

namespace repaint::detail::cpu {

/// Threads that share the tasks of one region at a time; the thread that calls run() is one of them.
///
/// Nobody waits for a thread that has taken no task: a thread that the system does not schedule costs nothing but its
/// help. Before a thread owns a task, it touches nothing of a region but the counter of tasks left, and while a thread
/// owns a task, the region cannot end. So a thread that comes after the end of a region finds no task left, and reads
/// nothing else of that region.
class thread_pool {
public:
    /// `threads` at work in run(), the caller's included; 0 for available_cores(). The pool has fewer where the system
    /// refuses to start as many. Throws std::invalid_argument if `threads` is negative.
    explicit thread_pool(int threads);
    thread_pool(const thread_pool&) = delete;
    thread_pool& operator=(const thread_pool&) = delete;
    ~thread_pool();

    [[nodiscard]] int threads() const { return static_cast<int>(workers_.size()) + 1; }

    /// Calls f(task, worker) once for every task in [0, tasks), std::size_t, with worker in [0, threads()), int, and
    /// returns when all calls have returned; what the calls wrote is visible to the caller. No two calls at the same
    /// time have the same worker. The first exception that a call throws is thrown again here after the calls that had
    /// begun have ended; the other calls are left out. Called from inside a task of this pool, run() makes all calls on
    /// that task's worker; called from several threads, one region comes after the other.
    template <class F> void run(std::size_t tasks, F&& f) {
        if (tasks == 0) {
            return;
        }
        if (const place* here = place::in(*this)) {
            for (std::size_t task = 0; task < tasks; ++task) {
                f(task, here->worker);
            }
            return;
        }
        const std::lock_guard<std::mutex> one_region(region_);
        const place here(*this, 0);
        if (tasks == 1 || workers_.empty()) {
            for (std::size_t task = 0; task < tasks; ++task) {
                f(task, 0);
            }
            return;
        }
        auto body = [&f](std::size_t task, int worker) { f(task, worker); };
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

        [[nodiscard]] static const place*& innermost();
        [[nodiscard]] static const place* in(const thread_pool& pool);

        const thread_pool* pool;
        int worker;
        const place* outer;
    };

    void share(std::size_t tasks);
    void serve(int worker);
    /// Takes tasks until there are none; true if that ended the region.
    bool take_tasks(int worker);
    /// Returns once `counter` is no longer `value`. First looks for a short time, since the next region or the end of
    /// the last task is mostly near, and falling asleep and waking cost more; then sleeps. With more threads than cores
    /// it only sleeps: looking would keep a core from a thread that has work. It does not yield between looks: to
    /// another busy process that would give the rest of a time slice, milliseconds.
    void await_change(const std::atomic<int>& counter, int value) const;

    std::mutex region_; // held by the thread whose region it is
    std::chrono::steady_clock::duration patience_{0};

    // The region: written before left_ says that there are tasks, read by threads that own a task.
    call call_ = nullptr;
    void* with_ = nullptr;
    std::size_t tasks_ = 0;
    std::exception_ptr error_; // written by the thread that sets failed_
    std::atomic<bool> failed_{false};
    std::atomic<bool> stopping_{false};

    // On cache lines of their own: threads look at each in a loop while other threads write the others. The counters
    // that threads sleep on are int, which standard libraries hand to the system as it is.
    alignas(64) std::atomic<std::int64_t> left_{0};      // tasks that nobody has taken
    alignas(64) std::atomic<std::size_t> unfinished_{0}; // tasks that have not ended
    alignas(64) std::atomic<int> begun_{0};              // counts regions (and the end of the pool)
    alignas(64) std::atomic<int> ended_{0};              // counts regions that a worker other than the caller ended

    std::vector<std::thread> workers_;
};

} // namespace repaint::detail::cpu

#ifndef REPAINT_COMPILED
#include <repaint/backend/cpu/thread_pool.ipp>
#endif
