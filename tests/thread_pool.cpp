#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <ctime>
#include <filesystem>
#include <limits>
#include <memory>
#include <numeric>
#include <stdexcept>
#include <string>
#include <thread>
#include <type_traits>
#include <vector>

#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <repaint/backend/cpu/cores.hpp>
#include <repaint/backend/cpu/thread_pool.hpp>

#include "support/catch.hpp"
#include "support/hostile.hpp"

// Catch2's assertions are for one thread: tasks write down what they see, the test looks at it afterwards. What tasks
// write is nowhere atomic unless the test needs it, so that the thread sanitizer judges what run() promises.

namespace {

using repaint::detail::cpu::available_cores;
using repaint::detail::cpu::cpu_quota;
using repaint::detail::cpu::thread_pool;

static_assert(!std::is_copy_constructible_v<thread_pool> && !std::is_move_constructible_v<thread_pool>);
static_assert(!std::is_copy_assignable_v<thread_pool> && !std::is_move_assignable_v<thread_pool>);

/// Waits until as many threads have arrived; false if that takes 20 s, which means never even on a busy machine.
bool meet(std::atomic<int>& arrived, int expected) {
    const auto late = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    ++arrived;
    while (arrived < expected) {
        if (std::chrono::steady_clock::now() > late) {
            return false;
        }
        std::this_thread::yield();
    }
    return true;
}

void twice(std::size_t task, int) {
    static std::array<std::atomic<int>, 2> calls{};
    if (++calls[task] > 1) {
        throw std::runtime_error("twice");
    }
}

} // namespace

TEST_CASE("every task is run once, by a worker that there is", "[threads]") {
    for (int threads = 1; threads <= 8; ++threads) {
        thread_pool pool(threads);
        REQUIRE(pool.threads() == threads);
        for (const std::size_t tasks : {0U, 1U, 2U, 7U, 1000U, 3U}) {
            std::vector<int> calls(tasks, 0);
            std::vector<int> workers(tasks, -1);
            pool.run(tasks, [&](std::size_t task, int worker) {
                calls.at(task) += 1;
                workers.at(task) = worker;
            });
            CAPTURE(threads, tasks);
            CHECK(std::all_of(calls.begin(), calls.end(), [](int n) { return n == 1; }));
            CHECK(std::all_of(workers.begin(), workers.end(), [&](int w) { return w >= 0 && w < threads; }));
        }
    }
}

TEST_CASE("a pool without regions starts and ends", "[threads]") {
    for (int again = 0; again < 50; ++again) {
        const thread_pool pool(1 + again % 4);
        CHECK(pool.threads() == 1 + again % 4);
    }
}

TEST_CASE("zero threads mean as many as cores, fewer are refused", "[threads]") {
    CHECK(available_cores() >= 1);
    CHECK(thread_pool(0).threads() == available_cores());
    REQUIRE_THROWS_AS(thread_pool(-3), std::invalid_argument);
    REQUIRE_THROWS_WITH(thread_pool(-3), contains("-3") && contains("0 for as many as there are cores"));
}

TEST_CASE("the threads work at the same time, also after they slept", "[threads]") {
    thread_pool pool(3);
    for (int again = 0; again < 5; ++again) {
        std::atomic<int> arrived{0};
        std::array<bool, 3> met{};
        std::array<int, 3> workers{};
        pool.run(3, [&](std::size_t task, int worker) {
            workers[task] = worker;
            met[task] = meet(arrived, 3);
        });
        CHECK(met == std::array<bool, 3>{true, true, true});
        std::sort(workers.begin(), workers.end());
        CHECK(workers == std::array<int, 3>{0, 1, 2});
        std::this_thread::sleep_for(std::chrono::milliseconds(again));
    }
}

TEST_CASE("thousands of small regions in a row", "[threads]") {
    for (const int threads : {2, 4}) {
        thread_pool pool(threads);
        std::vector<long> sums(5, 0);
        std::vector<long> by_worker(static_cast<std::size_t>(threads), 0);
        long expected = 0;
        bool right = true;
        for (int region = 0; region < 10000; ++region) {
            const std::size_t tasks = 1 + static_cast<std::size_t>(region) % sums.size();
            std::fill(sums.begin(), sums.end(), 0L);
            pool.run(tasks, [&](std::size_t task, int worker) {
                if (region % 2 == 0) { // about as long as it takes another thread to notice, so that all are at it
                    const auto until = std::chrono::steady_clock::now() + std::chrono::microseconds(1);
                    while (std::chrono::steady_clock::now() < until) {
                    }
                }
                sums[task] = region + static_cast<long>(task);
                ++by_worker[static_cast<std::size_t>(worker)];
            });
            for (std::size_t task = 0; task < sums.size(); ++task) {
                right = right && sums[task] == (task < tasks ? region + static_cast<long>(task) : 0);
            }
            expected += static_cast<long>(tasks);
        }
        CHECK(right);
        CHECK(std::accumulate(by_worker.begin(), by_worker.end(), 0L) == expected);
    }
}

TEST_CASE("pauses of any length between regions lose no wake-up", "[threads]") {
    // Around the time after which workers fall asleep, where a wake-up would get lost if one could.
    thread_pool pool(2);
    std::size_t sum = 0;
    for (int region = 0; region < 2000; ++region) {
        const auto until = std::chrono::steady_clock::now() + std::chrono::microseconds(region % 100);
        while (std::chrono::steady_clock::now() < until) {
        }
        std::array<std::size_t, 4> seen{};
        pool.run(4, [&](std::size_t task, int) { seen[task] = task + 1; });
        sum += seen[0] + seen[1] + seen[2] + seen[3];
    }
    CHECK(sum == 2000 * 10);
}

TEST_CASE("more threads than cores finish", "[threads]") {
    thread_pool pool(std::max(8, 4 * available_cores()));
    std::vector<double> results(64);
    for (int region = 0; region < 200; ++region) {
        pool.run(results.size(), [&](std::size_t task, int) {
            double sum = 0;
            for (int i = 1; i < 1000; ++i) {
                sum += 1.0 / (i + static_cast<double>(task) + region);
            }
            results[task] = sum;
        });
        REQUIRE(std::all_of(results.begin(), results.end(), [](double sum) { return sum > 0; }));
        std::fill(results.begin(), results.end(), 0.0);
    }
}

TEST_CASE("an exception of a task comes out of run", "[threads]") {
    const int threads = GENERATE(1, 2, 4);
    CAPTURE(threads);
    thread_pool pool(threads);

    SECTION("the first one, after the tasks that had begun") {
        for (int again = 0; again < 200; ++again) {
            std::atomic<int> running{0};
            std::atomic<int> begun{0};
            std::string message;
            try {
                pool.run(1000, [&](std::size_t task, int) {
                    ++begun;
                    ++running;
                    std::this_thread::yield();
                    --running;
                    if (task == 3) {
                        throw std::runtime_error("task 3 failed");
                    }
                });
            } catch (const std::runtime_error& e) {
                message = e.what();
            }
            REQUIRE(message == "task 3 failed");
            REQUIRE(running == 0);
            REQUIRE(begun >= 4);
            if (threads == 1) {
                REQUIRE(begun == 4);
            }
        }
    }
    SECTION("one of many") {
        for (int again = 0; again < 100; ++again) {
            CHECK_THROWS_AS(pool.run(100, [](std::size_t task, int) { throw static_cast<int>(task); }), int);
        }
    }
    SECTION("of the only task, and of the last one") {
        for (const std::size_t tasks : {1U, 2U, 5U}) {
            CHECK_THROWS_AS(pool.run(tasks,
                                     [&](std::size_t task, int) {
                                         if (task + 1 == tasks) {
                                             throw std::out_of_range("last");
                                         }
                                     }),
                            std::out_of_range);
        }
    }
    std::vector<int> calls(100, 0);
    pool.run(calls.size(), [&](std::size_t task, int) { ++calls[task]; });
    CHECK(std::all_of(calls.begin(), calls.end(), [](int n) { return n == 1; }));
}

TEST_CASE("after an exception the tasks not begun are left out", "[threads]") {
    thread_pool pool(2);
    std::atomic<int> arrived{0};
    std::atomic<int> begun{0};
    CHECK_THROWS_AS(pool.run(100000,
                             [&](std::size_t task, int) {
                                 ++begun;
                                 if (task < 2) { // both threads are at work before anything is thrown
                                     meet(arrived, 2);
                                     throw std::runtime_error("both");
                                 }
                             }),
                    std::runtime_error);
    // The second thread may take some tasks between the first one's exception and its own, but not nearly all.
    CHECK(begun >= 2);
    CHECK(begun < 100000);
}

TEST_CASE("a region inside a task runs on the task's worker", "[threads]") {
    for (const int threads : {1, 2, 4}) {
        thread_pool pool(threads);
        std::vector<int> inside(8, 0);
        std::vector<int> elsewhere(8, 0);
        for (int region = 0; region < 50; ++region) {
            pool.run(inside.size(), [&](std::size_t task, int worker) {
                pool.run(5, [&](std::size_t, int here) {
                    pool.run(2, [&](std::size_t, int innermost) {
                        ++inside[task];
                        elsewhere[task] += here != worker || innermost != worker;
                    });
                });
            });
        }
        CHECK(inside == std::vector<int>(8, 500));
        CHECK(elsewhere == std::vector<int>(8, 0));

        CHECK_THROWS_AS(
            pool.run(
                4, [&](std::size_t, int) { pool.run(4, [](std::size_t, int) { throw std::runtime_error("inner"); }); }),
            std::runtime_error);
        int only = -1;
        pool.run(1, [&](std::size_t, int) { pool.run(1, [&](std::size_t, int worker) { only = worker; }); });
        CHECK(only == 0);
    }
}

TEST_CASE("regions of two pools inside one another", "[threads]") {
    thread_pool outer(2);
    thread_pool inner(2);
    std::vector<int> calls(6, 0);
    std::vector<int> wrong(6, 0);
    outer.run(calls.size(), [&](std::size_t task, int worker) {
        std::array<int, 3> parts{};
        inner.run(parts.size(), [&](std::size_t part, int) { parts[part] = 1; });
        inner.run(1, [&](std::size_t, int) {
            outer.run(2, [&](std::size_t, int again) { wrong[task] += again != worker; });
        });
        calls[task] = parts[0] + parts[1] + parts[2];
    });
    CHECK(calls == std::vector<int>(6, 3));
    CHECK(wrong == std::vector<int>(6, 0));
}

TEST_CASE("regions of several threads come one after the other", "[threads]") {
    for (const int threads : {1, 3}) {
        thread_pool pool(threads);
        std::vector<long> scratch(static_cast<std::size_t>(threads), 0); // a race if a worker were in two tasks at once
        const auto use = [&](std::size_t regions) {
            for (std::size_t region = 0; region < regions; ++region) {
                pool.run(region % 4, [&](std::size_t, int worker) { ++scratch[static_cast<std::size_t>(worker)]; });
            }
        };
        std::thread other([&] { use(2000); });
        use(2000);
        other.join();
        CHECK(std::accumulate(scratch.begin(), scratch.end(), 0L) == 2 * 2000 * 6 / 4);
    }
}

TEST_CASE("anything that can be called is a task", "[threads]") {
    thread_pool pool(2);
    CHECK_NOTHROW(pool.run(2, twice));
    CHECK_THROWS_AS(pool.run(2, &twice), std::runtime_error);

    std::array<int, 2> seen{};
    const auto constant = [&](std::size_t task, int) { seen[task] += 1; };
    pool.run(2, constant);
    pool.run(2, [&, only = std::make_unique<int>(10)](std::size_t task, int) mutable { seen[task] += *only; });
    CHECK(seen == std::array<int, 2>{11, 11});
}

TEST_CASE("an idle pool uses no processor time", "[threads]") {
    thread_pool pool(4);
    pool.run(100, [](std::size_t, int) {});
    const std::clock_t before = std::clock(); // of all threads of the process
    std::this_thread::sleep_for(std::chrono::milliseconds(300));
    const double seconds = static_cast<double>(std::clock() - before) / CLOCKS_PER_SEC;
    CHECK(seconds < 0.1); // looking out all the time would take 0.3 s on one core and more on several
}

TEST_CASE("signals are for the program's threads", "[threads]") {
    thread_pool pool(2);
    std::atomic<int> arrived{0};
    std::array<sigset_t, 2> blocked{};
    pool.run(2, [&](std::size_t, int worker) {
        pthread_sigmask(SIG_BLOCK, nullptr, &blocked[static_cast<std::size_t>(worker)]);
        meet(arrived, 2);
    });
    REQUIRE(arrived == 2);
    for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGALRM, SIGCHLD, SIGUSR1}) {
        CAPTURE(signal);
        CHECK(sigismember(&blocked[1], signal) == 1);
        CHECK(sigismember(&blocked[0], signal) == 0);
    }
    CHECK(sigismember(&blocked[1], SIGSEGV) == 0);
    CHECK(sigismember(&blocked[1], SIGPROF) == 0);
}

#if defined(__linux__)
TEST_CASE("what the control group grants bounds the threads", "[threads]") {
    constexpr double unlimited = std::numeric_limits<double>::infinity();
    const temporary_folder folder;
    const auto quota = [&](const std::string& membership) {
        write_text(folder / "membership", membership);
        return cpu_quota((folder / "membership").string(), (folder / "root").string());
    };
    const auto write = [&](const std::string& name, const std::string& text) {
        const auto path = folder / ("root/" + name);
        std::filesystem::create_directories(path.parent_path());
        write_text(path, text);
    };
    CHECK(cpu_quota((folder / "nothing").string(), (folder / "root").string()) == unlimited);
    CHECK(quota("0::/\n") == unlimited);

    SECTION("version 2") {
        write("a/cpu.max", "300000 100000\n");
        write("a/b/cpu.max", "max 100000\n");
        write("a/c/cpu.max", "150000 100000\n");
        CHECK(quota("0::/\n") == unlimited);
        CHECK(quota("0::/a\n") == 3);
        CHECK(quota("0::/a/b\n") == 3);
        CHECK(quota("0::/a/c/not/mounted\n") == 1.5);
        write("cpu.max", "50000 100000\n");
        CHECK(quota("0::/a/c") == 0.5);
        CHECK(quota("0::/elsewhere/../a\n") == 0.5);
    }
    SECTION("version 1") {
        write("cpu/docker/one/cpu.cfs_quota_us", "250000\n");
        write("cpu/docker/one/cpu.cfs_period_us", "100000\n");
        write("cpu/cpu.cfs_quota_us", "-1\n");
        write("cpu/cpu.cfs_period_us", "100000\n");
        CHECK(quota("5:memory:/docker/one\n4:cpu,cpuacct:/docker/one\n0::/\n") == 2.5);
        CHECK(quota("2:cpuacct:/docker/one\n1:cpu:/docker/two\n") == unlimited);
    }
    SECTION("text that is none of both") {
        write("cpu.max", "many\n");
        write("x/cpu.max", "100000 0\n");
        write("y/cpu.max", "");
        for (const char* membership :
             {"", "\n\n", "0", "0:", "::", "0::", "0::x", "0::/x", "0::/y", "0:cpu:", "a:,:/x"}) {
            CAPTURE(membership);
            CHECK(quota(membership) == unlimited);
        }
    }
}

TEST_CASE("with fewer threads than asked for the work is done", "[threads]") {
    // In a process of its own that the system lets start no thread: nobody but root is bound by the limit, so root
    // becomes nobody there.
    const pid_t child = fork();
    REQUIRE(child >= 0);
    if (child == 0) {
        const rlimit none{1, 1};
        if ((geteuid() == 0 && (setgid(65534) != 0 || setuid(65534) != 0)) || setrlimit(RLIMIT_NPROC, &none) != 0) {
            _exit(77);
        }
        thread_pool pool(4);
        std::vector<int> calls(10, 0);
        pool.run(calls.size(), [&](std::size_t task, int) { ++calls[task]; });
        _exit(calls != std::vector<int>(10, 1) ? 1 : pool.threads() == 1 ? 0 : 2);
    }
    int status = 0;
    REQUIRE(waitpid(child, &status, 0) == child);
    REQUIRE(WIFEXITED(status));
    if (WEXITSTATUS(status) == 77) {
        WARN("the limit cannot be set here");
    } else {
        CHECK(WEXITSTATUS(status) == 0);
    }
}
#endif
