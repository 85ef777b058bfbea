#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include <repaint/backend/cpu/kernels.hpp>
#include <repaint/backend/cpu/probe.hpp>
#include <repaint/config.hpp>

namespace repaint {

/// The kinds of work inside the primitives of cpu_backend. products: sums of products, of convolutions, linear layers
/// and attention. input, weights, output: Winograd's transforms, output with bias, residual and activation. finish:
/// bias, residual and activation of other convolutions. statistics, normalise: of GroupNorm. softmax. copies:
/// transposing, scaling and resizing.
enum class cpu_work { products, input, weights, output, finish, statistics, normalise, softmax, copies };
inline constexpr std::size_t cpu_works = 9;

/// "products", "input", "weights", "output", "finish", "statistics", "normalise", "softmax", "copies".
[[nodiscard]] std::string_view to_string(cpu_work work);

/// Where the time of one kind of call went. seconds: from its beginning to the beginning of the next primitive, on the
/// clock. work: seconds of all threads within kernels, by cpu_work; what threads times `seconds` leaves is waiting, and
/// code around the kernels. multiply_adds: of the products as they were computed, which Winograd's method has fewer of.
struct cpu_layer_time {
    cpu_call call;
    std::uint64_t calls = 0;
    double seconds = 0.0;
    std::array<double, cpu_works> work{};
    double multiply_adds = 0.0;
};

/// A probe that measures the kernels of a cpu_backend. Give its address as cpu_options::probe; it must outlive the
/// backend. One at a time measures in a process. It costs about a percent.
class cpu_profile final : public cpu_probe {
public:
    cpu_profile();
    cpu_profile(const cpu_profile&) = delete;
    cpu_profile& operator=(const cpu_profile&) = delete;
    ~cpu_profile();

    const detail::cpu::kernel_table& begin(const cpu_call& call, const detail::cpu::kernel_table& kernels) override;

    /// Ends the call that is measured, and returns what was found since the last time, in the order of first calls.
    [[nodiscard]] std::vector<cpu_layer_time> take();

private:
    struct counters;

    void end();

    std::vector<std::unique_ptr<counters>> layers_;
    counters* running_ = nullptr;
    std::chrono::steady_clock::time_point began_;
    std::unique_ptr<detail::cpu::kernel_table> timed_;
};

} // namespace repaint

#ifndef REPAINT_COMPILED
#include <repaint/backend/cpu/profile.ipp>
#endif
