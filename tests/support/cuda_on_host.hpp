#pragma once

/// Runs the CUDA kernels of include/repaint/backend/cuda on the host, for tests on machines without a GPU: include this
/// first, then the .cuh files. Every thread of a launch is a fiber of its own; __syncthreads, warp shuffles and barriers
/// over the whole grid wait for each other as they do on a device. Threads run in an order that changes from launch to
/// launch, so that a missing barrier shows. Memory is the host's; a stream does everything at once.

#define REPAINT_CUDA_ON_HOST 1

#include <ucontext.h>

#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#define REPAINT_FIBERS_UNDER_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#define REPAINT_FIBERS_UNDER_ASAN 1
#endif
#endif

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __launch_bounds__(...)

struct dim3 {
    unsigned x = 1;
    unsigned y = 1;
    unsigned z = 1;
    constexpr dim3(unsigned a = 1, unsigned b = 1, unsigned c = 1) : x(a), y(b), z(c) {}
};

namespace cuda_on_host {

inline constexpr unsigned warp = 32;

/// One thread of a launch.
struct fiber {
    enum class waiting { no, for_warp, for_block, for_grid, done };

    ucontext_t context{};
    std::unique_ptr<char[]> stack;
    dim3 thread;
    dim3 block;
    std::size_t block_number = 0;
    waiting state = waiting::no;
    std::uint64_t word = 0; ///< what it gives to a shuffle
    void* fake_stack = nullptr;
};

/// A launch: all blocks that are alive together, each with its memory.
class grid {
public:
    static constexpr std::size_t stack_bytes = std::size_t{64} << 10U;

    grid(const char* name, dim3 blocks, unsigned threads, std::size_t bytes, const std::function<void()>& body)
        : name_(name), blocks_(blocks), threads_(threads), bytes_(bytes), body_(&body) {}

    /// Runs the blocks [first, last) together.
    void run(std::size_t first, std::size_t last) {
        first_ = first;
        const std::size_t count = (last - first) * threads_;
        fibers_.resize(count);
        memory_.assign((last - first) * (bytes_ / sizeof(std::max_align_t) + 1), {});
        for (std::size_t i = 0; i < count; ++i) {
            fiber& f = fibers_[i];
            if (!f.stack) {
                f.stack.reset(new char[stack_bytes]);
            }
            const std::size_t number = first + i / threads_;
            f.block_number = number;
            f.block =
                dim3(static_cast<unsigned>(number % blocks_.x), static_cast<unsigned>(number / blocks_.x % blocks_.y),
                     static_cast<unsigned>(number / blocks_.x / blocks_.y));
            f.thread = dim3(static_cast<unsigned>(i % threads_), 0, 0);
            f.state = fiber::waiting::no;
            ::getcontext(&f.context);
            f.context.uc_stack.ss_sp = f.stack.get();
            f.context.uc_stack.ss_size = stack_bytes;
            f.context.uc_link = nullptr;
            ::makecontext(&f.context, reinterpret_cast<void (*)()>(&grid::enter), 0);
        }
        schedule();
    }

    [[nodiscard]] const fiber& current() const { return *current_; }
    [[nodiscard]] unsigned threads() const { return threads_; }
    [[nodiscard]] dim3 blocks() const { return blocks_; }

    void* block_memory() {
        const std::size_t each = bytes_ / sizeof(std::max_align_t) + 1;
        return memory_.data() + (current_->block_number - first_) * each;
    }

    void wait(fiber::waiting reason) {
        current_->state = reason;
        leave();
    }

    /// What `lane` of this warp gave in this shuffle; all lanes of the warp come here together.
    std::uint64_t shuffle(std::uint64_t word, unsigned lane) {
        current_->word = word;
        wait(fiber::waiting::for_warp); // until everyone has given
        const std::size_t self = static_cast<std::size_t>(current_ - fibers_.data());
        const std::uint64_t result = fibers_[self / warp * warp + lane].word;
        wait(fiber::waiting::for_warp); // until everyone has taken
        return result;
    }

    static grid*& running() {
        static grid* it = nullptr;
        return it;
    }

private:
    static void enter() {
        grid& g = *running();
#if defined(REPAINT_FIBERS_UNDER_ASAN)
        __sanitizer_finish_switch_fiber(nullptr, &g.main_stack_, &g.main_stack_bytes_);
#endif
        (*g.body_)();
        g.current_->state = fiber::waiting::done;
        g.leave();
        std::abort(); // whoever is done is not run again
    }

    void resume(fiber& f) {
        current_ = &f;
#if defined(REPAINT_FIBERS_UNDER_ASAN)
        void* fake = nullptr;
        __sanitizer_start_switch_fiber(&fake, f.stack.get(), stack_bytes);
        ::swapcontext(&main_, &f.context);
        __sanitizer_finish_switch_fiber(fake, nullptr, nullptr);
#else
        ::swapcontext(&main_, &f.context);
#endif
    }

    void leave() {
        fiber& f = *current_;
#if defined(REPAINT_FIBERS_UNDER_ASAN)
        __sanitizer_start_switch_fiber(f.state == fiber::waiting::done ? nullptr : &f.fake_stack, main_stack_,
                                       main_stack_bytes_);
        ::swapcontext(&f.context, &main_);
        __sanitizer_finish_switch_fiber(f.fake_stack, &main_stack_, &main_stack_bytes_);
#else
        ::swapcontext(&f.context, &main_);
#endif
    }

    /// Opens the barriers of groups of `size` fibers whose living members all wait for it. Returns whether one opened.
    bool open(fiber::waiting reason, std::size_t size) {
        bool any = false;
        for (std::size_t begin = 0; begin < fibers_.size(); begin += size) {
            const std::size_t end = std::min(begin + size, fibers_.size());
            std::size_t waiting = 0;
            std::size_t alive = 0;
            for (std::size_t i = begin; i < end; ++i) {
                alive += fibers_[i].state == fiber::waiting::done ? 0U : 1U;
                waiting += fibers_[i].state == reason ? 1U : 0U;
            }
            if (waiting == 0 || waiting < alive) {
                continue;
            }
            any = true;
            for (std::size_t i = begin; i < end; ++i) {
                if (fibers_[i].state == reason) {
                    fibers_[i].state = fiber::waiting::no;
                }
            }
        }
        return any;
    }

    void schedule() {
        static unsigned launches = 0;
        const bool backwards = ++launches % 2 == 0;
        const std::size_t count = fibers_.size();
        for (;;) {
            std::size_t done = 0;
            for (std::size_t k = 0; k < count; ++k) {
                fiber& f = fibers_[backwards ? count - 1 - k : k];
                if (f.state == fiber::waiting::no) {
                    resume(f);
                }
                done += f.state == fiber::waiting::done ? 1U : 0U;
            }
            if (done == count) {
                return;
            }
            // Warps never straddle blocks: blocks are whole warps, or the last is a part of one.
            const bool warps = open(fiber::waiting::for_warp, warp);
            const bool blocks = open(fiber::waiting::for_block, threads_);
            const bool all = open(fiber::waiting::for_grid, count);
            if (!warps && !blocks && !all) {
                throw std::logic_error(std::string("the kernel of ") + name_ +
                                       " hangs: its threads wait at different barriers");
            }
        }
    }

    const char* name_;
    dim3 blocks_;
    unsigned threads_;
    std::size_t bytes_;
    const std::function<void()>* body_;
    std::size_t first_ = 0;
    std::vector<fiber> fibers_;
    std::vector<std::max_align_t> memory_;
    fiber* current_ = nullptr;
    ucontext_t main_{};
    const void* main_stack_ = nullptr;
    std::size_t main_stack_bytes_ = 0;
};

/// Blocks that a cooperative launch can have: those the substitute keeps alive together.
inline constexpr std::size_t cooperative_blocks = 16;

/// kernel: called once by every thread. cooperative: all blocks are alive together.
inline void run(const char* name, dim3 blocks, int threads, std::size_t bytes, const std::function<void()>& kernel,
                bool cooperative = false) {
    const std::size_t count = std::size_t{blocks.x} * blocks.y * blocks.z;
    if (threads < 1 || threads > 1024 || threads % static_cast<int>(warp) != 0) {
        throw std::logic_error(std::string(name) + ": blocks of " + std::to_string(threads) + " threads");
    }
    if (bytes > (std::size_t{227} << 10U)) {
        throw std::logic_error(std::string(name) + ": " + std::to_string(bytes) + " bytes of block memory");
    }
    grid g(name, blocks, static_cast<unsigned>(threads), bytes, kernel);
    grid::running() = &g;
    const std::size_t together = cooperative ? count : 1;
    for (std::size_t first = 0; first < count; first += together) {
        g.run(first, std::min(first + together, count));
    }
    grid::running() = nullptr;
}

inline void* block_memory() { return grid::running()->block_memory(); }
inline void grid_barrier() { grid::running()->wait(fiber::waiting::for_grid); }

template <class T> T shuffle(T value, unsigned lane) {
    static_assert(sizeof(T) <= sizeof(std::uint64_t));
    std::uint64_t word = 0;
    std::memcpy(&word, &value, sizeof value);
    word = grid::running()->shuffle(word, lane);
    std::memcpy(&value, &word, sizeof value);
    return value;
}

inline unsigned lane() { return grid::running()->current().thread.x % warp; }

} // namespace cuda_on_host

#define threadIdx (::cuda_on_host::grid::running()->current().thread)
#define blockIdx (::cuda_on_host::grid::running()->current().block)
#define blockDim (::dim3(::cuda_on_host::grid::running()->threads()))
#define gridDim (::cuda_on_host::grid::running()->blocks())

inline void __syncthreads() { ::cuda_on_host::grid::running()->wait(::cuda_on_host::fiber::waiting::for_block); }
inline void __syncwarp(unsigned = 0xFFFFFFFFU) {
    ::cuda_on_host::grid::running()->wait(::cuda_on_host::fiber::waiting::for_warp);
}
template <class T> T __shfl_xor_sync(unsigned, T value, int mask) {
    return ::cuda_on_host::shuffle(value, ::cuda_on_host::lane() ^ static_cast<unsigned>(mask));
}
template <class T> T __shfl_down_sync(unsigned, T value, unsigned by) {
    const unsigned lane = ::cuda_on_host::lane();
    return ::cuda_on_host::shuffle(value, lane + by < ::cuda_on_host::warp ? lane + by : lane);
}
template <class T> T __shfl_sync(unsigned, T value, int lane) {
    return ::cuda_on_host::shuffle(value, static_cast<unsigned>(lane) % ::cuda_on_host::warp);
}

// ---- the types of elements -------------------------------------------------------------------------------------------

struct __half {
    std::uint16_t bits = 0;
};
struct __nv_bfloat16 {
    std::uint16_t bits = 0;
};

inline float __bfloat162float(__nv_bfloat16 value) {
    return std::bit_cast<float>(static_cast<std::uint32_t>(value.bits) << 16U);
}

inline __nv_bfloat16 __float2bfloat16_rn(float value) {
    const auto bits = std::bit_cast<std::uint32_t>(value);
    if (value != value) {
        return {0x7FFF};
    }
    return {static_cast<std::uint16_t>((bits + 0x7FFFU + (bits >> 16U & 1U)) >> 16U)};
}

inline float __half2float(__half value) {
    const std::uint32_t sign = static_cast<std::uint32_t>(value.bits & 0x8000U) << 16U;
    const std::uint32_t exponent = value.bits >> 10U & 0x1FU;
    const std::uint32_t fraction = value.bits & 0x3FFU;
    if (exponent == 31U) {
        return std::bit_cast<float>(sign | 0x7F800000U | fraction << 13U);
    }
    if (exponent == 0U) {
        const float magnitude = static_cast<float>(fraction) * 0x1p-24F;
        return sign != 0U ? -magnitude : magnitude;
    }
    return std::bit_cast<float>(sign | (exponent + 112U) << 23U | fraction << 13U);
}

inline __half __float2half_rn(float value) {
    const auto bits = std::bit_cast<std::uint32_t>(value);
    const auto sign = static_cast<std::uint16_t>(bits >> 16U & 0x8000U);
    if (value != value) {
        return {0x7FFF};
    }
    const float magnitude = std::fabs(value);
    if (magnitude >= 65520.0F) {
        return {static_cast<std::uint16_t>(sign | 0x7C00U)};
    }
    if (magnitude < 0x1p-14F) { // in steps of 2^-24; the product is exact, nearbyint rounds to even
        return {static_cast<std::uint16_t>(sign | static_cast<std::uint16_t>(std::nearbyint(magnitude * 0x1p24F)))};
    }
    const auto rounded = std::bit_cast<std::uint32_t>(magnitude) + 0xFFFU + (bits >> 13U & 1U);
    return {static_cast<std::uint16_t>(sign | (rounded - (112U << 23U)) >> 13U)};
}

// ---- the runtime -----------------------------------------------------------------------------------------------------

enum cudaError_t { cudaSuccess = 0, cudaErrorMemoryAllocation = 2 };
using cudaStream_t = void*;

inline const char* cudaGetErrorName(cudaError_t status) {
    return status == cudaSuccess ? "cudaSuccess" : "cudaErrorMemoryAllocation";
}
inline const char* cudaGetErrorString(cudaError_t status) {
    return status == cudaSuccess ? "no error" : "out of memory";
}
inline cudaError_t cudaGetLastError() { return cudaSuccess; }

enum cudaMemcpyKind { cudaMemcpyHostToDevice = 1, cudaMemcpyDeviceToHost = 2, cudaMemcpyDeviceToDevice = 3 };

inline cudaError_t cudaMemcpyAsync(void* to, const void* from, std::size_t bytes, cudaMemcpyKind, cudaStream_t) {
    std::memcpy(to, from, bytes);
    return cudaSuccess;
}
inline cudaError_t cudaMemsetAsync(void* to, int value, std::size_t bytes, cudaStream_t) {
    std::memset(to, value, bytes);
    return cudaSuccess;
}
inline cudaError_t cudaStreamSynchronize(cudaStream_t) { return cudaSuccess; }

/// Fresh memory of a device is nobody's: filled with what shows as NaN in every type.
inline cudaError_t cudaMalloc(void** memory, std::size_t bytes) {
    *memory = std::aligned_alloc(256, (bytes + 255) / 256 * 256);
    if (*memory == nullptr) {
        return cudaErrorMemoryAllocation;
    }
    std::memset(*memory, 0xFF, bytes);
    return cudaSuccess;
}
inline cudaError_t cudaFree(void* memory) {
    std::free(memory);
    return cudaSuccess;
}
inline cudaError_t cudaMemGetInfo(std::size_t* available, std::size_t* all) {
    *available = *all = std::size_t{1} << 40U;
    return cudaSuccess;
}
