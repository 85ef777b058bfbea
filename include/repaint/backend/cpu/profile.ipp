#pragma once

#include <algorithm>

#include <repaint/backend/cpu/layout.hpp>
#include <repaint/backend/cpu/profile.hpp>

namespace repaint {

/// Nanoseconds and products, added to by all threads.
struct cpu_profile::counters {
    cpu_call call;
    std::uint64_t calls = 0;
    double seconds = 0.0;
    std::array<std::atomic<std::uint64_t>, cpu_works> nanoseconds{};
    std::atomic<std::uint64_t> multiply_adds{0};
};

namespace detail::cpu {

/// What the timed kernels, which are plain functions, have in common: the kernels that work, and what they add to.
struct kernel_clock {
    const kernel_table* kernels = nullptr;
    std::array<std::atomic<std::uint64_t>, cpu_works>* nanoseconds = nullptr;
    std::atomic<std::uint64_t>* multiply_adds = nullptr;
};

REPAINT_INLINE kernel_clock& running_clock() {
    static kernel_clock clock;
    return clock;
}

inline std::uint64_t products_of(const row_source& a, int rows, const packed_matrix&, int blocks, float*,
                                 std::ptrdiff_t, bool) {
    const auto depth = size_of(a.planes - 1) * size_of(a.depth) + size_of(a.last_depth);
    return depth * size_of(a.taps) * size_of(rows) * size_of(blocks * lanes);
}

/// A kernel of the same type as `Kernel`, a member of kernel_table, that counts its time as Work.
template <cpu_work Work, auto Kernel> struct timed_kernel;
template <cpu_work Work, class R, class... A, R (*kernel_table::*Kernel)(A...)> struct timed_kernel<Work, Kernel> {
    static R call(A... a) {
        struct stopwatch {
            std::chrono::steady_clock::time_point began = std::chrono::steady_clock::now();
            stopwatch() = default;
            stopwatch(const stopwatch&) = delete;
            stopwatch& operator=(const stopwatch&) = delete;
            ~stopwatch() {
                const auto took = std::chrono::steady_clock::now() - began;
                (*running_clock().nanoseconds)[static_cast<std::size_t>(Work)].fetch_add(
                    static_cast<std::uint64_t>(std::chrono::nanoseconds(took).count()), std::memory_order_relaxed);
            }
        };
        const kernel_clock& clock = running_clock();
        if constexpr (Work == cpu_work::products) {
            clock.multiply_adds->fetch_add(products_of(a...), std::memory_order_relaxed);
        }
        const stopwatch watch;
        return (clock.kernels->*Kernel)(a...);
    }
};

template <cpu_work Work, auto Kernel> void time_kernel(kernel_table& table) {
    table.*Kernel = timed_kernel<Work, Kernel>::call;
}

} // namespace detail::cpu

REPAINT_INLINE std::string_view to_string(cpu_work work) {
    static constexpr std::array<std::string_view, cpu_works> names{
        "products", "input", "weights", "output", "finish", "statistics", "normalise", "softmax", "copies"};
    return names[static_cast<std::size_t>(work)];
}

REPAINT_INLINE cpu_profile::cpu_profile() = default;
REPAINT_INLINE cpu_profile::~cpu_profile() = default;

REPAINT_INLINE const detail::cpu::kernel_table& cpu_profile::begin(const cpu_call& call,
                                                                   const detail::cpu::kernel_table& kernels) {
    using detail::cpu::kernel_table;
    using detail::cpu::time_kernel;
    end();
    if (!timed_) {
        timed_ = std::make_unique<kernel_table>(kernels);
        kernel_table& t = *timed_;
        time_kernel<cpu_work::products, &kernel_table::multiply>(t);
        time_kernel<cpu_work::input, &kernel_table::winograd_input2>(t);
        time_kernel<cpu_work::input, &kernel_table::winograd_input4>(t);
        time_kernel<cpu_work::weights, &kernel_table::winograd_weights2>(t);
        time_kernel<cpu_work::weights, &kernel_table::winograd_weights4>(t);
        time_kernel<cpu_work::output, &kernel_table::winograd_output2>(t);
        time_kernel<cpu_work::output, &kernel_table::winograd_output4>(t);
        time_kernel<cpu_work::finish, &kernel_table::finish>(t);
        time_kernel<cpu_work::statistics, &kernel_table::moments>(t);
        time_kernel<cpu_work::normalise, &kernel_table::normalise>(t);
        time_kernel<cpu_work::softmax, &kernel_table::softmax>(t);
        time_kernel<cpu_work::copies, &kernel_table::scale>(t);
        time_kernel<cpu_work::copies, &kernel_table::double_row>(t);
        time_kernel<cpu_work::copies, &kernel_table::halve_rows>(t);
        time_kernel<cpu_work::copies, &kernel_table::transpose>(t);
    }
    const auto found = std::find_if(layers_.begin(), layers_.end(), [&](const auto& l) { return l->call == call; });
    if (found == layers_.end()) {
        running_ = layers_.emplace_back(std::make_unique<counters>()).get();
        running_->call = call;
    } else {
        running_ = found->get();
    }
    ++running_->calls;
    detail::cpu::running_clock() = {&kernels, &running_->nanoseconds, &running_->multiply_adds};
    began_ = std::chrono::steady_clock::now();
    return *timed_;
}

REPAINT_INLINE void cpu_profile::end() {
    if (running_ != nullptr) {
        running_->seconds += std::chrono::duration<double>(std::chrono::steady_clock::now() - began_).count();
        running_ = nullptr;
    }
}

REPAINT_INLINE std::vector<cpu_layer_time> cpu_profile::take() {
    end();
    std::vector<cpu_layer_time> found;
    for (const auto& layer : layers_) {
        cpu_layer_time& time = found.emplace_back();
        time.call = layer->call;
        time.calls = layer->calls;
        time.seconds = layer->seconds;
        time.multiply_adds = static_cast<double>(layer->multiply_adds);
        for (std::size_t i = 0; i < cpu_works; ++i) {
            time.work[i] = 1e-9 * static_cast<double>(layer->nanoseconds[i]);
        }
    }
    layers_.clear();
    return found;
}

} // namespace repaint
