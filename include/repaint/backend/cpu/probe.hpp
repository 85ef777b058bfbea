#pragma once

#include <repaint/core/shape.hpp>

namespace repaint {

namespace detail::cpu {
struct kernel_table;
} // namespace detail::cpu

/// What a primitive of cpu_backend does.
enum class cpu_primitive { conv2d, group_norm, attention, resize, gradient, diffusion, other };

/// A primitive that begins: what it does, and the shapes of what it reads, of its weights (convolutions) and of its
/// result.
struct cpu_call {
    cpu_primitive primitive = cpu_primitive::other;
    shape4 input{};
    shape4 weights{};
    shape4 output{};

    friend bool operator==(const cpu_call&, const cpu_call&) = default;
};

/// A probe is told of every primitive of a cpu_backend (cpu_options::probe) and chooses the kernels it runs on. See
/// cpu_profile.
class cpu_probe {
public:
    /// Returns the kernels for a primitive that begins: those given, or others that compute the same. Called by the
    /// thread that uses the backend, before any other works for the primitive.
    virtual const detail::cpu::kernel_table& begin(const cpu_call& call, const detail::cpu::kernel_table& kernels) = 0;

protected:
    cpu_probe() = default;
    cpu_probe(const cpu_probe&) = default;
    cpu_probe& operator=(const cpu_probe&) = default;
    ~cpu_probe() = default;
};

} // namespace repaint
