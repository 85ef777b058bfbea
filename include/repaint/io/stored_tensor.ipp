#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <repaint/config.hpp>
#include <repaint/core/host_tensor.hpp>
#include <repaint/core/host_weights.hpp>
#include <repaint/core/text.hpp>
#include <repaint/error.hpp>
#include <repaint/io/bytes.hpp>
#include <repaint/io/new_weights.hpp>
#include <repaint/io/stored_tensor.hpp>

namespace repaint {

namespace detail {

REPAINT_INLINE float widen_f16(std::uint16_t half) {
    const std::uint32_t sign = static_cast<std::uint32_t>(half & 0x8000U) << 16U;
    const std::uint32_t exponent = (half >> 10U) & 0x1FU;
    const std::uint32_t mantissa = half & 0x3FFU;
    // A subnormal is mantissa * 2^-24, which float32 holds as a normal number.
    const auto subnormal = std::bit_cast<std::uint32_t>(static_cast<float>(mantissa) * 0x1p-24F);
    const std::uint32_t rebiased = exponent == 0x1FU ? 0xFFU : exponent + 112U;
    const std::uint32_t magnitude = exponent == 0 ? subnormal : (rebiased << 23U) | (mantissa << 13U);
    return std::bit_cast<float>(sign | magnitude);
}

inline float widen_bf16(std::uint16_t top) { return std::bit_cast<float>(static_cast<std::uint32_t>(top) << 16U); }

/// Calls f with a function that reads an element at an address as float32. Returns false, and calls nothing, when the
/// type cannot become float32.
template <class F> bool with_element_reader(dtype type, F f) {
    using at = const std::byte*;
    switch (type) {
    case dtype::f64: f([](at p) { return static_cast<float>(load<double>(p)); }); return true;
    case dtype::f32: f([](at p) { return load<float>(p); }); return true;
    case dtype::f16: f([](at p) { return widen_f16(load<std::uint16_t>(p)); }); return true;
    case dtype::bf16: f([](at p) { return widen_bf16(load<std::uint16_t>(p)); }); return true;
    case dtype::i64: f([](at p) { return static_cast<float>(load<std::int64_t>(p)); }); return true;
    case dtype::i32: f([](at p) { return static_cast<float>(load<std::int32_t>(p)); }); return true;
    case dtype::i16: f([](at p) { return static_cast<float>(load<std::int16_t>(p)); }); return true;
    case dtype::i8: f([](at p) { return static_cast<float>(load<std::int8_t>(p)); }); return true;
    case dtype::u64: f([](at p) { return static_cast<float>(load<std::uint64_t>(p)); }); return true;
    case dtype::u32: f([](at p) { return static_cast<float>(load<std::uint32_t>(p)); }); return true;
    case dtype::u16: f([](at p) { return static_cast<float>(load<std::uint16_t>(p)); }); return true;
    case dtype::u8: f([](at p) { return static_cast<float>(load<std::uint8_t>(p)); }); return true;
    case dtype::boolean: f([](at p) { return *p == std::byte{0} ? 0.0F : 1.0F; }); return true;
    default: return false;
    }
}

} // namespace detail

REPAINT_INLINE std::string to_string(dtype type) { return detail::dtypes[static_cast<std::size_t>(type)].name; }

REPAINT_INLINE bool converts_to_float(dtype type) {
    return detail::with_element_reader(type, [](auto) {});
}

REPAINT_INLINE std::string to_string(const std::vector<std::int64_t>& extents) {
    std::string text = "(";
    for (const std::int64_t extent : extents) {
        text += (text.size() > 1 ? ", " : "") + std::to_string(extent);
    }
    return joined_text({text, ")"});
}

REPAINT_INLINE std::size_t stored_tensor::numel() const {
    std::size_t product = 1;
    for (const std::int64_t extent : shape) {
        product *= static_cast<std::size_t>(extent);
    }
    return product;
}

REPAINT_INLINE bool stored_tensor::is_contiguous() const {
    if (numel() == 0) {
        return true;
    }
    std::int64_t expected = 1;
    for (std::size_t axis = shape.size(); axis-- > 0;) {
        if (shape[axis] != 1 && strides[axis] != expected) {
            return false;
        }
        expected *= shape[axis];
    }
    return true;
}

REPAINT_INLINE std::vector<std::int64_t> contiguous_strides(const std::vector<std::int64_t>& shape) {
    std::vector<std::int64_t> strides(shape.size());
    std::uint64_t stride = 1; // unsigned: beside an extent of 0 the others may be so large that this wraps
    for (std::size_t axis = shape.size(); axis-- > 0;) {
        strides[axis] = static_cast<std::int64_t>(stride);
        stride *= static_cast<std::uint64_t>(shape[axis]);
    }
    return strides;
}

REPAINT_INLINE stored_tensor describe(std::span<const float> values, std::vector<std::int64_t> shape) {
    stored_tensor t;
    t.shape = std::move(shape);
    t.strides = contiguous_strides(t.shape);
    t.data = std::as_bytes(values).data();
    const bool negative = std::any_of(t.shape.begin(), t.shape.end(), [](std::int64_t extent) { return extent < 0; });
    if (negative || t.numel() != values.size()) {
        throw shape_error(
            joined_text({"describe: shape ", to_string(t.shape), " does not have ", values.size(), " elements"}));
    }
    return t;
}

REPAINT_INLINE stored_tensor describe(const host_tensor& tensor) {
    const shape4& s = tensor.shape();
    return describe(tensor.values(), {s.n, s.c, s.h, s.w});
}

REPAINT_INLINE stored_tensor describe(std::span<const std::byte> bytes) {
    stored_tensor t;
    t.shape = {static_cast<std::int64_t>(bytes.size())};
    t.strides = {1};
    t.type = dtype::u8;
    t.data = bytes.data();
    return t;
}

namespace detail {

REPAINT_INLINE void gather(const stored_tensor& t, std::string_view name, float* out) {
    const bool known = with_element_reader(t.type, [&](auto read) {
        const std::size_t size = bits(t.type) / 8;
        const std::size_t count = t.numel();
        if (count == 0) {
            return;
        }
        if (t.is_contiguous()) {
            for (std::size_t i = 0; i < count; ++i) {
                out[i] = read(t.data + i * size);
            }
            return;
        }
        const std::size_t last = t.shape.size() - 1; // a scalar is contiguous
        const auto row = static_cast<std::size_t>(t.shape[last]);
        const std::size_t step = static_cast<std::size_t>(t.strides[last]) * size;
        std::vector<std::int64_t> index(t.shape.size());
        std::size_t offset = 0;
        for (std::size_t done = 0; done < count; done += row) {
            const std::byte* const from = t.data + offset * size;
            for (std::size_t i = 0; i < row; ++i) {
                *out++ = read(from + i * step);
            }
            for (std::size_t axis = last; axis-- > 0;) {
                offset += static_cast<std::size_t>(t.strides[axis]);
                if (++index[axis] < t.shape[axis]) {
                    break;
                }
                offset -= static_cast<std::size_t>(t.strides[axis] * t.shape[axis]);
                index[axis] = 0;
            }
        }
    });
    if (!known) {
        throw format_error(
            joined_text({std::string(name), ": elements of type ", to_string(t.type),
                         " cannot become float32, accepted are floats of 16, 32 and 64 bits, integers and booleans"}));
    }
}

REPAINT_INLINE bool is_float_array(const stored_tensor& t) {
    return t.type == dtype::f32 && t.is_contiguous() && t.data != nullptr &&
           reinterpret_cast<std::uintptr_t>(t.data) % alignof(float) == 0;
}

} // namespace detail

REPAINT_INLINE host_weights read_weights(const stored_tensor& t, shape4 as, std::string_view name) {
    const std::size_t count = t.numel();
    if (as.size() != count) {
        throw shape_error(joined_text(
            {std::string(name), ": shape ", to_string(t.shape), " does not have the elements of ", to_string(as)}));
    }
    if (detail::is_float_array(t)) {
        const auto* values = reinterpret_cast<const float*>(t.data);
        if (t.done_with == nullptr) {
            return {as, std::shared_ptr<const float>(t.owner, values)};
        }
        // With the last user goes the file's copy in memory: packed weights must not count twice.
        return {as,
                std::shared_ptr<const float>(values, [owner = t.owner, tell = t.done_with, count](const float* from) {
                    tell(owner.get(), std::as_bytes(std::span(from, count)));
                })};
    }
    const detail::new_weights copy = detail::make_weights(as);
    detail::gather(t, name, copy.values.data());
    return copy.weights;
}

namespace detail {

REPAINT_INLINE void strip_common_prefix(checkpoint& c) {
    constexpr std::array<std::string_view, 6> prefixes = {
        "model.diffusion_model.", "module.", "_orig_mod.", "model.", "net.", "unet."};
    // Wrappers stack: torch.compile around DistributedDataParallel around a Lightning module.
    for (int layer = 0; layer < 4 && !c.tensors.empty(); ++layer) {
        std::string_view common;
        for (const std::string_view prefix : prefixes) {
            const bool all = std::all_of(c.tensors.begin(), c.tensors.end(), [&](const auto& entry) {
                return entry.first.size() > prefix.size() && entry.first.starts_with(prefix);
            });
            if (all) {
                common = prefix;
                break;
            }
        }
        if (common.empty()) {
            return;
        }
        std::map<std::string, stored_tensor> renamed;
        while (!c.tensors.empty()) {
            auto node = c.tensors.extract(c.tensors.begin());
            node.key().erase(0, common.size());
            renamed.insert(renamed.end(), std::move(node));
        }
        c.tensors = std::move(renamed);
        c.notes.push_back(
            joined_text({"every tensor name starts with \"", std::string(common), "\", which was stripped"}));
    }
}

} // namespace detail

} // namespace repaint
