#pragma once

#include <algorithm>
#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <repaint/backend/cuda/runtime.cuh>
#include <repaint/core/arena.hpp>

namespace repaint::detail::cuda {

/// Memory of a device for tensors and scratch: a few stretches, each behind an arena. What is given back is used again
/// by the next who asks: work on the one stream of a backend is done in order, so whoever wrote there before is done.
class memory_pool {
public:
    /// what: whose memory this is, for messages. step: the least that is taken from the device at once. device: as CUDA
    /// counts them.
    memory_pool(std::string what, std::size_t step, int device)
        : what_(std::move(what)), step_(step), device_(device) {}
    memory_pool(const memory_pool&) = delete;
    memory_pool& operator=(const memory_pool&) = delete;
    ~memory_pool() {
        for (auto& each : stretches_) {
            (void)cudaFree(each.begin);
        }
    }

    /// Bytes that were ever in use at once.
    [[nodiscard]] std::size_t peak() const { return peak_; }
    /// Bytes taken from the device.
    [[nodiscard]] std::size_t held() const {
        std::size_t bytes = 0;
        for (const auto& each : stretches_) {
            bytes += each.size;
        }
        return bytes;
    }

    /// Takes one stretch of that size unless there is one. Throws device_error saying what is needed and what is free.
    void reserve(std::size_t bytes) {
        const bool there =
            std::any_of(stretches_.begin(), stretches_.end(), [bytes](const auto& s) { return s.size >= bytes; });
        if (!there) {
            take_from_device(bytes);
        }
    }

private:
    friend class memory_block;

    struct stretch {
        std::byte* begin = nullptr;
        std::size_t size = 0;
        arena blocks{256};
    };

    struct place {
        std::size_t stretch = 0;
        std::size_t offset = 0;
    };

    [[nodiscard]] place take(std::size_t bytes) {
        for (std::size_t i = 0; i < stretches_.size(); ++i) {
            if (const auto offset = fit(stretches_[i], bytes)) {
                return counted({i, *offset}, bytes);
            }
        }
        take_from_device(std::max(bytes, step_));
        return counted({stretches_.size() - 1, stretches_.back().blocks.allocate(bytes)}, bytes);
    }

    place counted(place found, std::size_t bytes) {
        used_ += bytes;
        peak_ = std::max(peak_, used_);
        return found;
    }

    /// The offset of a block inside the stretch, none when there is no room.
    static std::optional<std::size_t> fit(stretch& s, std::size_t bytes) {
        const std::size_t offset = s.blocks.allocate(bytes);
        if (bytes <= s.size && offset <= s.size - bytes) {
            return offset;
        }
        s.blocks.release(offset, bytes);
        return std::nullopt;
    }

    void release(const place& at, std::size_t bytes) {
        stretches_[at.stretch].blocks.release(at.offset, bytes);
        used_ -= bytes;
    }

    void take_from_device(std::size_t bytes) {
        std::size_t available = 0;
        std::size_t all = 0;
        check(cudaSetDevice(device_), "choosing the device");
        check(cudaMemGetInfo(&available, &all), "the memory of the device");
        void* begin = nullptr;
        const cudaError_t status = bytes > available ? cudaErrorMemoryAllocation : cudaMalloc(&begin, bytes);
        if (status == cudaErrorMemoryAllocation) {
            (void)cudaGetLastError(); // or the next launch would report it
            throw device_error(what_ + " need " + std::to_string((used_ + bytes) >> 20U) + " MB in all, " +
                               std::to_string(bytes >> 20U) + " MB of them now, the device has " +
                               std::to_string(available >> 20U) + " MB free of " + std::to_string(all >> 20U) +
                               " MB: use smaller pictures or a smaller batch");
        }
        check(status, what_.c_str());
        stretches_.push_back({static_cast<std::byte*>(begin), bytes, arena(256)});
    }

    std::string what_;
    std::size_t step_;
    int device_;
    std::vector<stretch> stretches_;
    std::size_t used_ = 0;
    std::size_t peak_ = 0;
};

/// Bytes of a pool, given back on destruction; the content is unspecified at first. Aligned to 256 bytes.
class memory_block {
public:
    /// Throws device_error when the device does not have as much.
    memory_block(std::shared_ptr<memory_pool> pool, std::size_t bytes)
        : pool_(std::move(pool)), bytes_(std::max<std::size_t>(bytes, 1)), at_(pool_->take(bytes_)),
          data_(pool_->stretches_[at_.stretch].begin + at_.offset) {}
    /// Memory that somebody else keeps: it is not given back.
    explicit memory_block(void* foreign) : bytes_(0), data_(static_cast<std::byte*>(foreign)) {}
    memory_block(const memory_block&) = delete;
    memory_block& operator=(const memory_block&) = delete;
    ~memory_block() {
        if (pool_) {
            pool_->release(at_, bytes_);
        }
    }

    template <class E> [[nodiscard]] E* as() const { return reinterpret_cast<E*>(data_); }

private:
    std::shared_ptr<memory_pool> pool_;
    std::size_t bytes_;
    memory_pool::place at_ = {};
    std::byte* data_;
};

} // namespace repaint::detail::cuda
