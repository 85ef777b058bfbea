#pragma once

#include <cstddef>
#include <memory>
#include <utility>
#include <vector>

#include <repaint/backend/cuda/memory.cuh>
#include <repaint/backend/cuda/part.cuh>
#include <repaint/core/shape.hpp>

namespace repaint::detail::cuda {

/// Elements of one image of a tensor, also where the tensor has no images.
inline std::size_t image_elements(const shape4& s) { return static_cast<std::size_t>(s.c) * s.plane(); }

/// How the elements of a tensor lie: nowhere yet, as float32 NCHW, or as T with the channels of a pixel together.
enum class arrangement { none, planar, channels_last };

/// channel_moments of every image of a piece, for everyone who holds it.
struct piece_moments {
    std::shared_ptr<memory_block> values; ///< null: not known yet
};

/// Channels of a tensor that are neighbours in memory.
struct piece {
    std::shared_ptr<memory_block> memory;
    std::size_t first = 0; ///< elements before the first channel of the first pixel
    int channels = 0;
    int stride = 0;                         ///< elements from one pixel to the next
    std::shared_ptr<piece_moments> moments; ///< null: nobody has asked for them
};

/// A tensor's elements. Nothing is copied that need not be: channels_last may be in several pieces (joined tensors) or in
/// a part of one (split ones), and `doubled` says that every pixel of the pieces stands for two by two.
struct storage {
    shape4 shape;
    arrangement order = arrangement::none;
    bool doubled = false;
    std::vector<piece> pieces; ///< planar: one, without gaps

    /// The shape of what is in memory.
    [[nodiscard]] shape4 stored() const { return doubled ? shape4{shape.n, shape.c, shape.h / 2, shape.w / 2} : shape; }

    /// True when nobody else would see a write.
    [[nodiscard]] bool owned() const { return pieces.size() == 1 && pieces.front().memory.use_count() == 1; }

    /// True when the channels_last elements have no gaps.
    [[nodiscard]] bool packed() const {
        return pieces.size() == 1 && pieces.front().stride == pieces.front().channels && pieces.front().first == 0;
    }

    [[nodiscard]] float* planar() const { return pieces.front().memory->as<float>() + pieces.front().first; }
    template <class T> [[nodiscard]] T* elements() const { return pieces.front().memory->as<T>(); }
    template <class T> [[nodiscard]] part<T> part_of(std::size_t i) const {
        if (i >= pieces.size()) {
            return {nullptr, 0, 0};
        }
        const piece& p = pieces[i];
        return {p.memory->as<T>() + p.first, p.channels, p.stride};
    }
};

} // namespace repaint::detail::cuda
