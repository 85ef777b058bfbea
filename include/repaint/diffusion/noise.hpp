#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <numeric>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <repaint/core/text.hpp>
#include <repaint/diffusion/torch_cuda_generator.hpp>
#include <repaint/diffusion/torch_generator.hpp>
#include <repaint/ops.hpp>

namespace repaint {

/// N(0, 1) addressed by (seed of the image, draw, element): image i of a batch equals the same image alone, on every
/// backend, whatever the batch size (Philox4x32-10, Salmon et al. 2011; diffusion/philox.hpp).
class philox_noise {
public:
    /// Image i of every batch draws with seed + i.
    explicit philox_noise(std::uint64_t seed) : first_seed_(seed) {}
    /// Image i draws with seeds[i]; batches must have as many images.
    explicit philox_noise(std::vector<std::uint64_t> seeds) : seeds_(std::move(seeds)) {}

    template <diffusion_backend B> [[nodiscard]] tensor_of<B> operator()(B& b, shape4 shape) {
        if (!seeds_.empty()) {
            return ops::normal(b, std::span<const std::uint64_t>(seeds_), draw_++, shape);
        }
        std::vector<std::uint64_t> seeds(static_cast<std::size_t>(shape.n));
        std::iota(seeds.begin(), seeds.end(), first_seed_);
        return ops::normal(b, std::span<const std::uint64_t>(seeds), draw_++, shape);
    }

    /// A class for each image, evenly among `classes` (at least 1), of the image's own seed. Not a draw: what follows is
    /// the same without it. Throws shape_error when there are fewer seeds than images.
    [[nodiscard]] std::vector<int> labels(int images, int classes) const;

    /// The number of draws made.
    [[nodiscard]] std::uint64_t state() const { return draw_; }
    void restore(std::uint64_t state) { draw_ = state; }

private:
    std::uint64_t first_seed_ = 0;
    std::vector<std::uint64_t> seeds_;
    std::uint64_t draw_ = 0;
};

/// torch.randn on PyTorch's CPU generator after torch.manual_seed(seed): one stream for the whole batch, as the
/// official program draws (to about 1e-6 per number).
class torch_cpu_noise {
public:
    explicit torch_cpu_noise(std::uint64_t seed) : generator_(seed) {}

    template <memory_backend B> [[nodiscard]] tensor_of<B> operator()(B& b, shape4 shape) {
        host_tensor draw(shape);
        generator_.normal(draw.values());
        return b.upload(draw);
    }

    /// torch.randint(0, classes, (images,)): the official program draws it before anything else.
    [[nodiscard]] std::vector<int> labels(int images, int classes);

    [[nodiscard]] torch_cpu_generator::state state() const { return generator_.save(); }
    void restore(const torch_cpu_generator::state& state) { generator_.restore(state); }

private:
    torch_cpu_generator generator_;
};

/// torch.randn on a GPU of that kind after torch.manual_seed(seed): one stream for the whole batch, as the official
/// program draws (to about 1e-6 per number). Drawn on the host, whatever the backend.
class torch_cuda_noise {
public:
    torch_cuda_noise(std::uint64_t seed, const torch_cuda_device& device) : generator_(seed, device) {}

    template <memory_backend B> [[nodiscard]] tensor_of<B> operator()(B& b, shape4 shape) {
        host_tensor draw(shape);
        generator_.normal(draw.values());
        return b.upload(draw);
    }

    /// torch.randint(0, classes, (images,)): the official program draws it before anything else.
    [[nodiscard]] std::vector<int> labels(int images, int classes);

    [[nodiscard]] torch_cuda_generator::state state() const { return generator_.save(); }
    void restore(const torch_cuda_generator::state& state) { generator_.restore(state); }

private:
    torch_cuda_generator generator_;
};

/// Replays tensors in the order given. Throws shape_error when one does not have the shape asked for or none is left.
class recorded_noise {
public:
    explicit recorded_noise(std::vector<host_tensor> draws);

    template <memory_backend B> [[nodiscard]] tensor_of<B> operator()(B& b, shape4 shape) {
        if (next_ >= draws_->size()) {
            throw shape_error(joined_text({"recorded_noise: all ", draws_->size(), " draws are used up"}));
        }
        const host_tensor& draw = (*draws_)[next_];
        if (draw.shape() != shape) {
            throw shape_error(joined_text(
                {"recorded_noise: draw ", next_, " is ", to_string(draw.shape()), ", asked for ", to_string(shape)}));
        }
        ++next_;
        return b.upload(draw);
    }

    [[nodiscard]] std::size_t state() const { return next_; }
    void restore(std::size_t state) { next_ = state; }

private:
    std::shared_ptr<const std::vector<host_tensor>> draws_;
    std::size_t next_ = 0;
};

} // namespace repaint

#ifndef REPAINT_COMPILED
#include <repaint/diffusion/noise.ipp>
#endif
