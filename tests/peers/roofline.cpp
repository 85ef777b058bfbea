// What this processor can do at most, measured: multiply-adds in registers and reading of arrays of several sizes, on
// all threads at once. Prints JSON. Compiled by roofline.py, for 256 or 512 bits (-D BITS=...).
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <thread>
#include <vector>

namespace {

constexpr std::size_t width = BITS / 32;
typedef float vector __attribute__((vector_size(BITS / 8)));

volatile float sink;

double now() {
    return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

/// Multiply-adds of `rounds` rounds of twelve independent chains: enough to hide the latency of two units of five
/// cycles.
double multiply_add(long rounds) {
    vector sums[12];
    for (int i = 0; i < 12; ++i) {
        sums[i] = vector{} + static_cast<float>(i);
    }
    vector a = vector{} + 0.999F;
    vector b = vector{} + 0.001F;
    for (long r = 0; r < rounds; ++r) {
        for (auto& sum : sums) {
            sum = sum * a + b;
        }
        asm volatile("" : "+v"(a), "+v"(b));
    }
    float total = 0.0F;
    for (const auto& sum : sums) {
        total += sum[0];
    }
    sink = total;
    return 12.0 * width * static_cast<double>(rounds);
}

/// Bytes read of an array, again and again.
double read(const std::vector<vector>& values, long rounds) {
    vector sums[8] = {};
    for (long r = 0; r < rounds; ++r) {
        const vector* at = values.data();
        const vector* const end = at + values.size() / 8 * 8;
        for (; at != end; at += 8) {
            for (int i = 0; i < 8; ++i) {
                sums[i] += at[i];
            }
        }
        asm volatile("" ::"v"(sums[0]), "v"(sums[1]), "v"(sums[2]), "v"(sums[3]) : "memory");
    }
    float total = 0.0F;
    for (const auto& sum : sums) {
        total += sum[0];
    }
    sink = total;
    return static_cast<double>(values.size() / 8 * 8 * sizeof(vector)) * static_cast<double>(rounds);
}

/// What all threads do in a second, at best of five times: work(thread, rounds) returns how much it did.
template <class Work> double rate(int threads, long rounds, Work work) {
    double best = 0.0;
    for (int attempt = 0; attempt < 5; ++attempt) {
        std::atomic<int> ready{0};
        std::vector<double> done(static_cast<std::size_t>(threads));
        std::vector<double> took(static_cast<std::size_t>(threads));
        std::vector<std::thread> workers;
        for (int t = 0; t < threads; ++t) {
            workers.emplace_back([&, t] {
                ++ready;
                while (ready < threads) {
                }
                const double start = now();
                done[static_cast<std::size_t>(t)] = work(t, rounds);
                took[static_cast<std::size_t>(t)] = now() - start;
            });
        }
        double sum = 0.0;
        for (int t = 0; t < threads; ++t) {
            workers[static_cast<std::size_t>(t)].join();
            sum += done[static_cast<std::size_t>(t)] / took[static_cast<std::size_t>(t)];
        }
        best = std::max(best, sum);
    }
    return best;
}

} // namespace

int main(int argc, char** argv) {
    const int threads = std::atoi(argv[1]);
    std::printf("{\"bits\": %d, \"threads\": %d, \"gflops\": %.1f, \"read\": [", BITS, threads,
                2e-9 * rate(threads, 20'000'000, [](int, long rounds) { return multiply_add(rounds); }));
    for (int i = 2; i < argc; ++i) {
        const std::size_t bytes = std::strtoull(argv[i], nullptr, 10);
        std::vector<std::vector<vector>> arrays(static_cast<std::size_t>(threads),
                                                std::vector<vector>(bytes / sizeof(vector), vector{} + 1.0F));
        const long rounds = std::max<long>(2, static_cast<long>((std::size_t{1} << 31U) / bytes));
        const double gbytes = 1e-9 * rate(threads, rounds, [&](int t, long r) {
            return read(arrays[static_cast<std::size_t>(t)], r);
        });
        std::printf("%s{\"bytes\": %zu, \"gbytes\": %.1f}", i == 2 ? "" : ", ", bytes, gbytes);
    }
    std::printf("]}\n");
}
