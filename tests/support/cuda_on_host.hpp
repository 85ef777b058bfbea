#pragma once

/// Runs the CUDA kernels of include/repaint/backend/cuda on the host, for tests on machines without a GPU: include this
/// first, then the .cuh files. Every thread of a launch is a fiber of its own; __syncthreads, warp shuffles and barriers
/// over the whole grid wait for each other as they do on a device. Threads run in an order that changes from launch to
/// launch, so that a missing barrier shows. Memory is the host's; a stream does everything at
/// once, but for what is captured into a graph.

#define REPAINT_CUDA_ON_HOST 1

#include <ucontext.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <csetjmp>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>
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

/// One thread of a launch, and then of the next: making a fiber costs more than most kernels.
struct fiber {
    enum class waiting { no, for_warp, for_block, for_grid, done };
    static constexpr std::size_t stack_bytes = std::size_t{64} << 10U;

    std::unique_ptr<char[]> stack{new char[stack_bytes]};
    ucontext_t context{};
    std::jmp_buf jump{}; ///< where it goes on: unlike swapcontext, a jump needs no system call
    bool started = false;
    std::size_t number = 0; ///< among the threads that are alive
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
    grid(const char* name, dim3 blocks, unsigned threads, std::size_t bytes, const std::function<void()>& body)
        : name_(name), blocks_(blocks), threads_(threads), bytes_(bytes), body_(&body) {}

    /// Runs the blocks [first, last) together.
    void run(std::size_t first, std::size_t last) {
        first_ = first;
        count_ = (last - first) * threads_;
        memory_.assign((last - first) * (bytes_ / sizeof(std::max_align_t) + 1), {});
        while (pool().size() < count_) {
            fiber& f = *pool().emplace_back(new fiber);
            f.number = pool().size() - 1;
            ::getcontext(&f.context);
            f.context.uc_stack.ss_sp = f.stack.get();
            f.context.uc_stack.ss_size = fiber::stack_bytes;
            f.context.uc_link = nullptr;
            ::makecontext(&f.context, reinterpret_cast<void (*)()>(&grid::enter), 0);
        }
        for (std::size_t i = 0; i < count_; ++i) {
            fiber& f = at(i);
            const std::size_t number = first + i / threads_;
            f.block_number = number;
            f.block =
                dim3(static_cast<unsigned>(number % blocks_.x), static_cast<unsigned>(number / blocks_.x % blocks_.y),
                     static_cast<unsigned>(number / blocks_.x / blocks_.y));
            f.thread = dim3(static_cast<unsigned>(i % threads_), 0, 0);
            f.state = fiber::waiting::no;
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
        const std::uint64_t result = at(current_->number / warp * warp + lane).word;
        wait(fiber::waiting::for_warp); // until everyone has taken
        return result;
    }

    static grid*& running() {
        static grid* it = nullptr;
        return it;
    }

private:
    static std::vector<std::unique_ptr<fiber>>& pool() {
        static std::vector<std::unique_ptr<fiber>> it;
        return it;
    }
    static fiber& at(std::size_t i) { return *pool()[i]; }

    static void enter() {
#if defined(REPAINT_FIBERS_UNDER_ASAN)
        __sanitizer_finish_switch_fiber(nullptr, &running()->main_stack_, &running()->main_stack_bytes_);
#endif
        for (;;) {
            grid& g = *running();
            (*g.body_)();
            g.current_->state = fiber::waiting::done;
            g.leave();
        }
    }

    void resume(fiber& f) {
        current_ = &f;
#if defined(REPAINT_FIBERS_UNDER_ASAN)
        void* fake = nullptr;
        __sanitizer_start_switch_fiber(&fake, f.stack.get(), fiber::stack_bytes);
        ::swapcontext(&main_, &f.context);
        __sanitizer_finish_switch_fiber(fake, nullptr, nullptr);
#else
        if (_setjmp(main_) == 0) {
            if (f.started) {
                _longjmp(f.jump, 1);
            }
            f.started = true;
            ::setcontext(&f.context);
        }
#endif
    }

    /// Comes back when the fiber is resumed, which may be in another launch.
    void leave() {
        fiber& f = *current_;
#if defined(REPAINT_FIBERS_UNDER_ASAN)
        __sanitizer_start_switch_fiber(&f.fake_stack, main_stack_, main_stack_bytes_);
        ::swapcontext(&f.context, &main_);
        __sanitizer_finish_switch_fiber(f.fake_stack, &running()->main_stack_, &running()->main_stack_bytes_);
#else
        if (_setjmp(f.jump) == 0) {
            _longjmp(main_, 1);
        }
#endif
    }

    /// Opens the barriers of groups of `size` fibers whose living members all wait for it. Returns whether one opened.
    bool open(fiber::waiting reason, std::size_t size) {
        bool any = false;
        for (std::size_t begin = 0; begin < count_; begin += size) {
            const std::size_t end = std::min(begin + size, count_);
            std::size_t waiting = 0;
            std::size_t alive = 0;
            for (std::size_t i = begin; i < end; ++i) {
                alive += at(i).state == fiber::waiting::done ? 0U : 1U;
                waiting += at(i).state == reason ? 1U : 0U;
            }
            if (waiting == 0 || waiting < alive) {
                continue;
            }
            any = true;
            for (std::size_t i = begin; i < end; ++i) {
                if (at(i).state == reason) {
                    at(i).state = fiber::waiting::no;
                }
            }
        }
        return any;
    }

    void schedule() {
        static unsigned launches = 0;
        const bool backwards = ++launches % 2 == 0;
        for (;;) {
            std::size_t done = 0;
            for (std::size_t k = 0; k < count_; ++k) {
                fiber& f = at(backwards ? count_ - 1 - k : k);
                if (f.state == fiber::waiting::no) {
                    resume(f);
                }
                done += f.state == fiber::waiting::done ? 1U : 0U;
            }
            if (done == count_) {
                return;
            }
            // Warps never straddle blocks: blocks are whole warps, or the last is a part of one.
            const bool warps = open(fiber::waiting::for_warp, warp);
            const bool blocks = open(fiber::waiting::for_block, threads_);
            const bool all = open(fiber::waiting::for_grid, count_);
            if (!warps && !blocks && !all) {
                for (auto& f : pool()) { // they are in the middle of this kernel, and stay there
                    (void)f.release();
                }
                pool().clear();
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
    std::size_t count_ = 0; ///< threads that are alive
    std::vector<std::max_align_t> memory_;
    fiber* current_ = nullptr;
#if defined(REPAINT_FIBERS_UNDER_ASAN)
    ucontext_t main_{};
#else
    std::jmp_buf main_{};
#endif
    const void* main_stack_ = nullptr;
    std::size_t main_stack_bytes_ = 0;
};

/// Blocks that a cooperative launch can have: those the substitute keeps alive together.
inline constexpr int cooperative_blocks = 16;

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

/// What a stream was told between the beginning and the end of a capture.
using recording = std::vector<std::function<void()>>;
inline recording*& captured() {
    static recording* it = nullptr;
    return it;
}

/// Does the work now, or whenever the graph is launched that is being captured.
template <class F> void enqueue(const F& work) {
    if (captured() != nullptr) {
        captured()->emplace_back(work);
    } else {
        work();
    }
}

/// arguments: the kernel's parameters.
template <class... Parameters>
void launch(const char* name, dim3 blocks, int threads, std::size_t bytes, void*, bool cooperative,
            void (*kernel)(Parameters...), std::type_identity_t<Parameters>... arguments) {
    const auto body = [=] { kernel(arguments...); };
    enqueue([=] { run(name, blocks, threads, bytes, body, cooperative); });
}

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

enum cudaError_t {
    cudaSuccess = 0,
    cudaErrorMemoryAllocation = 2,
    cudaErrorNoDevice = 100,
    cudaErrorStreamCaptureUnsupported = 900
};
using cudaStream_t = void*;

inline const char* cudaGetErrorName(cudaError_t status) {
    switch (status) {
    case cudaSuccess: return "cudaSuccess";
    case cudaErrorMemoryAllocation: return "cudaErrorMemoryAllocation";
    default: return "cudaErrorStreamCaptureUnsupported";
    }
}
inline const char* cudaGetErrorString(cudaError_t status) {
    switch (status) {
    case cudaSuccess: return "no error";
    case cudaErrorMemoryAllocation: return "out of memory";
    default: return "operation not permitted when stream is capturing";
    }
}
inline cudaError_t cudaGetLastError() { return cudaSuccess; }

namespace cuda_on_host {

/// What the machine says of itself, which a test may change; the defaults are a machine on which all is well.
struct machine {
    int driver = 13000;
    int runtime = 13000;
    int devices = 1;
    int major = 9;
    std::size_t memory = std::size_t{1} << 40U; ///< bytes
    bool graphs = true;                         ///< false: none can be made ready

    static machine& here() {
        static machine it;
        return it;
    }
};

/// The device's memory that somebody has.
inline std::map<void*, std::size_t>& taken() {
    static std::map<void*, std::size_t> it;
    return it;
}

inline std::size_t available() {
    std::size_t bytes = machine::here().memory;
    for (const auto& [memory, size] : taken()) {
        bytes -= std::min(bytes, size);
    }
    return bytes;
}

} // namespace cuda_on_host

/// One device, which keeps as many blocks alive as `cooperative_blocks` says.
struct cudaDeviceProp {
    char name[256] = "the host";
    int major = 9;
    int minor = 0;
    int multiProcessorCount = cuda_on_host::cooperative_blocks / 2;
    std::size_t sharedMemPerMultiprocessor = std::size_t{64} << 10U;
    std::size_t sharedMemPerBlockOptin = std::size_t{48} << 10U;
    std::size_t reservedSharedMemPerBlock = 1024;
    int cooperativeLaunch = 1;
};
inline cudaError_t cudaDriverGetVersion(int* version) {
    *version = cuda_on_host::machine::here().driver;
    return cudaSuccess;
}
inline cudaError_t cudaRuntimeGetVersion(int* version) {
    *version = cuda_on_host::machine::here().runtime;
    return cudaSuccess;
}
inline cudaError_t cudaGetDeviceCount(int* count) {
    *count = cuda_on_host::machine::here().devices;
    return *count > 0 ? cudaSuccess : cudaErrorNoDevice;
}
inline cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int) {
    *properties = {};
    properties->major = cuda_on_host::machine::here().major;
    return cudaSuccess;
}
inline cudaError_t cudaSetDevice(int) { return cudaSuccess; }
inline constexpr unsigned cudaStreamNonBlocking = 1;
inline cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned) {
    *stream = nullptr;
    return cudaSuccess;
}
inline cudaError_t cudaStreamDestroy(cudaStream_t) { return cudaSuccess; }

enum cudaMemcpyKind { cudaMemcpyHostToDevice = 1, cudaMemcpyDeviceToHost = 2, cudaMemcpyDeviceToDevice = 3 };

/// From and to the host is an error during a capture: a graph that is launched later would find other things there.
inline cudaError_t cudaMemcpyAsync(void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind, cudaStream_t) {
    if (cuda_on_host::captured() != nullptr && kind != cudaMemcpyDeviceToDevice) {
        return cudaErrorStreamCaptureUnsupported;
    }
    cuda_on_host::enqueue([=] {
        if (bytes > 0) { // where there is nothing to copy, from and to may be null
            std::memcpy(to, from, bytes);
        }
    });
    return cudaSuccess;
}
inline cudaError_t cudaMemsetAsync(void* to, int value, std::size_t bytes, cudaStream_t) {
    cuda_on_host::enqueue([=] { std::memset(to, value, bytes); });
    return cudaSuccess;
}
inline cudaError_t cudaStreamSynchronize(cudaStream_t) {
    return cuda_on_host::captured() == nullptr ? cudaSuccess : cudaErrorStreamCaptureUnsupported;
}

using cudaGraph_t = cuda_on_host::recording*;
using cudaGraphExec_t = cuda_on_host::recording*;
enum cudaStreamCaptureMode {
    cudaStreamCaptureModeGlobal,
    cudaStreamCaptureModeThreadLocal,
    cudaStreamCaptureModeRelaxed
};

inline cudaError_t cudaStreamBeginCapture(cudaStream_t, cudaStreamCaptureMode) {
    if (cuda_on_host::captured() != nullptr) {
        return cudaErrorStreamCaptureUnsupported;
    }
    cuda_on_host::captured() = new cuda_on_host::recording;
    return cudaSuccess;
}
inline cudaError_t cudaStreamEndCapture(cudaStream_t, cudaGraph_t* graph) {
    *graph = std::exchange(cuda_on_host::captured(), nullptr);
    return *graph != nullptr ? cudaSuccess : cudaErrorStreamCaptureUnsupported;
}
inline cudaError_t cudaGraphInstantiate(cudaGraphExec_t* executable, cudaGraph_t graph, unsigned long long) {
    if (!cuda_on_host::machine::here().graphs) {
        return cudaErrorStreamCaptureUnsupported;
    }
    *executable = new cuda_on_host::recording(*graph);
    return cudaSuccess;
}
inline cudaError_t cudaGraphLaunch(cudaGraphExec_t executable, cudaStream_t) {
    for (const auto& work : *executable) {
        work();
    }
    return cudaSuccess;
}
inline cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
    delete graph;
    return cudaSuccess;
}
inline cudaError_t cudaGraphExecDestroy(cudaGraphExec_t executable) {
    delete executable;
    return cudaSuccess;
}

/// Fresh memory of a device is nobody's: filled with what shows as NaN in every type.
inline cudaError_t cudaMalloc(void** memory, std::size_t bytes) {
    *memory = bytes <= cuda_on_host::available() ? std::aligned_alloc(256, (bytes + 255) / 256 * 256 + 256) : nullptr;
    if (*memory == nullptr) {
        return cudaErrorMemoryAllocation;
    }
    std::memset(*memory, 0xFF, bytes);
    cuda_on_host::taken()[*memory] = bytes;
    return cudaSuccess;
}
inline cudaError_t cudaFree(void* memory) {
    cuda_on_host::taken().erase(memory);
    std::free(memory);
    return cudaSuccess;
}
inline cudaError_t cudaMemGetInfo(std::size_t* available, std::size_t* all) {
    *available = cuda_on_host::available();
    *all = cuda_on_host::machine::here().memory;
    return cudaSuccess;
}
